"""Which precision `auto` takes, that it is recorded, and that a resumed run keeps it."""

import json

import pytest

from longtake.train.heads import get_head
from longtake.train.protocol import precision
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from longtake.train.runs.fit import fit
from tests.train.planted import planted_store


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return planted_store(tmp_path_factory.mktemp("planted") / "planted.h5", num_train=16, num_test=8)


def on_a_processor(monkeypatch, has):
    monkeypatch.setattr(precision, "computes_in_bfloat16", lambda: has)


@pytest.mark.parametrize(
    "head, has, asked, taken",
    [
        ("gdlt", True, None, "bfloat16"),
        ("gdlt", False, None, "float32"),
        ("gdlt", True, "auto", "bfloat16"),
        ("gdlt", True, "float32", "float32"),
        ("gdlt", False, "bfloat16", "bfloat16"),
        ("usdl", True, None, "float32"),
        ("ridge", True, None, "float32"),
    ],
)
def test_what_auto_takes(monkeypatch, path, head, has, asked, taken):
    on_a_processor(monkeypatch, has)
    from longtake.features.store import open_store

    overrides = () if asked is None else (("precision", asked),)
    with open_store(path) as store:
        experiment = prepare(store, Options(head=head, overrides=overrides))
    assert {unit.settings.train.precision for unit in experiment.units} == {taken}
    assert get_head("gdlt").bfloat16 and not get_head("usdl").bfloat16


def test_a_run_records_it_and_keeps_it_on_another_processor(monkeypatch, path, tmp_path):
    choices = {"features": path, "head": "gdlt", "epochs": 1, "width": 16, "out": tmp_path / "run"}
    on_a_processor(monkeypatch, True)
    fit(**choices)
    config = (tmp_path / "run" / "config.json").read_text()
    assert {part["train"]["precision"] for part in json.loads(config)["settings"].values()} == {"bfloat16"}
    on_a_processor(monkeypatch, False)
    fit(**choices, resume=True)
    assert (tmp_path / "run" / "config.json").read_text() == config


def test_a_run_of_two_scores_keeps_it_as_well(monkeypatch, tmp_path):
    """Settings of this head hold the range of the score."""
    path = planted_store(tmp_path / "planted.h5", num_train=16, num_test=8, judges=2)
    choices = {
        "features": path,
        "head": "qtd",
        "epochs": 1,
        "feed_forward": 8,
        "hidden": 8,
        "out": tmp_path / "run",
        "floor": False,
    }
    on_a_processor(monkeypatch, True)
    assert len(fit(**choices).table) > 2
    config = (tmp_path / "run" / "config.json").read_text()
    on_a_processor(monkeypatch, False)
    fit(**choices, resume=True)
    assert (tmp_path / "run" / "config.json").read_text() == config
