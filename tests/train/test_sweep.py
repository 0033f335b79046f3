"""`train sweep`: the numbers of single runs, resumable, and a cell that fails stops nothing."""

import json
import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch

from longtake.features.content import StreamPlan, consecutive
from longtake.features.store import open_store, write_store
from longtake.train.cli import main
from longtake.train.protocol import settings as presets
from longtake.train.runs.cells import processes
from longtake.train.runs.fit import fit
from longtake.train.runs.folder import BEST_ON_TEST
from longtake.train.sweep import cells_of, read_sweep
from tests.calls import group_ends, invoke, started, wait_for
from tests.train.planted import planted_store


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return planted_store(tmp_path_factory.mktemp("sweep") / "s.h5", num_train=20, num_test=8, categories=("A", "B/c"))


def sweep(store, out, *more, seeds=2, status=0):
    call = ("sweep", "--features", store, "--head", "gdlt", "--head", "ridge", "--set", "width=16", "--out", out)
    return run(*call, "--set", "epochs=2", "--seeds", seeds, *more, status=status)


def test_it_gives_the_numbers_of_single_runs(store, tmp_path):
    said = sweep(store, tmp_path / "bad", status=2).output
    assert "head ridge has no setting 'width'" in said, "before anything is trained"
    assert not (tmp_path / "bad").exists()
    call = ("sweep", "--features", store, "--head", "gdlt", "--set", "epochs=2", "--seeds", 2, "--out", tmp_path / "sw")
    found = json.loads(run(*call, "--json").stdout)
    run(
        "heads",
        "--features",
        store,
        "--head",
        "gdlt",
        "--epochs",
        2,
        "--seeds",
        2,
        "--no-floor",
        "--out",
        tmp_path / "r",
    )
    expected = {
        (row["category"], row["score"]): row
        for row in json.loads((tmp_path / "r" / "metrics.json").read_text())["table"]
    }
    assert len(found["lines"]) == len(expected) == 3 and not found["failed"]
    for line in found["lines"]:
        row = expected[line["category"], line["score"]]
        assert line["num_seeds"] == 2
        assert line["mse"] == pytest.approx(row["mse"], rel=1e-6)
        assert line["spearman"] == pytest.approx(row["spearman"], abs=1e-9)
        assert line["deviation"] == pytest.approx(row["spearman_deviation"], abs=1e-9)
        for name in ("spearman", "mse"):
            assert line[f"{name}_interval"] == pytest.approx(row["intervals"][name], rel=1e-5), (
                "over the same resamples"
            )
        assert line["intervals_over"] == "videos"
    shown = run(*call).stdout
    assert "[low, high]: 95% interval over the test videos" in shown and shown.count("n=8: few") >= 2
    ends = "[{low:.2f}, {high:.2f}]".format(**found["lines"][0]["spearman_interval"])
    assert ends in shown and ends not in run(*call, "--no-intervals").stdout


@pytest.mark.parametrize("validation", [0, 0.25])
def test_no_epoch_is_chosen_where_one_was_tested(store, tmp_path, validation):
    call = ("sweep", "--features", store, "--head", "i3d-mlp", "--category", "A", "--set", "epochs=3")
    run(*call, "--set", f"validation={validation}", "--out", tmp_path)
    (metrics,) = tmp_path.glob("*/metrics.json")
    (model,) = json.loads(metrics.read_text())["models"]
    assert bool(model["validation_selected"]) == bool(model[BEST_ON_TEST]) == bool(validation)


def test_it_continues_where_it_was_stopped(store, tmp_path):
    call = (
        "sweep",
        "--features",
        store,
        "--head",
        "ridge",
        "--head",
        "gdlt",
        "--set",
        "epochs=2",
        "--out",
        tmp_path / "sw",
    )
    run(*call)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "sw").glob("*/metrics.json")}
    assert len(before) == 4
    (lost,) = [path for path in before if "gdlt" in str(path) and "-A-" in str(path)]
    shutil.rmtree(lost.parent)
    done = run(*call, "--seeds", 2, "--workers", 2)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "sw").glob("*/metrics.json")}
    assert len(after) == 8 and all(after[path] == time for path, time in before.items() if path != lost)
    assert done.stderr.count(": done") == 5
    assert "holds a sweep with other settings" in run(*call, "--folds", 2, status=2).output


