"""What a probe says of a file."""

import pytest

from longtake.extract.decode.probe import probe
from longtake.extract.errors import VideoMissing
from tests.extract.media import write_video


def test_a_plain_file(tmp_path):
    info = probe(write_video(tmp_path / "a.mp4", 30), exact=False)
    assert (len(info.timeline), info.timeline.end_seconds, info.num_frames_from_header) == (30, pytest.approx(1.2), 30)
    assert (info.codec, info.num_video_streams, info.audio) == ("h264", 1, "")
    with pytest.raises(VideoMissing, match="no file"):
        probe(tmp_path / "none.mp4", exact=False)
