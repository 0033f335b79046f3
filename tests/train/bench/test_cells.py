"""Cells, their order, and what a store must be for them."""

from dataclasses import replace
from pathlib import Path

import pytest

from longtake.train.bench.cells import Cell, plan, read_done, read_reason
from longtake.train.bench.file import read_bench
from longtake.train.bench.jobs import jobs_of, why_other
from longtake.train.bench.sources import read_source, read_sources
from longtake.train.errors import DataError, SettingsError
from tests.train.bench.benches import FILE, bench_file


def source_of(made, **changes):
    return read_source(replace(read_bench(made.file).datasets["planted"], **changes), made.store)


def test_order_and_seeds(made):
    bench = read_bench(made.file)
    found = plan(bench, {"planted": source_of(made)})
    names = [(cell.seed, cell.head, cell.split) for cell in found]
    assert names[:3] == [(0, "ridge", "official"), (0, "ridge", "random"), (0, "gdlt", "official")], (
        "as in the file, seed by seed"
    )
    assert (1, "gdlt", "official") in names and (1, "ridge", "official") not in names, (
        "a closed form has nothing random"
    )
    assert {cell.head for cell in plan(bench, {"planted": source_of(made)}, ["gdlt"])} == {"gdlt"}
    with pytest.raises(SettingsError, match="did you mean gdlt"):
        plan(bench, {"planted": source_of(made)}, ["gdl"])


def test_folders_stay_inside_and_apart():
    cells = [Cell("a", name, "b@1", "s", 0) for name in ("x/../y", "x y", "x_y")]
    assert all((Path("out") / cell.folder).resolve().parent == Path("out").resolve() for cell in cells)
    assert cells[0].folder != Cell("a", "x_.._y", "b@1", "s", 0).folder


def test_rows_that_would_share_a_folder_are_refused(made, tmp_path):
    bench = read_bench(bench_file(tmp_path, made.store, FILE + "\n[heads.RIDGE]\nhead = 'ridge'\n"))
    with pytest.raises(DataError, match="the same folder"):
        plan(bench, {"planted": source_of(made)})


def test_what_is_kept_of_a_cell(made):
    bench, sources = read_bench(made.file), read_sources(made.out)
    jobs = jobs_of(bench, sources, plan(bench, sources), made.out, "cpu", "none", True)
    done = {job.cell.head: read_done(job.folder) for job in jobs}
    assert done["heard"] is None and done["gdlt"].epochs == 2 and done["gdlt"].preset_epochs == 100
    assert done["ridge"].epochs is None and done["gdlt"].parameters > 1000 and done["gdlt"].seconds_per_model > 0
    heard = next(job for job in jobs if job.cell.head == "heard")
    assert "needs sound" in read_reason(heard.folder).reason
    (job,) = [job for job in jobs if job.cell == done["gdlt"].cell]
    assert why_other(done["gdlt"], job) == ""
    changed = replace(job, stamp=replace(job.stamp, labels="0" * 16), entry=replace(job.entry, settings={"epochs": 3}))
    assert why_other(done["gdlt"], changed) == "other settings and other features, labels, groups or ranges of scores"