def test_a_cell_that_fails(store, tmp_path, monkeypatch):
    from longtake.train import sweep as module
    from longtake.train.errors import TrainError

    fit = module.fit

    def fails(path, **choices):
        if choices["categories"] == ("A",):
            raise TrainError("the loss became nan")
        return fit(path, **choices)

    monkeypatch.setattr(module, "fit", fails)
    call = ("sweep", "--features", store, "--head", "ridge", "--out", tmp_path / "sw")
    done = run(*call, status=1)
    assert "failed: ridge-planted" in done.output and "loss became nan" in done.output and "B/c total" in done.output
    monkeypatch.setattr(module, "fit", fit)
    assert "A total" in run(*call).output


def test_what_is_refused(store, tmp_path):
    call = ("sweep", "--features", store, "--out", tmp_path / "sw", "--head")
    assert "did you mean gdlt" in run(*call, "gdl", status=2).output
    assert "no category 'Z'" in run(*call, "ridge", "--category", "Z", status=2).output
    assert not (tmp_path / "sw").exists()


def test_on_a_cluster(store, tmp_path):
    """The scheduler and its worker are processes; the numbers are those of this one."""
    pytest.importorskip("distributed")
    call = (
        "sweep",
        "--features",
        store,
        "--head",
        "gdlt",
        "--set",
        "epochs=2",
        "--set",
        "precision=float32",
        "--category",
        "A",
        "--json",
    )
    here = json.loads(run(*call, "--out", tmp_path / "here").stdout)
    there = json.loads(run(*call, "--out", tmp_path / "there", "--cluster", "local", "--workers", 1).stdout)
    (one,), (other,) = here["lines"], there["lines"]
    assert one["spearman"] == other["spearman"] and one["mse"] == pytest.approx(other["mse"], rel=1e-4)
    assert "did you mean slurm" in run(*call, "--out", tmp_path / "x", "--cluster", "slum", status=2).output


def test_other_runs_may_be_in_the_folder(tmp_path):
    path = planted_store(tmp_path / "s.h5", categories=("A", "B"), num_train=12, num_test=6)
    call = ("sweep", "--features", path, "--head", "ridge", "--out", tmp_path / "sw", "--set", "penalties=5")
    run(*call)
    run("heads", "--features", path, "--head", "ridge", "--out", tmp_path / "sw" / "extra")
    run(*call)
    # The stamp of older sweeps has settings and choices in one table.
    stamp = json.loads((tmp_path / "sw" / "sweep.json").read_text())
    assert stamp["choices"]["penalties"] == "5" and "settings" not in stamp["choices"]
    said = run(*call[:-1], "penalties=6", status=2).output
    assert '"penalties": "5"' in said and '"penalties": "6" } } asked for' in said


def test_an_interrupted_sweep_has_no_average_of_nothing(tmp_path):
    path = planted_store(tmp_path / "s.h5", categories=("A", "B"), num_train=12, num_test=6)
    run("sweep", "--features", path, "--head", "ridge", "--seeds", 2, "--out", tmp_path / "sw")
    assert [line.num_seeds for line in read_sweep(tmp_path / "sw")[0]] == [2, 2, 2]
    for cell in ("A-seed1", "B-seed0"):
        (mark,) = (tmp_path / "sw").glob(f"*{cell}/done.json")
        mark.unlink()
    assert [line.category for line in read_sweep(tmp_path / "sw")[0]] == ["A", "B"]


@pytest.mark.parametrize("left", ["done", "begun", "of another head"])
def test_cells_of_another_state_of_the_store_are_not_mixed_in(tmp_path, left):
    """After relabel or more extraction, a table would be of two data sets."""
    made = {"categories": ("A", "B"), "num_train": 12, "num_test": 6}
    path = planted_store(tmp_path / "s.h5", **made)
    call = ("sweep", "--features", path, "--out", tmp_path / "sw", "--head")
    run(*call, "ridge")
    if left == "begun":
        marks = list((tmp_path / "sw").glob("*/done.json"))
        assert marks
        for mark in marks:
            mark.unlink()
    planted_store(path, **made, seed=1)
    wanted = "kernel" if left == "of another head" else "ridge"
    said = run(*call, wanted, status=2).output
    assert f"learnt from another state of {path}" in said and "Take another --out" in said and "another run" not in said
    run(*call[:4], tmp_path / "other", "--head", wanted)
    planted_store(path, **made)
    assert "ridge" in run(*call, wanted).output, "with the old store again, it continues"


