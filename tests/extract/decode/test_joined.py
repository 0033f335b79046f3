"""Picture streams that begin inside a transport stream."""

import pytest

from longtake.extract.decode.joined import late_picture_streams
from longtake.extract.decode.streams import open_media
from longtake.extract.errors import VideoUnreadable
from tests.extract.media import PYAV, groups_of_25, remux


@pytest.fixture
def recordings(tmp_path):
    """Two of the same pictures, longer than FFmpeg looks for the streams of a file; the second has other numbers of streams."""
    one = groups_of_25(tmp_path / "one.ts", 150, crf="5", preset="ultrafast")
    numbers = {"mpegts_start_pid": "500", "mpegts_pmt_start_pid": "600"}
    return one, remux(one, tmp_path / "other.ts", lambda packet: True, numbers)


@pytest.mark.parametrize("is_camera", [False, True])
def test_joined_recordings_with_other_streams(tmp_path, recordings, is_camera):
    one, other = (path.read_bytes() for path in recordings)
    joined = tmp_path / "joined.ts"
    content = one + other
    if is_camera:
        content = b"".join(bytes(4) + content[at : at + 188] for at in range(0, len(content), 188))
    joined.write_bytes(content)
    with open_media(joined) as container:
        known = {stream.id for stream in container.streams}
    assert known == {0x100} and late_picture_streams(joined, known) == {500}
    with pytest.raises(VideoUnreadable, match="another stream begins inside the file, as in joined recordings"):
        PYAV.probe(joined)


def test_recordings_with_equal_streams_and_streams_from_the_start(tmp_path, recordings):
    one, other = recordings
    assert not late_picture_streams(one, {0x100}) and len(PYAV.probe(one).timeline) == 150
    assert not late_picture_streams(one, set()), "it is there from the start"
    first, second = one.read_bytes(), other.read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(first), 188) for data in (first, second)]
    (tmp_path / "two.ts").write_bytes(b"".join(packets))
    assert not late_picture_streams(tmp_path / "two.ts", {0x100}), "two programmes at the same time"
    (tmp_path / "no.ts").write_bytes(bytes(10_000))
    assert not late_picture_streams(tmp_path / "no.ts", set())
