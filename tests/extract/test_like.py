"""Features made as a header says, which may come from an untrusted file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from longtake.extract.errors import (
    ExtractError,
)
from longtake.extract.like import extract_like
from longtake.features.types import FeatureHeader
from tests.extract.fake_backbone import NAME
from tests.extract.media import write_video

HEADER = FeatureHeader(NAME, "video", 4, "random:0", None, True, 4, 4, "pad", None)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"clip_length": 10**9}, "1 to 100000 frames"),
        ({"clip_length": "16"}, "no valid clip rule"),
        ({"tail": "cut"}, "no tail"),
    ],
)
def test_a_recipe_from_an_untrusted_file(tmp_path, numbers_backbone, change, words):
    """A checkpoint says how to make the features of a new video, and may contain anything."""
    header = replace(HEADER, **change)
    with pytest.raises(ExtractError, match=words):
        extract_like([header], write_video(tmp_path / "a.mp4", 12), tmp_path / "a.h5", weights=["random"])
