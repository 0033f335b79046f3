"""`train` as a user meets it, on planted features."""

import csv
import json
import os
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from longtake.features.store import open_store
from longtake.train.cli import main
from longtake.train.engine.names import unit_name
from longtake.train.errors import SettingsError
from longtake.train.heads import get_head
from longtake.train.runs.epochs import read_curves
from longtake.train.runs.fit import fit
from longtake.train.runs.tables import RANDOM_NOTE, read_predictions
from tests.calls import invoke
from tests.train.planted import planted_store


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return planted_store(
        tmp_path_factory.mktemp("planted") / "planted.h5", categories=("A", "B"), num_train=16, num_test=8
    )


@pytest.mark.parametrize("head", ["gdlt", pytest.param("gslm", marks=pytest.mark.slow)])
def test_quality_is_found_and_shuffled_labels_give_nothing(tmp_path, head):
    path = planted_store(tmp_path / "p.h5", num_train=160, num_test=80)
    arguments = ["--features", path, "--head", head, "--control", "--seeds", 2, "--batch-size", 16]
    if head == "gdlt":
        arguments += [
            "--epochs",
            20,
            "--lr",
            0.03,
            "--set",
            "width=32",
            "--set",
            "mse_weight=10",
            "--set",
            "dropout=0.1",
        ]
    else:
        arguments += ["--epochs", 40, "--set", "scores=11", "--set", "warmup_epochs=2", "--set", "dropout=0.1"]
    done = run("heads", *arguments, "--out", tmp_path / "run", "--json")
    (row,) = json.loads(done.stdout)["table"]
    assert row["spearman"] > 0.9
    assert abs(row["control_spearman"]) < 0.3
    assert row["floor_spearman"] > 0.8


SMALL = {
    "action-net": {"lr": 0.03, "width": 32},
    "hgcn": {"lr": 3e-3, "clips": 24, "width": 64},
    "ms-lstm": {"lr": 3e-3, "width": 32, "filters": 32, "hidden": 32, "descriptors": 8},
    "cofinal": {"lr": 0.03, "width": 32},
    "qtd": {"lr": 1e-3, "dropout": 0.1, "queries": 8},
    "tsa-net": {"lr": 1e-3},
    "c3d-lstm": {"lr": 3e-3, "width": 32},
    "mscadc": {"lr": 3e-3},
}
"""Settings on top of the published ones, for few videos and epochs."""


@pytest.mark.slow
@pytest.mark.parametrize("head", SMALL)
def test_heads_of_the_tables_find_quality(tmp_path, head):
    """With the published scale, loss and noise; shuffled labels give nothing."""
    path = planted_store(tmp_path / "p.h5", num_train=160, num_test=80)
    with open_store(path) as store:
        variance = store.labels.scores[[split == "test" for split in store.labels.splits]].var()
    settings = [word for name, value in SMALL[head].items() for word in ("--set", f"{name}={value}")]
    arguments = ("--features", path, "--head", head, "--control", "--batch-size", 16, "--epochs", 20, *settings)
    done = run("heads", *arguments, "--out", tmp_path / "run", "--json")
    (row,) = json.loads(done.stdout)["table"]
    assert row["spearman"] > 0.8
    assert row["mse"] < variance / 2
    assert row["control_spearman"] < 0.4


def test_an_epoch_chosen_by_held_out_training_videos(tmp_path, store):
    out = tmp_path / "run"
    call = ("heads", "--features", store, "--head", "gdlt", "--category", "A", "--epochs", 4, "--set", "width=16")
    done = run(*call, "--set", "validation=0.25", "--out", out)
    assert "validation-" in done.output
    (model,) = json.loads((out / "metrics.json").read_text())["models"]
    assert 1 <= model["validation_selected"]["epoch"] <= 4 and model["validation_selected"]["num_videos"] == 8
    (row,) = json.loads((out / "metrics.json").read_text())["table"]
    assert row["validation_selected"] == pytest.approx(model["validation_selected"]["spearman"])
    assert row["num_train"] == 16, "the share is taken inside training, not by the protocol"
    said = run(*call, "--set", "validation=0.25", "--evaluate-every", 4, "--out", tmp_path / "idle").stderr
    assert "chooses no epoch: with --evaluate-every 4 only the last is tested" in said
    assert "chooses no epoch" not in run(*call, "--evaluate-every", 4, "--out", tmp_path / "plain").stderr
    said = run(*call, "--set", "validation=0.05", "--out", tmp_path / "few", status=2).stderr
    assert "A-total-seed0: validation=0.05 of 16 training videos is 1" in said and not (tmp_path / "few").exists()
    run(*call[:2], store, "--head", "ridge", "--set", "validation=0.05", "--out", tmp_path / "ridge")
    done = run(*call, "--set", "validation=0.9", "--out", out, status=2)
    assert "validation takes a share from 0 to 0.5" in done.output
    done = run(*call, "--out", tmp_path / "other")
    assert "validation" not in done.output


