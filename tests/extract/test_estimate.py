"""The estimate of `extract plan`."""

import json

import pytest
from click.testing import CliRunner

from longtake.extract.cli import _duration, _size, main
from tests.extract import fake_backbone
from tests.extract.runs import make_dataset


@pytest.mark.parametrize(
    "seconds, text",
    [(0.2, "1 seconds"), (75, "75 seconds"), (300, "5 minutes"), (5400, "90 minutes"), (9000, "2.5 hours")],
)
def test_times_are_in_the_unit_that_a_person_would_take(seconds, text):
    assert _duration(seconds) == text


def test_sizes_are_never_zero():
    assert [_size(gigabytes) for gigabytes in (2.5, 0.0123, 0.00002, 1e-9)] == ["2.5 GB", "12.3 MB", "20 kB", "1 kB"]


def test_an_estimate_from_a_sample(tmp_path, numbers_backbone, monkeypatch):
    make_dataset(tmp_path, [40] * 10)
    (tmp_path / "videos" / "v3.mp4").unlink()
    # 10 clips a video in batches of 3, so a third of a second a video
    monkeypatch.setattr(fake_backbone.Numbers, "seconds_per_batch", 0.1)
    call = [
        "plan",
        "--manifest",
        str(tmp_path / "small.csv"),
        "--videos",
        str(tmp_path / "videos"),
        "--weights",
        "random",
    ]
    call += ["--backbone", fake_backbone.NAME, "--sample", "3", "--workers", "2"]
    done = CliRunner().invoke(main, [*call, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["num_videos"], found["num_missing"], found["num_sampled"], found["clips"]) == (9, 1, 3, 90)
    assert found["gigabytes"] == pytest.approx(90 * 4 * 4 / 1e9, rel=0.01)
    assert found["hours"] * 3600 == pytest.approx(found["sample_seconds"] * 9 / 3 / 2, rel=0.1)
    assert found["sample_seconds"] > 0.9
    assert list(tmp_path.glob("*.h5*")) == [], "nothing is stored"
    output = CliRunner().invoke(main, call).output
    assert (
        "3 of 9 videos took" in output and "on 2 workers like this machine" in output and "1 videos of small" in output
    )
    for path in (tmp_path / "videos").iterdir():
        path.write_bytes(b"no video")
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 2 and "no video of the sample could be extracted" in done.output
