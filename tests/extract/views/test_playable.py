import pytest

from longtake.extract.decode import get_decoder
from longtake.extract.errors import ExtractError, VideoError
from longtake.extract.views.playable import playable
from tests.extract.media import write_video


def test_what_browsers_play_is_kept(tmp_path):
    path = write_video(tmp_path / "a.mp4", 20)
    assert playable(path, tmp_path / "out.mp4", 10**9) == "video/mp4"
    assert (tmp_path / "out.mp4").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name, most", [("a.mkv", 10**9), ("a.mp4", 10)])
def test_others_and_large_ones_are_written_again(tmp_path, name, most):
    path = write_video(tmp_path / name, 20)
    assert playable(path, tmp_path / "out.mp4", most) == "video/mp4"
    info, before = (get_decoder("pyav").probe(one) for one in (tmp_path / "out.mp4", path))
    assert (info.codec, info.width, info.height) == ("h264", before.width, before.height)
    assert info.timeline.seconds == pytest.approx(before.timeline.seconds, abs=1e-3)


def test_what_is_no_video(tmp_path):
    (tmp_path / "a.mp4").write_text("text")
    with pytest.raises((VideoError, ExtractError)):
        playable(tmp_path / "a.mp4", tmp_path / "out.mp4", 10)
    assert not (tmp_path / "out.mp4").exists()
