"""The part files of an executor, and what it reports of each video."""

from tests.extract.media import write_video
from tests.extract.runs import run


def test_a_routine_that_goes_on_after_the_end_of_its_file(tmp_path, numbers_backbone):
    """Frames for seconds, or a file that was cut: it is extracted, and told of."""
    write_video(tmp_path / "a.mp4", 50)
    (tmp_path / "mine.csv").write_text("video_id,path,end_seconds\na,a.mp4,50\nb,a.mp4,2.5\n")
    call = ("run", "--manifest", tmp_path / "mine.csv", "--videos", tmp_path, "--backbone", numbers_backbone)
    told = run(*call, "--weights", "random", "--out", tmp_path / "s.h5")
    assert "clips; end_seconds is 50, but the file ends at 2.0 s" in told and told.count("end_seconds") == 1
