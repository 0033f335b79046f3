"""The nested choice sees no test video, and costs what it says."""

import math

import pytest

from longtake.train.bench import nested
from longtake.train.bench.cells import NOT_APPLICABLE, plan, read_done
from longtake.train.bench.file import read_bench
from longtake.train.bench.jobs import jobs_of
from longtake.train.bench.nested import best_of
from longtake.train.bench.sources import read_source
from longtake.train.bench.training import run_cell
from longtake.train.runs.tables import read_predictions
from tests.train.bench.benches import NESTED, Made, bench_file
from tests.train.planted import planted_store


def nested_job(made, tmp_path, text=NESTED):
    bench = read_bench(bench_file(tmp_path, made.store, text))
    sources = {"planted": read_source(bench.datasets["planted"], made.store)}
    return jobs_of(bench, sources, plan(bench, sources), tmp_path / "out", "cpu", "none", True)[0]


def predictions(folder):
    return [(row.video_id, row.score, row.fold, row.true, row.predicted) for row in read_predictions(folder)]


def test_no_test_video_chooses(made, tmp_path, monkeypatch):
    seen = []
    inner = nested.inner

    def watched(experiment, unit, split, folds):
        found = inner(experiment, unit, split, folds)
        tested = {experiment.data.video_ids[row] for row in split.test_rows}
        seen.append((set(found.data.video_ids), tested))
        for one in found.splits[found.units[0]]:
            assert not tested & {found.data.video_ids[row] for row in one.rows}
        return found

    monkeypatch.setattr(nested, "inner", watched)
    job = nested_job(made, tmp_path)
    assert run_cell(job).kind == ""
    assert len(seen) == 2 * 2 * (1 + 2), "scores x outer folds x (the check before training, and the choices)"
    assert all(mine and tested and not mine & tested for mine, tested in seen)
    done = read_done(job.folder)
    assert done.num_models == 4 and done.num_inner_models == 16 and len(done.chosen) == 4


def test_the_result_is_that_of_the_chosen_settings(made, tmp_path):
    """Where both choices are the same, the figures are those of the head without a choice."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    chosen = nested_job(made, tmp_path / "a", NESTED.replace("penalties = 9", "penalties = 2"))
    plain = NESTED[: NESTED.index("inner_folds")] + "settings = {{ penalties = 2 }}\n"
    alone = nested_job(made, tmp_path / "b", plain)
    assert run_cell(chosen).kind == run_cell(alone).kind == ""
    found, expected = sorted(predictions(chosen.folder)), sorted(predictions(alone.folder))
    assert [row[:4] for row in found] == [row[:4] for row in expected] and len(found) == 64
    assert [row[4] for row in found] == pytest.approx([row[4] for row in expected], abs=1e-5)


GROUPS = """
title = "By skater"
[datasets.planted]
features = "{store}"
scores = ["total"]
[splits.skater]
folds = "groups"
group = "skater"
[heads.chosen]
head = "ridge"
inner_folds = INNER
choices = [{{ settings = {{ penalties = 2 }} }}, {{ settings = {{ penalties = 9 }} }}]
"""


def test_a_group_of_one_video_is_tested(tmp_path):
    store = planted_store(tmp_path / "s.h5", num_train=5, num_test=2, with_text=False, groups={"skater": 5})
    job = nested_job(Made(store, None, None, ""), tmp_path, GROUPS.replace("INNER", "2"))
    assert run_cell(job).reason == ""
    assert sorted(row.fold for row in read_predictions(job.folder)) == list("01234")


def test_too_few_groups_for_the_inner_folds_fail_before_training(tmp_path):
    store = planted_store(tmp_path / "s.h5", num_train=6, num_test=2, with_text=False, groups={"skater": 3})
    job = nested_job(Made(store, None, None, ""), tmp_path, GROUPS.replace("INNER", "3"))
    found = run_cell(job)
    assert (
        found.kind == NOT_APPLICABLE
        and "3 inner folds (inner_folds)" in found.reason
        and "has 2 of skater" in found.reason
    )
    assert not (job.folder / nested.INNER).exists()


def test_the_first_of_the_best_is_taken():
    assert best_of([0.1, 0.5, 0.5]) == 1 and best_of([math.nan, -0.2]) == 1 and best_of([math.nan, math.nan]) == 0


def test_a_choice_survives_an_interruption(made, tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, cut = nested_job(made, tmp_path / "a"), nested_job(made, tmp_path / "b")
    assert run_cell(whole).kind == ""
    outer = nested.outer
    calls = []

    def stops(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return outer(*arguments)

    monkeypatch.setattr(nested, "outer", stops)
    with pytest.raises(KeyboardInterrupt):
        run_cell(cut)
    monkeypatch.undo()
    assert read_done(cut.folder) is None
    assert run_cell(cut).kind == ""
    assert predictions(cut.folder) == predictions(whole.folder)
    assert read_done(cut.folder).chosen == read_done(whole.folder).chosen
