"""`train bench`: one command, resumable, and an interrupted bench equals an undisturbed one."""

import json

import pytest

from longtake.train.bench import training
from longtake.train.bench.file import read_bench
from longtake.train.bench.run import sources_of
from longtake.train.errors import SettingsError, TrainError
from longtake.train.runs.tables import read_predictions
from tests.train.bench.benches import FILE, GROUPED, bench_file, bench_store
from tests.train.bench.conftest import call

TIMES = ("seconds_per_model",)


def board(out):
    """leaderboard.json without times."""
    found = json.loads((out / "leaderboard.json").read_text())
    for table in found["tables"]:
        for row in table["rows"]:
            for name in TIMES:
                del row[name]
    return found


def test_one_command(made):
    assert "average rho / MSE" in made.said and "needs sound" in made.said
    assert {path.suffix for path in made.out.glob("leaderboard.*")} == {".txt", ".md", ".tex", ".json", ".html"}


def test_it_continues_and_equals_an_undisturbed_one(made, tmp_path, monkeypatch):
    into, count = training.train_into, []

    def stops(*arguments, **named):
        for result in into(*arguments, **named):
            yield result
            count.append(1)
            if len(count) == 7:
                raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_into", stops)
    call(made.file, "--out", tmp_path / "out", status=130)
    monkeypatch.undo()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/bench.json")}
    assert 0 < len(before) < 6
    call(made.file, "--out", tmp_path / "out", "--quiet")
    assert all(path.stat().st_mtime_ns == time for path, time in before.items()), "finished cells are kept"
    assert board(tmp_path / "out") == board(made.out)
    for path in made.out.glob("*/predictions.csv"):
        assert path.read_bytes() == (tmp_path / "out" / path.parent.name / path.name).read_bytes()


def test_in_processes(made, tmp_path):
    call(made.file, "--out", tmp_path / "out", "--only", "ridge", "--workers", 2, "--quiet")
    for path in (tmp_path / "out").glob("*/predictions.csv"):
        assert path.read_bytes() == (made.out / path.parent.name / path.name).read_bytes()
    assert len(list((tmp_path / "out").glob("*/bench.json"))) == 2


def test_a_failed_cell_ends_nothing(made, tmp_path, monkeypatch):
    into = training.train_into

    def fails(out, experiment, *arguments, **named):
        if experiment.head == "ridge":
            raise TrainError("the loss became nan")
        return into(out, experiment, *arguments, **named)

    monkeypatch.setattr(training, "train_into", fails)
    said = call(made.file, "--out", tmp_path / "out", "--seeds", 1, status=1).output
    assert "failed: planted-ridge" in said and "ridge (planted" in said and "failed: the loss became nan" in said
    assert len(list((tmp_path / "out").glob("*-gdlt-*/bench.json"))) == 2


def test_the_table_alone_needs_no_store(made, tmp_path):
    file = bench_file(tmp_path, tmp_path / "nowhere.h5")
    said = json.loads(call(file, "--out", made.out, "--table-only", "--json").stdout)
    assert said == json.loads((made.out / "leaderboard.json").read_text())
    assert "no bench: no sources.json" in call(file, "--out", tmp_path, "--table-only", status=2).output


def test_what_is_refused(made, tmp_path):
    assert (
        "no feature store"
        in call(bench_file(tmp_path, tmp_path / "nowhere.h5"), "--out", tmp_path / "out", status=2).output
    )
    assert "did you mean gdlt" in call(made.file, "--only", "gdl", "--out", tmp_path / "out", status=2).output
    assert (
        "goes with --cluster" in call(made.file, "--cluster-options", "x", "--out", tmp_path / "out", status=2).output
    )


def test_stores_by_name(made, tmp_path):
    bench = read_bench(bench_file(tmp_path, "nowhere.h5"))
    assert sources_of(bench, [str(made.store)])["planted"].path == str(made.store)
    assert sources_of(bench, [f"planted={made.store}"])["planted"].path == str(made.store)
    two = read_bench(bench_file(tmp_path, "nowhere.h5", FILE + '[datasets.b]\nfeatures = "b.h5"\n'))
    with pytest.raises(SettingsError, match="NAME=STORE for the datasets planted, b"):
        sources_of(two, [str(made.store)])


def test_by_group(tmp_path):
    """No skater is in two folds, inner ones included; figures have the correlation inside groups."""
    store = bench_store(tmp_path, {"skater": 4})
    call(bench_file(tmp_path, store, GROUPED), "--out", tmp_path / "out", "--quiet")
    (table,) = board(tmp_path / "out")["tables"]
    rows = {row["name"]: row for row in table["rows"]}
    assert rows["chosen"]["figures"]["A total"]["within_group"]["value"] > 0.5
    assert rows["chosen"]["rank"] == 1 and rows["metadata"]["parameters"] is None
    tested = []
    for path in [
        *(tmp_path / "out").glob("*metadata*/predictions.csv"),
        *(tmp_path / "out").glob("*/inner/*/predictions.csv"),
    ]:
        folds: dict[str, set[str]] = {}
        for row in read_predictions(path.parent):
            folds.setdefault(row.fold, set()).add(row.groups["skater"])
        tested.append(len(folds))
        skaters = [name for fold in folds.values() for name in fold]
        assert len(skaters) == len(set(skaters)), path
    assert sorted(set(tested)) == [2, 3]


AUDITED = """
title = "Audited"
[datasets.planted]
features = "{store}"
[splits.official]
[splits.skater]
folds = 3
group = "skater"
[heads.ridge]
"""


def test_what_training_and_test_share_is_in_every_form(tmp_path):
    """Of each split of its own, as `train heads` says it; a cell of an earlier version is named instead."""
    out = tmp_path / "out"
    said = call(bench_file(tmp_path, bench_store(tmp_path, {"skater": 6}), AUDITED), "--out", out).output
    official, by_skater = board(out)["tables"]
    (line,) = official["leaks"]
    assert line.startswith("32 of 32 test videos share their skater with training videos") and not by_skater["leaks"]
    for text in (said, *((out / f"leaderboard.{form}").read_text() for form in ("txt", "md", "tex", "html"))):
        assert "32 of 32 test videos share their skater" in " ".join(text.split()), text
    (done,) = out.glob("*official*/bench.json")
    done.write_text(
        json.dumps({name: value for name, value in json.loads(done.read_text()).items() if name != "leaks"})
    )
    call(tmp_path / "small.toml", "--out", out, "--quiet")
    (line,) = board(out)["tables"][0]["leaks"]
    assert line == "not audited for leaks, since an earlier version trained them: ridge"
