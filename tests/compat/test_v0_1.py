"""Stores, runs and checkpoints of version 0.1 stay readable: today's commands print for them what those of 0.1 printed."""

import json
import re
from pathlib import Path

import pytest

from tests.calls import invoke
from tests.compat.readings import (
    EXPECTED,
    FINISHED,
    HDF5,
    OTHER,
    PLANTED,
    READINGS,
    RUNS,
    ZARR,
    copy_fixtures,
    features,
    heads,
    said,
    train,
)

CLOSE = {"rel": 1e-4, "abs": 1e-5}
"""Processors differ in how they round sums of products."""


@pytest.fixture(autouse=True)
def fixtures(tmp_path, monkeypatch):
    """The test runs in a copy of the fixtures."""
    monkeypatch.chdir(copy_fixtures(tmp_path))
    return tmp_path


def require_same(found, expected, where=""):
    """Floats are compared within a tolerance. New keys are allowed; keys of 0.1 must not be missing."""
    if isinstance(expected, dict):
        assert isinstance(found, dict) and expected.keys() <= found.keys(), (where, found)
        for name, value in expected.items():
            require_same(found[name], value, f"{where}/{name}")
    elif isinstance(expected, list):
        assert isinstance(found, list) and len(found) == len(expected), (where, found)
        for index, value in enumerate(expected):
            require_same(found[index], value, f"{where}/{index}")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, **CLOSE), where
    else:
        assert found == expected, where


def test_a_difference_is_found():
    expected = {"a": [{"b": 1.0}], "c": "x"}
    require_same({"a": [{"b": 1.000001}], "c": "x", "new": 1}, expected)
    for found in ({"a": [{"b": 1.01}], "c": "x"}, {"a": [], "c": "x"}, {"a": [{"b": 1.0}]}, {**expected, "c": "y"}):
        with pytest.raises(AssertionError):
            require_same(found, expected)


def test_every_expected_reading_is_made():
    assert json.loads(EXPECTED.read_text(encoding="utf-8")).keys() == READINGS.keys()


@pytest.mark.parametrize("name", READINGS)
def test_commands_print_what_0_1_printed(name):
    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))[name]
    if name == "compare and test":
        # Of four videos, 0.1 had an interval, and today's release has none.
        for test in expected["tests"]:
            test |= dict.fromkeys(("spearman_low", "spearman_high", "spearman_p"))
    found = READINGS[name]()
    if name.startswith("page "):
        # Strips of attention are figures of their own today.
        assert found["num_figures"] >= expected.pop("num_figures")
    require_same(found, expected)


def test_both_formats_list_the_same_videos():
    assert said(features, "ls", HDF5, "--backbone", "planted") == said(features, "ls", ZARR, "--backbone", "planted")


def checkpoints(run):
    files = {path.name: path.read_bytes() for path in Path("runs", run, "checkpoints").iterdir()}
    assert files
    return files


@pytest.mark.parametrize("run", FINISHED)
def test_a_finished_run_is_resumed_without_training(run):
    before = checkpoints(run)
    said(train, *heads(run), "--resume")
    assert checkpoints(run) == before


def test_the_interrupted_run_is_resumed():
    """Finished models are kept as they are. The one in training continues after its last saved epoch, the second of five."""
    kept = checkpoints("interrupted")
    state = Path("runs/interrupted/resume/Adagio-total-seed1.safetensors")
    assert len(kept) == 1 and state.exists()
    done = invoke(train, *heads("interrupted"), "--resume", "--verbose")
    after = checkpoints("interrupted")
    assert len(after) == 2 and kept.items() <= after.items() and not state.exists()
    epochs = re.findall(r"\b(\d)/5\b", done.output)
    assert epochs == list("345" + "12345"), done.output


def test_another_run_does_not_overwrite_one_of_0_1():
    arguments = [*heads("core"), "--set", "width=16"]
    before = checkpoints("core")
    invoke(train, *arguments, status=2)
    assert checkpoints("core") == before


@pytest.mark.parametrize("run", RUNS)
def test_a_run_of_0_1_refuses_features_of_another_recipe(run):
    said(features, "export", HDF5, "loose", "--backbone", "planted")
    call = ("loose", "--layout", "gdlt", "--manifest", "loose/labels.csv", "--backbone", "planted", "--out", "other.h5")
    said(features, "import", *call)
    invoke(train, "evaluate", "--run", f"runs/{run}", "--features", "other.h5", status=2)


def test_a_head_learns_from_a_store_of_0_1():
    metrics = said(train, "heads", *PLANTED, "--head", "ridge", "--out", "runs/new")
    assert [row["category"] for row in metrics["table"]] == ["Adagio", "Allegro", "average"]


@pytest.mark.parametrize("source, out", [(HDF5, "new.zarr"), (ZARR, "new.h5"), (HDF5, "new.h5")])
def test_a_store_of_0_1_is_converted(source, out):
    said(features, "convert", source, out)
    assert said(features, "diff", source, out) == [] and said(features, "verify", out)["faults"] == []


def test_stores_of_0_1_are_merged():
    said(features, "merge", HDF5, ZARR, "--out", "merged.h5")
    assert said(features, "diff", HDF5, "merged.h5") == []


@pytest.mark.parametrize("store", [HDF5, OTHER])
def test_features_are_added_to_a_store_of_0_1(store):
    before = said(features, "info", store)
    said(features, "export", store, "loose", "--backbone", "planted")
    Path("loose/labels.csv").rename(f"{before['dataset']}.csv")
    call = ("--layout", "gdlt", "--manifest", f"{before['dataset']}.csv", "--backbone", "second", "--out", store)
    said(features, "import", "loose", *call, "--clip-length", 16, "--clip-stride", 16, "--fps", 6.25)
    after = said(features, "info", store)
    assert [one["name"] for one in before["streams"]] == [
        one["name"] for one in after["streams"] if not one["name"].startswith("second@")
    ]
    assert said(features, "verify", store)["faults"] == []


def test_a_part_that_0_1_left_is_packed():
    """The next command that writes to the store packs it: here, new labels."""
    assert list(Path(f"{OTHER}.parts").iterdir())
    assert "video_10" not in {row["video_id"] for row in said(features, "ls", OTHER)}
    said(features, "export", OTHER, "loose")
    Path("loose/labels.csv").rename("other.csv")
    said(features, "relabel", OTHER, "--manifest", "other.csv")
    assert "video_10" in {row["video_id"] for row in said(features, "ls", OTHER)}
    assert said(features, "verify", OTHER)["faults"] == []
