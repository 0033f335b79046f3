"""One cell: every error is an outcome with its reason."""

import sys
from dataclasses import replace

import pytest

from longtake.train.bench import training
from longtake.train.bench.cells import FAILED, NOT_APPLICABLE, plan, read_done, read_reason
from longtake.train.bench.file import read_bench
from longtake.train.bench.jobs import jobs_of
from longtake.train.bench.sources import read_source
from longtake.train.bench.training import not_done, run_cell
from longtake.train.errors import TrainError
from longtake.train.protocol import settings


@pytest.fixture
def job(made, tmp_path):
    bench = read_bench(made.file)
    sources = {"planted": read_source(bench.datasets["planted"], made.store)}
    return jobs_of(bench, sources, plan(bench, sources, ["ridge"])[:1], tmp_path, "cpu", "none", True)[0]


def test_a_failure_is_kept_and_tried_again(job, monkeypatch):
    def fails(*_, **__):
        raise TrainError("the loss became nan")

    monkeypatch.setattr(training, "train_into", fails)
    outcome = run_cell(job)
    assert (
        (outcome.kind, outcome.reason)
        == (FAILED, "the loss became nan")
        == (read_reason(job.folder).kind, "the loss became nan")
    )
    monkeypatch.undo()
    assert run_cell(job).kind == "" and read_reason(job.folder) is None and read_done(job.folder).num_models == 2


def test_a_cell_records_the_precision_that_was_taken(made, tmp_path):
    bench = read_bench(made.file)
    sources = {"planted": read_source(bench.datasets["planted"], made.store)}
    cells = [cell for cell in plan(bench, sources, ["ridge", "gdlt"]) if (cell.split, cell.seed) == ("random", 0)]
    found = {}
    for job in jobs_of(bench, sources, cells, tmp_path, "cpu", "none", True):
        assert run_cell(job).kind == ""
        found[job.cell.head] = read_done(job.folder).precisions
    assert found == {"ridge": (), "gdlt": ("float32",)}


def test_what_is_not_applicable(job):
    heard = replace(job, entry=replace(job.entry, head="avcf"))
    assert run_cell(heard).kind == NOT_APPLICABLE and "needs sound" in read_reason(job.folder).reason
    outcome = run_cell(replace(job, stamp=replace(job.stamp, recipe_id="")))
    assert outcome.kind == NOT_APPLICABLE and "has no features of planted" in outcome.reason


def test_kept_reasons_name_the_store_as_the_file_does(job):
    """The user is told where it is on this machine; a table is passed on."""
    elsewhere = replace(job, named="features/s.h5", stamp=replace(job.stamp, recipe_id=""))
    assert run_cell(elsewhere).reason.startswith(f"{job.path} has no features")
    assert read_reason(job.folder).reason.startswith("features/s.h5 has no features")
    not_done(job, FAILED, f"the disk is full: {job.folder}/epochs.csv")
    assert read_reason(job.folder).reason == f"the disk is full: {job.cell.folder}/epochs.csv"


def test_a_missing_package_is_not_applicable(job, monkeypatch):
    for name in ("sklearn", "sklearn.svm"):
        monkeypatch.setitem(sys.modules, name, None)
    outcome = run_cell(replace(job, entry=replace(job.entry, head="c3d-svr")))
    assert outcome.kind == NOT_APPLICABLE and "longtake[svr]" in outcome.reason


def test_a_finished_cell_of_other_settings_is_refused(job):
    assert run_cell(job).kind == ""
    before = (job.folder / "predictions.csv").read_bytes()
    outcome = run_cell(replace(job, entry=replace(job.entry, settings={"penalties": 3})))
    assert outcome.kind == FAILED and "holds this cell with other settings: take another --out" in outcome.reason
    assert read_done(job.folder) and (job.folder / "predictions.csv").read_bytes() == before


def test_a_cell_that_was_begun_with_another_preset_is_refused(job, monkeypatch):
    """The run would be resumed with the settings that it was begun with, and compared with rows of those of today."""
    with monkeypatch.context() as earlier:
        earlier.setattr(settings, "preset_row", lambda *_: {"penalties": 3})
        earlier.setattr(training, "write_done", stop)
        with pytest.raises(KeyboardInterrupt):
            run_cell(job)
    outcome = run_cell(job)
    assert outcome.kind == FAILED and "was begun with another version of its preset" in outcome.reason


def stop(*_):
    raise KeyboardInterrupt


def test_heads_need_not_be_kept(job):
    assert run_cell(replace(job, keep_heads=False)).kind == ""
    assert not (job.folder / "checkpoints").exists() and (job.folder / "predictions.csv").exists()
    assert run_cell(job).kind == "", "the cell stays finished"


def test_a_damaged_mark_is_a_failure(job):
    job.folder.mkdir(parents=True)
    (job.folder / "bench.json").write_text("{")
    assert run_cell(job).kind == FAILED
