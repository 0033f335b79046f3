"""`train` as a user meets it, on planted features."""

import csv
import gc
import json
import platform
import shutil
import threading
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from longtake.features.store import open_store
from longtake.train.cli import main
from longtake.train.engine import parallel
from longtake.train.errors import SettingsError
from longtake.train.heads import get_head
from longtake.train.metrics import fisher_mean, spearman
from longtake.train.protocol.checks import warnings_of
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from longtake.train.protocol.splits import splits
from longtake.train.runs import listing
from longtake.train.runs.fit import default_folder, fit, open_experiment, train_into
from longtake.train.runs.folder import BEST_ON_TEST
from longtake.train.runs.tables import RANDOM_NOTE
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


def test_what_a_run_leaves(tmp_path, store):
    out = tmp_path / "run"
    done = run(
        "heads", "--features", store, "--head", "gdlt", "--epochs", 2, "--seeds", 2, "--set", "width=16", "--out", out
    )
    assert "average" in done.output and "optimistic" in done.output
    config = json.loads((out / "config.json").read_text())
    assert config["head"] == "gdlt" and config["settings"]["A"]["head"]["width"] == 16
    with open_store(store) as opened:
        assert config["recipe_id"] == opened.stream().header.recipe_id
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["result"] == "last epoch" and len(metrics["models"]) == 4
    assert all(BEST_ON_TEST in model for model in metrics["models"])
    assert [row["category"] for row in metrics["table"]] == ["A", "B", "average"]
    with (out / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 8
    assert len(list((out / "checkpoints").glob("*.safetensors"))) == 4
    assert len(list((out / "tensorboard").glob("*/events*"))) == 4
    # The result is that of the last epoch: the same heads, loaded again, say the same.
    evaluated = json.loads(run("evaluate", "--run", out, "--features", store, "--json").output)
    by_name = {row["checkpoint"]: row for row in evaluated}
    for row in rows:
        again = by_name[f"{row['category']}-total-seed{row['seed']}"]["predicted"][row["video_id"]]
        assert again == pytest.approx(float(row["predicted"]), abs=1e-4)
    for model in metrics["models"]:
        again = by_name[f"{model['category']}-total-seed{model['seed']}"]["metrics"]
        assert again["relative_l2"] == pytest.approx(model["test"]["relative_l2"], rel=1e-4)
    # The average's deviation is that of the seeds' averages, as a reader of predictions.csv would have it.
    by_seed = []
    for seed in ("0", "1"):
        mine = [(row["category"], float(row["true"]), float(row["predicted"])) for row in rows if row["seed"] == seed]
        pairs = ([row[1:] for row in mine if row[0] == category] for category in "AB")
        by_seed.append(fisher_mean(spearman(*np.array(pair).T) for pair in pairs))
    assert metrics["table"][2]["spearman_deviation"] == pytest.approx(np.std(by_seed, ddof=1), abs=1e-6)


@pytest.mark.parametrize("seeds, folds", [(3, 0), (3, 2), (1, 2)])
def test_the_mean_of_seeds_is_that_of_the_predictions(tmp_path, store, seeds, folds):
    """As a reader of predictions.csv would have it: one score a video and fold, measured, then averaged over folds and categories."""
    call = ("heads", "--features", store, "--head", "i3d-mlp", "--epochs", 3, "--lr", 0.01, "--control", "--no-floor")
    said = run(*call, "--seeds", seeds, "--folds", folds, "--out", tmp_path / "run").output
    table = json.loads((tmp_path / "run" / "metrics.json").read_text())["table"]
    assert ("mean of seeds" in said) == (seeds > 1)
    if seeds == 1:
        assert all(row["ensemble_spearman"] is row["ensemble_mse"] is None for row in table)
        return
    with (tmp_path / "run" / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["control"] == "0"]
    figures = []
    for category in "AB":
        tests = []
        for fold in sorted({row["fold"] for row in rows}):
            videos = {}
            for row in rows:
                if (row["category"], row["fold"]) == (category, fold):
                    videos.setdefault((row["video_id"], float(row["true"])), []).append(float(row["predicted"]))
            assert {len(one) for one in videos.values()} == {seeds} and len(videos) == 8
            true, mean = np.array([true for _, true in videos]), np.array([np.mean(one) for one in videos.values()])
            tests.append((spearman(true, mean), np.mean((mean - true) ** 2)))
        figures.append((fisher_mean(rho for rho, _ in tests), np.mean([mse for _, mse in tests])))
    figures.append((fisher_mean(rho for rho, _ in figures), np.mean([mse for _, mse in figures])))
    assert len(table) == 3
    for row, (rho, mse) in zip(table, figures):
        assert row["ensemble_spearman"] == pytest.approx(rho, abs=1e-6)
        assert row["ensemble_mse"] == pytest.approx(mse, rel=1e-4)
        assert row["ensemble_mse"] < row["mse"], "whose errors differ, err less together"
        assert f"{rho:.3f}" in said and f"{mse:.2f}" in said


def test_heads_that_lie_on_disk_leave_memory(tmp_path, store):
    """Fifty heads of `gslm` with their gradients are 4 GB."""
    experiment, _ = open_experiment([store], Options(head="i3d-mlp", seeds=3, overrides=(("epochs", 1),)))
    alive = []
    for result in train_into(tmp_path / "run", experiment, lambda *_: None):
        gc.collect()
        assert not [one for one in threading.enumerate() if type(one).__name__ == "_AsyncWriterThread"], "nor do logs"
        heads = {id(one) for one in gc.get_objects() if type(one) is get_head("i3d-mlp")}
        alive.append(len(heads))
        assert result.fitted.head is None and np.isfinite(result.fitted.predicted).all()
    assert len(alive) == 6 and len(list((tmp_path / "run" / "checkpoints").iterdir())) == 6
    assert max(alive) <= 2, "those in training and no others"


@pytest.mark.parametrize(
    "head, precision, has",
    [("usdl", "bfloat16", False), ("usdl", "bfloat16", True), ("usdl", "float32", False), ("ridge", "bfloat16", False)],
)
def test_a_precision_that_the_processor_imitates(monkeypatch, store, head, precision, has):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    _, warnings = open_experiment([store], Options(head=head, overrides=(("precision", precision),)))
    told = any("does not compute in bfloat16" in warning for warning in warnings)
    assert told == (head == "usdl" and precision == "bfloat16" and not has)
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert not open_experiment([store], Options(head=head, overrides=(("precision", precision),)))[1]


@pytest.mark.parametrize(
    "head, setting, told",
    [
        ("i3d-mlp", "width=-4", "width must be above 0, got -4"),
        ("i3d-mlp", "dropout=3", "dropout must be from 0 to below 1, got 3.0"),
        ("i3d-mlp", "weight_decay=-1", "weight_decay must be 0 or more, got -1.0"),
        ("i3d-mlp", "mse_weight=nan", "mse_weight must be 0 or more, got nan"),
        ("gdlt", "heads=5", "head gdlt cannot be built with these settings: embed_dim must be divisible"),
        ("gdlt", "grades=0", "grades must be above 0"),
        ("gdlt", "decoder_layers=0", "decoder_layers must be above 0"),
        ("gdlt", "encoder_layers=-1", "encoder_layers must be 0 or more"),
        ("kernel", "penalty_min=0", "penalty_min must be above 0"),
        ("usdl", "width=0", "width must be above 0"),
    ],
)
def test_settings_out_of_range(tmp_path, store, head, setting, told):
    done = run("heads", "--features", store, "--head", head, "--set", setting, "--out", tmp_path / "r", status=2)
    assert told in done.output and done.output.count("error:") == 1 and not (tmp_path / "r").exists()


def test_a_fitted_head_whose_scores_are_no_numbers(tmp_path, store, monkeypatch):
    forward = get_head("ridge").forward
    monkeypatch.setattr(
        get_head("ridge"),
        "forward",
        lambda head, batch: replace(forward(head, batch), score01=torch.full((len(batch.rows),), torch.nan)),
    )
    done = run("heads", "--features", store, "--head", "ridge", "--no-floor", "--out", tmp_path / "r", status=2)
    assert "scores that are no numbers" in done.output


def test_too_few_for_folds(store, tmp_path):
    path = planted_store(tmp_path / "s.h5", num_train=3, num_test=4)
    call = ("heads", "--head", "ridge", "--folds", 2, "--out", tmp_path / "r", "--features")
    assert "3 training videos: too few for folds" in run(*call, path, status=2).output
    assert "training videos: 2 to 8 folds" in run(*call[:4], 9, *call[5:], store, status=2).output.replace(
        "--folds 2", ""
    )


def test_another_run_is_not_written_over(tmp_path, store):
    call = ("heads", "--features", store, "--head", "ridge", "--no-floor", "--out", tmp_path / "r")
    run(*call)
    run(*call)
    kept = (tmp_path / "r" / "metrics.json").read_bytes()
    for other in (("--head", "kernel"), ("--set", "penalties=3"), ("--category", "A")):
        assert "holds another run" in run(*call, *other, status=2).output
    assert (tmp_path / "r" / "metrics.json").read_bytes() == kept


def test_videos_of_an_unknown_split_are_told_of(tmp_path):
    path = planted_store(tmp_path / "s.h5", num_train=8, num_test=4)
    with h5py.File(path, "r+") as file:
        splits = file["labels/split"][:]
        splits[:3] = b"Train"
        del file["labels/split"]
        file["labels/split"] = splits
    _, warnings = open_experiment([path], Options(head="ridge"))
    assert any("3 videos of the split 'Train' are not used" in warning for warning in warnings)


def test_videos_that_are_left_out_without_a_word(tmp_path, store):
    experiment, told = open_experiment([store], Options(head="ridge"))
    assert not told
    data = experiment.data
    named = data.splits.copy()
    named[:4] = ""
    blank = replace(experiment, data=replace(experiment.data, splits=named))
    ids = ", ".join(experiment.data.video_ids[:3])
    assert warnings_of(blank) == [f"4 videos of no split are not used, since others have one: {ids}, ..."]
    folds = np.where(experiment.data.splits == "train", "fold1", "fold2").astype(object)
    folds[:2] = "test"
    assert warnings_of(replace(experiment, data=replace(experiment.data, splits=folds))) == [
        "2 videos of the split 'test' are not used: training takes train and the dataset's own folds"
    ]
    # Each category is split by itself.
    of_one = data.categories == data.categories[-1]
    assert warnings_of(replace(experiment, data=replace(data, splits=np.where(of_one, data.splits, folds)))) == [
        "2 videos of the split 'test' are not used: training takes train and the dataset's own folds"
    ]
    options = replace(experiment.options, folds=3)
    none = np.where(of_one, "", data.splits).astype(object)
    assert warnings_of(replace(experiment, options=options, data=replace(data, splits=none))) == []
    units = tuple(unit for unit in experiment.units if unit.category == data.categories[-1])
    assert warnings_of(replace(experiment, units=units, data=replace(data, splits=named))) == []


def test_the_default_head(tmp_path, store):
    assert (
        "head gslm"
        in run("heads", "--features", store, "--epochs", 1, "--set", "scores=11", "--out", tmp_path / "a").output
    )
    without = planted_store(tmp_path / "w.h5", num_train=8, num_test=4, with_text=False)
    done = run("heads", "--features", without, "--epochs", 1, "--out", tmp_path / "b")
    assert "head gdlt" in done.output and "no card states its range" in done.output


def test_folds_are_disjoint_complete_and_the_documented_ones(store):
    with open_store(store) as opened:
        experiment = prepare(opened, Options(head="gdlt", folds=3))
    everything = experiment.data.rows(split="train", category="A")
    held_out = []
    expected = np.array_split(np.random.RandomState(0).permutation(len(everything)), 3)
    for split, part in zip(splits(experiment.data, "A", "total", 3), expected):
        assert set(split.rows) == set(everything) and not set(split.train_rows) & set(split.test_rows)
        assert set(split.test_rows) == set(everything[part])
        held_out += split.test_rows.tolist()
    assert sorted(held_out) == everything.tolist()


def test_random_weights_are_said_everywhere(tmp_path):
    path = planted_store(tmp_path / "r.h5", num_train=8, num_test=4, with_text=False, weights="random:0")
    done = run("heads", "--features", path, "--head", "ridge", "--out", tmp_path / "run")
    assert RANDOM_NOTE in done.output
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["random_weights"] is True


@pytest.mark.parametrize(
    "head, given, told",
    [
        ("ridge", {"epochs": 3, "lr": 0.1, "batch_size": 4}, ["head ridge is fitted in closed form and has no use for epochs, lr"]),
        ("ridge", {"batch_size": 4, "window": 8}, []),
        ("usdl", {"epochs": 3}, []),
    ],
)  # fmt: skip
def test_settings_that_change_nothing(store, head, given, told):
    _, warnings = open_experiment([store], Options(head=head, overrides=tuple(given.items())))
    assert warnings == told


def test_an_interruption_keeps_what_is_done(tmp_path, store, monkeypatch):
    real, calls = parallel.fit, []

    def interrupted(*arguments, **keywords):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*arguments, **keywords)

    monkeypatch.setattr(parallel, "fit", interrupted)
    out = tmp_path / "run"
    call = ["--features", store, "--head", "gdlt", "--epochs", 1, "--no-floor", "--seeds", 3, "--out", out]
    done = run("heads", *call, status=130)
    assert "1 finished models" in done.output
    metrics = json.loads((out / "metrics.json").read_text())
    assert (len(metrics["models"]), metrics["num_models"], metrics["num_done"]) == (1, 6, 1)
    mark = "UNFINISHED, 1 of 6 models"
    for words in (("compare", out), ("list", "runs", "--runs", tmp_path)):
        assert f"last epoch, {mark}" in run(*words).output
    run("report", out)
    assert f"**{mark}.**" in (out / "README.md").read_text() and mark in (out / "report.html").read_text()
    for name in ("num_models", "num_done"):
        del metrics[name]
    (out / "metrics.json").write_text(json.dumps(metrics))
    assert "UNFINISHED" not in run("compare", out).output, "of an older release, nobody knows"
    monkeypatch.setattr(parallel, "fit", real)
    run("heads", *call, "--resume")
    assert "UNFINISHED" not in run("compare", out).output + (out / "README.md").read_text()


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


