"""What a probe says of a file."""

from fractions import Fraction

import av
import numpy as np
import pytest

from longtake.extract.decode.probe import probe
from longtake.extract.errors import VideoMissing, VideoUnreadable
from tests.extract.media import remux, write_video


def test_a_plain_file(tmp_path):
    info = probe(write_video(tmp_path / "a.mp4", 30), exact=False)
    assert (len(info.timeline), info.timeline.end_seconds, info.num_frames_from_header) == (30, pytest.approx(1.2), 30)
    assert (info.codec, info.num_video_streams, info.audio) == ("h264", 1, "")
    with pytest.raises(VideoMissing, match="no file"):
        probe(tmp_path / "none.mp4", exact=False)


def test_the_last_picture_that_is_shown_is_not_the_last_packet(tmp_path):
    """Of pictures at a varying rate that are stored in another order than they are shown."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "2", "b_strategy": "0", "sc_threshold": "0"})
        stream.width = stream.height = 64
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        stream.codec_context.flags |= 1 << 8  # AV_CODEC_FLAG_FRAME_DURATION
        for shown, duration in ((0, 40), (40, 40), (80, 1920), (2000, 40)):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), shown % 255, np.uint8))
            frame.pts, frame.time_base, frame.duration = shown, Fraction(1, 1000), duration
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert probe(path, exact=False).timeline.end_seconds == pytest.approx(2.04, abs=0.002)


def test_an_index_that_lacks_pictures(tmp_path):
    """FFmpeg reads without an index, and past its end, but of a damaged one it skips pictures."""
    path = write_video(tmp_path / "a.avi", 30, codec="mpeg4")
    content = path.read_bytes()
    at = content.index(b"idx1")
    for cut in (content[:at], content[: at + 8 + 16 * 20]):
        path.write_bytes(cut)
        assert len(probe(path, exact=False).timeline) == 30
    path.write_bytes(content[: at + 8] + bytes(16 * 5) + content[at + 8 + 16 * 5 :])
    with pytest.raises(
        VideoUnreadable, match=r"its index names \d+ of the 30 pictures that are there; repair it with ffmpeg"
    ):
        probe(path, exact=False)


@pytest.mark.parametrize("codec", ["libx265", "mpeg2video"])
@pytest.mark.parametrize("exact", [False, True])
def test_a_second_recording_of_another_codec_is_refused(tmp_path, codec, exact):
    """It has the number of the first one's stream, whose decoder makes no frames of its packets."""
    whole = (
        write_video(tmp_path / "a.ts", 120).read_bytes() + write_video(tmp_path / "b.ts", 60, codec=codec).read_bytes()
    )
    (tmp_path / "joined.ts").write_bytes(whole)
    with pytest.raises(VideoUnreadable, match="its clock goes back at frame 1[12]., .* as in joined recordings"):
        probe(tmp_path / "joined.ts", exact=exact)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
@pytest.mark.parametrize("still, end", [(1800.0, 1801.16), (1.4 * 86400.0, 1.2)])
def test_a_last_picture_of_half_an_hour_stays_and_one_of_days_is_a_mistake(tmp_path, suffix, still, end):
    """The length is in the index of MP4, in the block and the header of Matroska."""
    source = write_video(tmp_path / "a.mkv", 30, codec="libvpx" if suffix == "webm" else "libx264")

    def lengthen(packet):
        if packet.pts * packet.time_base > 1.15:
            packet.duration = round(still / packet.time_base)
        return True

    info = probe(remux(source, tmp_path / f"b.{suffix}", lengthen), exact=False)
    assert len(info.timeline) == 30
    assert info.timeline.end_seconds == pytest.approx(end, abs=0.01)
