"""`--show-pred`."""

from __future__ import annotations

from click.testing import CliRunner

from longtake.extract.cli import main
from tests.extract.media import write_video


def test_predictions_of_the_classifier(tmp_path):
    """Real road, small network: the classes of the first two clips, by name."""
    write_video(tmp_path / "a.mp4", 5)
    (tmp_path / "m.csv").write_text("video_id\na\n")
    call = [
        "run",
        "--manifest",
        str(tmp_path / "m.csv"),
        "--videos",
        str(tmp_path),
        "--weights",
        "random",
        "--show-pred",
        "--runtime",
        "torch",
    ]
    done = CliRunner().invoke(main, [*call, "--backbone", "resnet50", "--out", str(tmp_path / "s.h5")])
    assert done.exit_code == 0, done.output
    lines = [line for line in done.stderr.splitlines() if line.startswith("resnet50, a, ")]
    assert len(lines) == 2 and lines[0].startswith("resnet50, a, 0.0-0.0 s: ") and lines[0].count(",") >= 6
    done = CliRunner().invoke(main, [*call, "--cluster", "local", "--out", str(tmp_path / "t.h5")])
    assert done.exit_code == 2 and "does not work with --cluster" in done.output