def test_no_store_or_no_test_videos(tmp_path):
    assert "no feature store at" in run("heads", "--features", tmp_path / "none.h5", status=2).output
    (tmp_path / "bad.h5").write_bytes(b"not a store")
    assert "not an HDF5 file" in run("heads", "--features", tmp_path / "bad.h5", status=2).output
    path = planted_store(tmp_path / "p.h5", num_train=8, num_test=0, with_text=False)
    assert "--folds 5" in run("heads", "--features", path, "--out", tmp_path / "run", status=2).output


def test_a_run_refuses_features_of_another_recipe(tmp_path, store):
    out = tmp_path / "run"
    run("heads", "--features", store, "--head", "ridge", "--out", out)
    other = planted_store(tmp_path / "other.h5", num_train=8, num_test=4, weights="others")
    done = run("evaluate", "--run", out, "--features", other, status=2)
    assert "weights: trained on 'planted', here 'others'" in done.output
    assert "no checkpoints" in run("evaluate", "--run", tmp_path, "--features", store, status=2).output


def test_list():
    rows = json.loads(run("list", "--json").output)
    assert {row["head"] for row in rows} >= {"gslm", "gdlt", "ridge"}


def test_list_counts_for_a_dataset_and_a_width(monkeypatch):
    """Of the published code of MLAVL, with 768 values a clip; 124 clips of Fis-V are more work than 68 of Rhythmic Gymnastics."""
    monkeypatch.setattr(listing, "TABLE", ("avcf", "gdlt", "ridge"))
    found = {}
    for words in ((), ("--dim", 768), ("--dataset", "fisv")):
        found[words] = {row["head"]: row for row in json.loads(run("list", *words, "--json").output)}
    plain, narrow, long = found.values()
    assert (plain["avcf"]["parameters"], narrow["avcf"]["parameters"]) == (6_987_155, 6_724_627)
    assert long["gdlt"]["parameters"] == plain["gdlt"]["parameters"] == 3_163_396
    assert long["gdlt"]["flops_per_video"] > 1.7 * plain["gdlt"]["flops_per_video"]
    said = run("list", "--dim", 768, "--dataset", "demo").output
    assert "gdlt" in said and f"{narrow['gdlt']['parameters']:,} parameters, " in said
    assert "needs what the card lacks" in said and "fitted in closed form" in said
    assert "did you mean fisv" in run("list", "--dataset", "fisw", status=2).output


