"""Files of which decord is known to return wrong pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from longtake.extract.decode import get_decoder
from longtake.extract.errors import DecoderUnfit, ExtractError
from tests.extract.media import everything, write_video


@pytest.fixture
def decoder():
    try:
        return get_decoder("decord")
    except ExtractError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"container": "avi"}, "wrong frames of avi"),
        ({"codec": "av1"}, "pictures of av1 were not compared"),
        ({"pixel_format": "yuv420p10le"}, "colours of yuv420p10le are not those of FFmpeg"),
        ({"num_video_streams": 2}, "of 2 picture streams it takes one of its own choice"),
    ],
)
def test_files_that_are_refused(decoder, tmp_path, change, reason):
    info = decoder.probe(write_video(tmp_path / "a.mp4", 3))
    assert decoder.unfit(info) == ""
    wrong = replace(info, **change)
    assert reason in decoder.unfit(wrong)
    with pytest.raises(DecoderUnfit, match=reason):
        next(decoder.pictures(wrong, everything(info), num_threads=1))