def test_a_fitted_head_whose_scores_are_no_numbers(tmp_path, store, monkeypatch):
    forward = get_head("ridge").forward
    monkeypatch.setattr(
        get_head("ridge"),
        "forward",
        lambda head, batch: replace(forward(head, batch), score01=torch.full((len(batch.rows),), torch.nan)),
    )
    done = run("heads", "--features", store, "--head", "ridge", "--no-floor", "--out", tmp_path / "r", status=2)
    assert "scores that are no numbers" in done.output


def test_random_weights_are_marked_everywhere(tmp_path):
    path = planted_store(tmp_path / "r.h5", num_train=8, num_test=4, with_text=False, weights="random:0")
    done = run("heads", "--features", path, "--head", "ridge", "--out", tmp_path / "run")
    assert RANDOM_NOTE in done.output
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["random_weights"] is True


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--head", "gsln"], "did you mean gslm"),
        (["--set", "epoch=3"], "did you mean epochs"),
        (["--set", "epochs"], "KEY=VALUE"),
        (["--set", "epochs=many"], "takes a value of type int"),
        (["--lr", "1000"], "lr must lie"),
        (["--category", "C"], "there are A, B"),
        (["--score", "artistry"], "there are total"),
        (["--backbone", "vst"], "holds no features of 'vst'"),
        (["--text", "mlavl"], "extract text"),
        (["--head", "gdlt", "--folds", "400"], "--folds 400"),
        (["--device", "cuda:99"], "This machine offers cpu"),
        (["--head", "gslm", "--set", "scores=7"], "evenly"),
        (["--head", "gslm", "--set", "score_texts=guessed"], "interpolated"),
    ],
)
def test_wrong_calls(tmp_path, store, arguments, message):
    done = run("heads", "--features", store, *arguments, "--out", tmp_path / "run", status=2)
    assert message in done.output


def test_settings_of_fit_that_cannot_be(store):
    for choices, words in (
        ({"settings": ["a=1"]}, "takes names and values"),
        ({"settings": {"lr": 1}, "lr": 2}, "lr is given twice"),
    ):
        with pytest.raises(SettingsError, match=words):
            fit(store, head="gdlt", **choices)


def test_a_category_that_is_called_as_its_dataset(tmp_path):
    path = planted_store(tmp_path / "s.h5", num_train=6, num_test=4, dataset="Ball", categories=("Ball",))
    made = fit(path, head="ridge", floor=False, out=tmp_path / "run")
    assert list(made.predictions) == [("Ball", "total")] and len(made.predictions["Ball", "total"]) == 4


HOSTILE = "=A\x1b[2J\x9b[x](https://evil.example)<b>"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    store = planted_store(
        folder / "s.h5", num_train=6, num_test=4, categories=(HOSTILE, "@B"), dataset="d\x1b[2J", scores=("-tes\x07",)
    )
    head = ("--head", "i3d-mlp", "--epochs", 1, "--set", "width=8", "--no-floor")
    done = invoke(main, "heads", "--features", store, *head, "--out", folder / "run", "--verbose")
    return store, folder / "run", done


def has_control(text):
    return any(not character.isprintable() and character not in "\n\t" for character in text)


def test_control_characters_of_a_store_reach_no_terminal(hostile, tmp_path):
    store, run, done = hostile
    assert "=A [2J" in done.stdout and "epoch 1/1" in done.stderr and not has_control(done.output)
    for call in (
        ("compare", run), ("compare", run, "--format", "markdown"), ("compare", run, "--format", "html"),
        ("evaluate", "--run", run, "--features", store), ("predict", "--run", run, "--features", store),
        ("list", "runs", "--runs", run.parent), ("compare", run, "--json"), ("heads", "--features", store, "--category", "\x1bC"),
    ):  # fmt: skip
        said = invoke(main, *call, status=2 if "--category" in call else 0)
        assert said.output and not has_control(said.output), call
    assert r"\[x\](https\://evil" in invoke(main, "compare", run, "--format", "markdown").stdout