def test_runs_of_one_second_have_folders_of_their_own(tmp_path, store, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment, _ = open_experiment([store], Options(head="ridge"))
    hostile = replace(experiment, dataset="../../x")
    folders = [default_folder(one) for one in (experiment, experiment, experiment, hostile)]
    assert len(set(folders)) == 4 and all(folder.is_dir() for folder in folders)
    assert {folder.resolve().parent for folder in folders} == {tmp_path / "runs"}
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "runs").symlink_to(tmp_path / "a disk that is not there")
    with pytest.raises(FileExistsError):
        default_folder(experiment)


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


def test_texts_of_a_store_stay_in_their_place_on_the_card(tmp_path):
    category = "A|<img src=x>"
    path = planted_store(tmp_path / "s.h5", num_train=6, num_test=4, categories=(category,), dataset="a|b\n# c")
    run("heads", "--features", path, "--head", "ridge", "--no-floor", "--out", tmp_path / "run")
    lines = (tmp_path / "run" / "README.md").read_text().splitlines()
    assert any(", torch" in line for line in lines), "what separates the versions"
    assert lines[0] == "# ridge on a\\|b # c" and not any("<img" in line for line in lines)
    (row,) = [line for line in lines if "img" in line]
    (header,) = [line for line in lines if line.startswith("| category")]
    assert "A\\|&lt;img src=x>" in row and row.replace("\\|", "").count("|") == header.count("|")
