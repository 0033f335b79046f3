"""Which streams of a file are used."""

from longtake.extract.decode.streams import open_media, sound_stream
from tests.extract.media import write_av, write_video


def test_the_first_sound_stream_that_can_be_decoded(tmp_path):
    path = write_av(tmp_path / "a.mkv", seconds=1)
    with open_media(path) as container:
        assert sound_stream(container).index == 1
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    with open_media(path) as container:
        assert sound_stream(container) is None
    with open_media(write_video(tmp_path / "m.mp4", 5)) as container:
        assert sound_stream(container) is None
