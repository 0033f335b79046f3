"""Whether a finished cell is what is asked for now; more of it is in tests/train/bench/test_cells.py."""

import json
import shutil
from dataclasses import replace

from longtake.train.bench import reads
from longtake.train.bench.cells import plan, read_done
from longtake.train.bench.file import read_bench
from longtake.train.bench.jobs import jobs_of, same_stamp, why_other
from longtake.train.bench.sources import read_sources


def test_other_categories_or_scores(made, tmp_path):
    """Also of cells of releases that did not keep them: their run has."""
    bench, sources = read_bench(made.file), read_sources(made.out)
    entry = replace(sources["planted"].entry, scores=("total",))
    asked = jobs_of(bench, {"planted": replace(sources["planted"], entry=entry)}, plan(bench, sources, ["ridge"]), made.out, "cpu", "none", True)[0]  # fmt: skip
    assert why_other(read_done(asked.folder), asked) == "other categories or scores"
    older = shutil.copytree(asked.folder, tmp_path / asked.folder.name)
    values = json.loads((older / "bench.json").read_text())
    del values["taken"]
    (older / "bench.json").write_text(json.dumps(values))
    assert why_other(read_done(older), asked) == "other categories or scores"
    (older / "config.json").unlink()
    assert read_done(older).taken is None and why_other(read_done(older), asked) == "", (
        "what is not known is no difference"
    )


def job_of(made, head):
    bench, sources = read_bench(made.file), read_sources(made.out)
    return jobs_of(bench, sources, plan(bench, sources, [head]), made.out, "cpu", "none", True)[0]


def earlier(done_folder, to):
    """A copy of a cell, as a version wrote it that kept neither presets nor what else the head reads."""
    older = shutil.copytree(done_folder, to / done_folder.name)
    values = json.loads((older / "bench.json").read_text())
    del values["presets"], values["stamp"]["further"], values["stamp"]["card"]
    (older / "bench.json").write_text(json.dumps(values))
    return older


def test_another_version_of_the_preset(made, tmp_path, monkeypatch):
    """A later release may set a head in another way: its cells and those of this one would be compared as the same row."""
    job = job_of(made, "gdlt")
    older = earlier(job.folder, tmp_path)
    found = [read_done(folder) for folder in (job.folder, older)]
    assert found[1].presets is None and found[1].recorded["A"]["width"] == 16
    assert [why_other(done, job) for done in found] == ["", ""]
    row = reads.preset_row("published", "gdlt", "planted", "")
    for changed, expected in (
        ({"lr": row.get("lr", 0.01) * 2}, "another version of its preset"),
        ({"width": 999, "epochs": 999}, ""),  # The bench file sets these.
    ):
        monkeypatch.setattr(reads, "preset_row", lambda *_, changed=changed: row | changed)
        assert [why_other(done, job) for done in found] == [expected, expected]


def test_what_else_a_head_reads(made, tmp_path):
    job = job_of(made, "gdlt")
    assert read_done(job.folder).stamp.further == ""
    one, other = (replace(job.stamp, further=further) for further in ("a", "b"))
    assert same_stamp(one, one) and not same_stamp(one, other)
    assert same_stamp(one, job.stamp) and same_stamp(job.stamp, one), "what an earlier version did not keep"
    assert not same_stamp(one, replace(job.stamp, labels="0" * 16))
    older = read_done(earlier(job.folder, tmp_path)).stamp
    assert older == replace(job.stamp, card="") and same_stamp(older, job.stamp)
    assert not same_stamp(job.stamp, replace(job.stamp, card="0" * 16))
