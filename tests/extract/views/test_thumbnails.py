"""Thumbnails show the frames that a run reads, of a file in any folder below."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from longtake.extract.errors import VideoMissing
from longtake.extract.views.thumbnails import SHORT_SIDE, thumbnails
from tests.extract.media import HEIGHT, WIDTH


def test_a_picture_for_each_moment(cut_stream, tmp_path):
    (tmp_path / "in" / "a" / "folder").mkdir(parents=True)
    cut_stream.rename(tmp_path / "in" / "a" / "folder" / "v.ts")
    found = thumbnails(tmp_path / "in", "v", "v.ts", [0.0, 0.1, 1.9])
    assert len(found) == 3
    for jpeg in found:
        assert Image.open(BytesIO(jpeg)).size == (SHORT_SIDE * WIDTH // HEIGHT, SHORT_SIDE)


def test_a_missing_folder_or_video_is_named(tmp_path):
    with pytest.raises(VideoMissing, match="no folder"):
        thumbnails(tmp_path / "none", "v", "v.ts", [0.0])
    with pytest.raises(VideoMissing, match="v"):
        thumbnails(tmp_path, "v", "v.ts", [0.0])
