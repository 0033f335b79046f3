"""What is refused before anything is written, and what users are warned about."""

import platform
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from longtake.train.cli import main
from longtake.train.protocol.checks import warnings_of
from longtake.train.protocol.options import Options
from longtake.train.runs.fit import open_experiment
from tests.calls import invoke
from tests.features.raw import as_version_1
from tests.train.planted import planted_store


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return planted_store(
        tmp_path_factory.mktemp("planted") / "planted.h5", categories=("A", "B"), num_train=16, num_test=8
    )


@pytest.mark.parametrize(
    "head, precision, has",
    [("usdl", "bfloat16", False), ("usdl", "bfloat16", True), ("usdl", "float32", False), ("ridge", "bfloat16", False)],
)
def test_a_precision_that_the_processor_emulates(monkeypatch, store, head, precision, has):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    _, warnings = open_experiment([store], Options(head=head, overrides=(("precision", precision),)))
    warned = any("does not compute in bfloat16" in warning for warning in warnings)
    assert warned == (head == "usdl" and precision == "bfloat16" and not has)
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert not open_experiment([store], Options(head=head, overrides=(("precision", precision),)))[1]


def test_videos_of_an_unknown_split_are_a_warning(tmp_path):
    path = planted_store(tmp_path / "s.h5", num_train=8, num_test=4)
    with h5py.File(as_version_1(path), "r+") as file:
        splits = file["labels/split"][:]
        splits[:3] = b"Train"
        del file["labels/split"]
        file["labels/split"] = splits
    _, warnings = open_experiment([path], Options(head="ridge"))
    assert any("3 videos of the split 'Train' are not used" in warning for warning in warnings)


def test_videos_that_are_not_used_are_a_warning(tmp_path, store):
    experiment, warnings = open_experiment([store], Options(head="ridge"))
    assert not warnings
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


@pytest.mark.parametrize(
    "head, given, expected",
    [
        ("ridge", {"epochs": 3, "lr": 0.1, "batch_size": 4}, ["head ridge is fitted in closed form and has no use for epochs, lr"]),
        ("ridge", {"batch_size": 4, "window": 8}, []),
        ("usdl", {"epochs": 3}, []),
    ],
)  # fmt: skip
def test_settings_that_change_nothing(store, head, given, expected):
    _, warnings = open_experiment([store], Options(head=head, overrides=tuple(given.items())))
    assert warnings == expected


@pytest.mark.parametrize("text, expected", [("qgvl", ["head ridge reads no texts: leave out --text qgvl"]), (None, [])])
def test_texts_that_no_head_reads(store, text, expected):
    assert open_experiment([store], Options(head="ridge", text=text))[1] == expected


def test_no_store_or_no_test_videos(tmp_path):
    assert "no feature store at" in run("heads", "--features", tmp_path / "none.h5", status=2).output
    (tmp_path / "bad.h5").write_bytes(b"not a store")
    assert "not an HDF5 file" in run("heads", "--features", tmp_path / "bad.h5", status=2).output
    path = planted_store(tmp_path / "p.h5", num_train=8, num_test=0, with_text=False)
    assert "--folds 5" in run("heads", "--features", path, "--out", tmp_path / "run", status=2).output


def test_too_few_for_folds(store, tmp_path):
    path = planted_store(tmp_path / "s.h5", num_train=3, num_test=4)
    call = ("heads", "--head", "ridge", "--folds", 2, "--out", tmp_path / "r", "--features")
    assert "3 training videos: too few for folds" in run(*call, path, status=2).output
    assert "training videos: 2 to 8 folds" in run(*call[:4], 9, *call[5:], store, status=2).output.replace(
        "--folds 2", ""
    )


def test_identical_videos_in_training_and_test_are_a_warning(store):
    experiment, warnings = open_experiment([store], Options(head="ridge"))
    files, checksums = experiment.data.contents
    assert not warnings and not any(files), "features without a file"
    assert len(set(checksums)) == len(experiment.data) and all(checksums)
    train, test = (experiment.data.rows(split=split, category="A") for split in ("train", "test"))
    for column in (0, 1):
        contents = [files.copy(), checksums.copy()]
        contents[column][[train[3], test[1], test[2]]] = "same"
        contents[column][experiment.data.rows(category="B")[0]] = "same"  # of another model
        changed = replace(experiment, data=replace(experiment.data, contents=tuple(contents)))
        (line,) = [line for line in warnings_of(changed) if "byte-identical" in line]
        assert line.startswith("2 test videos are byte-identical to training videos (A_017 = A_003, A_018 = A_003)")
    assert len(experiment.data.take(test).contents[1]) == len(test)
