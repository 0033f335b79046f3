"""The leaderboard's figures are those of the runs, and what cannot be compared has no rank."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from longtake.train.bench.file import SplitEntry, read_bench
from longtake.train.bench.leaderboard import _measured, described, tables
from longtake.train.bench.sources import read_sources
from longtake.train.errors import DataError
from longtake.train.metrics import average, spearman
from longtake.train.resampling import ScoredVideos, over_folds
from longtake.train.uncertainty import spreads


def row_of(table, name):
    (row,) = [row for row in table.rows if row.name == name]
    return row


def metrics_of(made, head, split, seed=0):
    (path,) = made.out.glob(f"planted-{head}-*-{split}-seed{seed}/metrics.json")
    return json.loads(path.read_text())


def test_figures_are_those_of_the_runs(made):
    official, random = made.tables
    for table, split in ((official, "official"), (random, "random")):
        expected = {
            f"{row['category']} {row['score']}".strip(): row for row in metrics_of(made, "ridge", split)["table"]
        }
        row = row_of(table, "ridge")
        assert table.columns == tuple(expected) == ("A total", "A other", "average")
        for column, values in expected.items():
            assert row.figures[column]["spearman"].value == pytest.approx(values["spearman"], abs=1e-6)
            assert row.figures[column]["mse"].value == pytest.approx(values["mse"], rel=1e-4)


def test_seeds_are_averaged_by_z_after_folds(made):
    by_seed = []
    for seed in (0, 1):
        tests = [m["test"] for m in metrics_of(made, "gdlt", "random", seed)["models"] if m["score"] == "total"]
        by_seed.append(average((t["spearman"], t["num_videos"]) for t in tests))
    found = row_of(made.tables[1], "gdlt")
    assert found.num_seeds == 2 and found.figures["A total"]["spearman"].value == pytest.approx(
        average(by_seed)[0], abs=1e-6
    )


def test_intervals_ranks_costs_and_marks(made):
    _, table = made.tables
    ridge, gdlt = row_of(table, "ridge"), row_of(table, "gdlt")
    figure = ridge.figures["average"]["spearman"]
    assert figure.low < figure.value < figure.high
    assert (ridge.rank, gdlt.rank) == (1, 2) and 1 <= ridge.rank_low <= ridge.rank_high <= 2
    assert gdlt.parameters > 1000 and ridge.parameters is None and gdlt.seconds_per_model > 0
    assert gdlt.marks == ("2 epochs, its preset has 100",) and ridge.marks == ()
    assert table.num_videos == 32 and table.note == ""
    heard = table.rows[-1]
    assert (heard.name, heard.state, heard.rank) == ("heard", "not applicable", None) and "needs sound" in heard.reason


def test_too_few_videos_rank_nothing(made, tmp_path):
    """Correlations of 24 videos do not tell methods apart: their rows stay in the order of the file."""
    out = shutil.copytree(made.out, tmp_path / "out")
    for path in out.glob("*-random-*/predictions.csv"):
        head, *lines = path.read_text().splitlines()
        path.write_text("\n".join([head, *(line for line in lines if not line.startswith("A_00"))]) + "\n")
    table = tables(read_bench(made.file), out, read_sources(out))[1]
    assert table.num_videos == 22 and "22 test videos: too few to rank methods" in table.note
    assert [(row.name, row.rank) for row in table.rows] == [("ridge", None), ("gdlt", None), ("heard", None)]
    assert not any("no rank" in mark for row in table.rows for mark in row.marks)


def test_cells_that_were_not_run(made, tmp_path):
    shutil.copytree(made.out, tmp_path / "out")
    for path in (tmp_path / "out").glob("*-heard-*/reason.json"):
        path.unlink()
    for path in (tmp_path / "out").glob("*-gdlt-*-seed1/bench.json"):
        path.unlink()
    table = tables(read_bench(made.file), tmp_path / "out", read_sources(made.out))[0]
    assert row_of(table, "heard").state == "not run"
    gdlt = row_of(table, "gdlt")
    assert gdlt.num_seeds == 1 and "1 of 2 seeds" in gdlt.marks


def test_one_slow_seed_does_not_move_the_cost(made, tmp_path):
    out = shutil.copytree(made.out, tmp_path / "out")
    (first,) = out.glob("planted-gdlt-*-random-seed0")
    for seed, seconds in enumerate((2.0, 3.0, 900.0)):
        folder = first.with_name(first.name.replace("seed0", f"seed{seed}"))
        if not folder.exists():
            shutil.copytree(first, folder)
        path = folder / "bench.json"
        done = json.loads(path.read_text())
        done["cell"]["seed"], done["seconds_per_model"] = seed, seconds
        path.write_text(json.dumps(done))
    table = tables(replace(read_bench(made.file), seeds=3), out, read_sources(out))[1]
    gdlt = row_of(table, "gdlt")
    assert gdlt.num_seeds == 3 and gdlt.seconds_per_model == 3.0


def changed_marks(folder, change):
    for path in folder.glob("*/bench.json"):
        done = json.loads(path.read_text())
        change(done)
        path.write_text(json.dumps(done))


def test_results_of_others(made, tmp_path):
    """They have ranks on the same features; features of another recipe are marked, other labels refused."""
    bench, sources = read_bench(made.file), read_sources(made.out)
    theirs = shutil.copytree(made.out, tmp_path / "theirs")
    table = tables(bench, made.out, sources, [theirs])[1]
    assert {row.name for row in table.rows if row.rank} == {"ridge", "gdlt", "ridge (theirs)", "gdlt (theirs)"}
    assert row_of(table, "ridge").rank == row_of(table, "ridge (theirs)").rank == 1

    changed_marks(theirs, lambda done: done["stamp"].update(recipe_id="0123456789abcdef"))
    table = tables(bench, made.out, sources, [theirs])[1]
    other = row_of(table, "ridge (theirs)")
    assert other.rank is None and other.marks == ("features of another recipe, 0123456789abcdef",)
    assert row_of(table, "ridge").rank == 1

    changed_marks(theirs, lambda done: done["stamp"].update(labels="0"))
    with pytest.raises(DataError, match="other labels of planted, 0, than this bench"):
        tables(bench, made.out, sources, [theirs])


def test_no_average_over_a_part_of_the_columns(made, tmp_path):
    out = shutil.copytree(made.out, tmp_path / "out")
    for path in out.glob("*-gdlt-*/bench.json"):
        done = json.loads(path.read_text())
        done["units"] = done["units"][:1]
        path.write_text(json.dumps(done))
    gdlt = row_of(tables(read_bench(made.file), out, read_sources(out))[1], "gdlt")
    assert gdlt.rank is None and "average" not in gdlt.figures and "1 of 2 columns, so no average" in gdlt.marks


def test_other_test_videos_have_no_rank(made, tmp_path):
    out = shutil.copytree(made.out, tmp_path / "out")
    theirs = shutil.copytree(made.out, tmp_path / "theirs")
    for path in out.glob("*-gdlt-*-random-*/predictions.csv"):
        lines = path.read_text().splitlines()
        path.write_text("\n".join([lines[0], *[line.replace("A_0", "B_0") for line in lines[1:]]]) + "\n")
    table = tables(read_bench(made.file), out, read_sources(out), [theirs])[1]
    assert row_of(table, "gdlt").rank is None and any("other videos" in mark for mark in row_of(table, "gdlt").marks)
    assert row_of(table, "ridge").rank == 1


def test_undefined_correlations_are_missing(made, tmp_path):
    out = shutil.copytree(made.out, tmp_path / "out")
    for path in out.glob("*-gdlt-*/predictions.csv"):
        lines = [line.rsplit(",", 1)[0] + ",5.0" for line in path.read_text().splitlines()[1:]]
        path.write_text("\n".join([path.read_text().splitlines()[0], *lines]) + "\n")
    gdlt = row_of(tables(read_bench(made.file), out, read_sources(out))[1], "gdlt")
    assert math.isnan(gdlt.figures["average"]["spearman"].value) and np.isfinite(gdlt.figures["average"]["mse"].value)
    assert gdlt.rank == 2


def test_kept_cells_of_other_settings_have_no_rank(made, tmp_path):
    """A bench file that has changed since: the figures are those of before, so the table says it."""
    out = shutil.copytree(made.out, tmp_path / "out")
    bench = read_bench(made.file)
    more = replace(bench, splits={**bench.splits, "random": replace(bench.splits["random"], folds=3)})
    official, random = tables(more, out, read_sources(out))
    assert row_of(official, "ridge").rank == 1
    assert row_of(random, "ridge").rank is None and row_of(random, "ridge").marks[0] == "another split"


def test_joined_benches_of_one_name_keep_their_own_ranks(made, tmp_path):
    one, two = (shutil.copytree(made.out, tmp_path / who / "bench") for who in ("alice", "bob"))
    for path in two.glob("*-ridge-*-random-*/predictions.csv"):
        head, *lines = path.read_text().splitlines()
        # Bob's scores are those of others: the last row's goes to the first.
        scores = [line.rsplit(",", 1) for line in lines]
        path.write_text("\n".join([head, *(f"{a[0]},{b[1]}" for a, b in zip(scores, scores[::-1]))]) + "\n")
    table = tables(read_bench(made.file), made.out, read_sources(made.out), [one, two])[1]
    ridge = [row for row in table.rows if row.name == "ridge (bench)"]
    assert len(ridge) == 2 and min(row.rank for row in ridge) == row_of(table, "ridge").rank == 1
    assert max(row.rank for row in ridge) > 1


def test_ranks_inside_groups_are_over_all_folds(made):
    """As in `train heads`: few videos of one group are in one fold."""
    tests = [
        ScoredVideos(("", "total"), names, np.arange(3.0), np.array(scores), fold=str(fold), inside=["event"] * 3)
        for fold, (names, scores) in enumerate(((["a", "b", "c"], [0.0, 2.0, 1.0]), (["d", "e", "f"], [5.0, 6.0, 7.0])))
    ]
    (whole,) = over_folds(tests)
    assert list(whole.video_ids) == list("abcdef") and whole.fold == ""
    expected = spearman(np.array([0, 1, 2, 0, 1, 2.0]), np.array([0, 2, 1, 5, 6, 7.0]))
    assert spreads(_measured(tests, "within_group"), "within_group")["", "total"].point == pytest.approx(expected)
    assert np.isnan(spreads(tests, "within_group")["", "total"].point)


def test_what_is_said_of_a_split():
    """With leave-one-out, a method that knows nothing has no 0."""
    own, cut, alone = (
        described(SplitEntry("a")),
        described(SplitEntry("a", 5, "skater")),
        SplitEntry("a", "leave-one-out"),
    )
    assert own == "the dataset's own split" and cut == "5-fold by skater cross-validation inside the training videos"
    assert "leave-one-out" in described(alone) and "guessing the mean of the training videos has -1" in described(alone)
    assert described(SplitEntry("a", "leave-one-out", about="Ours")).startswith("Ours; correlations are over")