def test_files_of_a_run_are_harmless_and_read_back_the_same(hostile, tmp_path):
    store, run, _ = hostile
    invoke(main, "report", run, "--features", store)
    invoke(main, "predict", "--run", run, "--features", store, "--csv", tmp_path / "scores.csv")
    card, page = (run / "README.md").read_text(), (run / "report.html").read_text()
    assert "[2J" in card and "[2J" in page and not has_control(card) and not has_control(page)
    assert "[x](" not in card and "https://evil" not in card and "<b>" not in card + page.partition("</style>")[2]
    assert {row.category for row in read_predictions(run)} == {HOSTILE, "@B"}
    assert {name.partition("--tes")[0] for name in read_curves(run)} == {unit_name(one, "") for one in (HOSTILE, "@B")}
    for file in (run / "predictions.csv", run / "epochs.csv", tmp_path / "scores.csv"):
        cells = [cell for row in csv.reader(file.read_text().splitlines()) for cell in row]
        assert "'@B" in cells and not any(has_control(cell) or cell.startswith(("=", "@", "-tes")) for cell in cells)


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "metrics.json",
        "predictions.csv",
        "epochs.csv",
        "checkpoints/{model}.safetensors",
        "resume/{model}.json",
    ],
)
@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_files_of_a_run_are_regular_files(hostile, tmp_path, name, kind):
    """To open a named pipe would wait for ever."""
    store, run, _ = hostile
    copy = shutil.copytree(run, tmp_path / "run")
    path = copy / name.format(model=sorted((run / "checkpoints").iterdir())[0].stem)
    path.unlink()
    {"pipe": lambda: os.mkfifo(path), "folder": path.mkdir, "device": lambda: path.symlink_to("/dev/zero")}[kind]()
    head = (
        "heads",
        "--features",
        store,
        "--head",
        "i3d-mlp",
        "--epochs",
        1,
        "--set",
        "width=8",
        "--no-floor",
        "--resume",
    )
    call = {"checkpoints": ("evaluate", "--features", store, "--run"), "resume": (*head, "--out")}
    said = invoke(main, *call.get(name.partition("/")[0], ("report",)), copy, status=2).output
    assert path.name in said and any(word in said for word in ("not a regular file", "Is a directory", "a folder"))


def test_features_that_do_not_match_their_checksum_are_refused(tmp_path):
    """By all commands that use them, with the name of the video."""
    store = planted_store(tmp_path / "s.h5", num_train=6, num_test=4, dim=8)
    head = ("heads", "--features", store, "--head", "ridge", "--no-floor", "--out")
    invoke(main, *head, tmp_path / "run")
    with h5py.File(store, "r+") as file:
        names: list[str] = []
        file.visit(lambda name: names.append(name) if name.endswith("/features") and "text" not in name else None)
        (name,) = names
        values = file[name][:]
        values.view(np.uint32)[0, 0] ^= 1
        file[name][...] = values
    for call in (
        (*head, tmp_path / "other"), (*head, tmp_path / "run", "--resume"), ("evaluate", "--run", tmp_path / "run", "--features", store),
        ("predict", "--run", tmp_path / "run", "--features", store),
    ):  # fmt: skip
        said = invoke(main, *call, status=2).output
        assert said.startswith("error: ") and "A_000: its features do not match their checksum" in said, call
    assert not (tmp_path / "other").exists()


def test_folds_by_group_from_the_command(tmp_path):
    path = planted_store(tmp_path / "g.h5", num_train=24, num_test=6, groups={"skater": 7})
    call = ("heads", "--features", path, "--head", "ridge", "--group", "skater")
    run(*call, "--folds", 3, "--out", tmp_path / "run")
    lines = (tmp_path / "run" / "predictions.csv").read_text().splitlines()
    assert lines[0].endswith("true,predicted,group_skater") and len(lines) == 25
    folds = {}
    for line in lines[1:]:
        cells = line.split(",")
        folds.setdefault(cells[-1], set()).add(cells[4])
    assert len(folds) == 7 and all(len(found) == 1 for found in folds.values())
    assert "(3-fold by skater)" in (tmp_path / "run" / "README.md").read_text()
    assert "3-fold by skater" in run("compare", tmp_path / "run").output
    assert "holds another run (group)" in run(*call[:-2], "--folds", 3, "--out", tmp_path / "run", status=2).output
    run(*call, "--folds", "groups", "--out", tmp_path / "each")
    assert "one skater at a time" in run("compare", tmp_path / "each").output
    run("evaluate", "--run", tmp_path / "each", "--features", path)
    assert "give their number with --folds N" in run(*call, "--out", tmp_path / "no", status=2).output
    assert "--folds" in run(*call, "--folds", "group", "--out", tmp_path / "no", status=2).output
