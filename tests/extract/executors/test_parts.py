"""The part files of an executor, and what it reports of each video."""

from tests.extract.media import write_video
from tests.extract.runs import run


def test_a_span_that_ends_after_its_file(tmp_path, numbers_backbone):
    """A table with frames for seconds, or a file that was cut: it is extracted, with a remark."""
    write_video(tmp_path / "a.mp4", 50)
    (tmp_path / "mine.csv").write_text("video_id,path,end_seconds\na,a.mp4,50\nb,a.mp4,2.5\n")
    call = ("run", "--manifest", tmp_path / "mine.csv", "--videos", tmp_path, "--backbone", numbers_backbone)
    output = run(*call, "--weights", "random", "--out", tmp_path / "s.h5")
    assert "clips; end_seconds is 50, but the file ends at 2.0 s" in output and output.count("end_seconds") == 1