def test_cells_of_another_preset_or_other_folds_are_not_mixed_in(tmp_path, monkeypatch):
    """After a new release, or `features relabel`: seeds of one table must not be of two ways to train or to cut."""
    made = {"num_train": 12, "num_test": 6, "with_text": False}
    path = planted_store(tmp_path / "s.h5", **made, groups={"skater": 4})
    call = ("sweep", "--features", path, "--head", "ridge", "--folds", 2, "--group", "skater", "--out", tmp_path / "sw")
    run(*call)
    run(*call)
    planted_store(path, **made, groups={"skater": 5})
    assert "another version of its preset, or other groups" in run(*call, status=2).output
    planted_store(path, **made, groups={"skater": 4})
    run(*call)
    monkeypatch.setattr(presets, "preset_row", lambda *_: {"penalties": 3})
    assert "another version of its preset, or other groups" in run(*call, status=2).output


@pytest.mark.parametrize(
    "pair, message",
    [
        ("folds=5", "--set folds=5: folds is a run option, not a head setting; use --folds"),
        ("seeds=2", "use --seeds"),
        ("head=ridge", "use --head"),
        ("categories=A", "use --category"),
        ("audio=true", "use --audio"),
        ("plugin=mag2", "use --plugin"),
        ("floor=false", "`train sweep` has no option for it"),
    ],
)
def test_run_options_are_not_settings(store, tmp_path, pair, message):
    call = ("sweep", "--features", store, "--head", "gdlt", "--out", tmp_path / "sw", "--set", pair)
    assert message in run(*call, status=2).output and not (tmp_path / "sw").exists()


def test_a_setting_that_has_the_name_of_an_option(store, tmp_path):
    call = ("--head", "gslm", "--category", "A", "--set", "scores=11", "--set", "epochs=1")
    run("sweep", "--features", store, *call, "--out", tmp_path / "sw")
    (path,) = (tmp_path / "sw").glob("*/config.json")
    config = json.loads(path.read_text())
    assert config["settings"]["A"]["prototypes"]["scores"] == 11 and config["options"]["scores"] == []
    made = fit(store, head="gslm", categories=("A",), settings={"scores": 11}, epochs=1, out=tmp_path / "run")
    assert made.table[0].score == "total"


def test_each_backbone_has_its_own_categories(tmp_path):
    path = planted_store(tmp_path / "s.h5", categories=("A", "B"), num_train=12, num_test=6)
    with open_store(path) as store:
        stream = store.stream()
        mine = [(stream, row) for video_id, row in stream.rows().items() if video_id.startswith("A")]
        plans = [
            StreamPlan(replace(stream.header, backbone=name), stream.features.dtype, consecutive(videos))
            for name, videos in (("some", mine), ("whole", [(stream, row) for row in stream.rows().values()]))
        ]
        both = tmp_path / "both.h5"
        write_store(both, dataset="planted", card=None, labels=store.labels, streams=plans)
    for backbones in (["whole", "some"], ["some", "whole"]):
        cells = cells_of(both, ["ridge"], backbones, [], 1, {})
        of_each = {name: [cell.category for cell in cells if cell.backbone == name] for name in backbones}
        assert of_each == {"whole": ["A", "B"], "some": ["A"]}


@pytest.mark.parametrize("how", ["Ctrl-C", "kill -9 of the first process"])
def test_what_ends_a_sweep_ends_all_cells(store, tmp_path, how):
    """Also those that no process has taken up: what is running ends, and nothing is begun."""
    out = tmp_path / "sw"
    call = ("sweep", "--features", store, "--head", "i3d-mlp", "--workers", 2, "--seeds", 8, "--set", "epochs=1000000")
    with started("longtake.train.cli", *call, "--out", out) as sweep:
        wait_for(out, "*/config.json", 2)
        if how == "Ctrl-C":
            os.killpg(sweep.pid, signal.SIGINT)
        else:
            sweep.kill()
        _, said = sweep.communicate(timeout=60)
        assert how != "Ctrl-C" or (sweep.returncode == 130 and "stopped; finished work is kept" in said)
        assert "Traceback" not in said
        assert len(list(out.glob("*/config.json"))) == 2
        assert group_ends(sweep)


def test_workers_share_the_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    with processes(2) as executor:
        assert executor.submit(threads).result() == 3
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    with processes(2) as executor:
        assert executor.submit(threads).result() == 1


def threads() -> int:
    return torch.get_num_threads()
