"""`epochs.csv`: a row per model and epoch, whole after interruptions."""

import csv
import errno
from types import SimpleNamespace

import pytest

from longtake.train.engine.state import Epoch
from longtake.train.errors import DataError
from longtake.train.metrics import Metrics
from longtake.train.protocol.experiment import Model
from longtake.train.runs import epochs
from longtake.train.runs.epochs import EPOCHS, EpochLog, read_curves


def model(seed=0, category="A", fold=None, control=False):
    unit = SimpleNamespace(category=category, scale=SimpleNamespace(name="total"))
    job = SimpleNamespace(seed=seed)
    return Model(job, unit, parts=(), tasks=(), fold=fold, control=control)


def epoch(index, loss=1.0, spearman=None, **terms):
    test = None if spearman is None else Metrics(spearman, 2.0, 3.0, 4)
    return Epoch(index, loss, terms or {"mse": loss}, 0.1, test)


def rows(folder):
    with (folder / EPOCHS).open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_say_everything(tmp_path):
    log = EpochLog(tmp_path, False)
    log.epoch(model(), epoch(1, 0.1 + 0.2))
    log.epoch(model(fold=3, control=True), epoch(2, 0.5, 0.75))
    first, second = rows(tmp_path)
    assert first == {
        "category": "A", "score": "total", "seed": "0", "fold": "", "control": "0", "epoch": "1", "lr": "0.1",
        "loss": "0.30000000000000004", "test_spearman": "", "test_mse": "", "loss_mse": "0.30000000000000004",
    }  # fmt: skip
    assert (second["fold"], second["control"], second["test_spearman"], second["test_mse"]) == ("3", "1", "0.75", "2.0")


def test_rows_are_on_disk_after_every_epoch(tmp_path):
    log = EpochLog(tmp_path, False)
    for index in (1, 2, 3):
        log.epoch(model(), epoch(index))
        assert len(rows(tmp_path)) == index


def test_a_term_that_comes_later_gets_a_column(tmp_path):
    log = EpochLog(tmp_path, False)
    log.epoch(model(0), epoch(1, mse=1.0))
    log.epoch(model(1), epoch(1, mse=2.0, triplet=3.0))
    log.epoch(model(2), epoch(1, triplet=4.0))
    assert [(row["loss_mse"], row["loss_triplet"]) for row in rows(tmp_path)] == [
        ("1.0", ""),
        ("2.0", "3.0"),
        ("", "4.0"),
    ]


def test_a_resumed_run_replaces_the_epochs_that_it_trains_again(tmp_path):
    log = EpochLog(tmp_path, False)
    for index in (1, 2, 3):
        log.epoch(model(0), epoch(index, 1.0))
        log.epoch(model(1), epoch(index, 1.0))
    log = EpochLog(tmp_path, True)
    for index in (2, 3, 4):
        log.epoch(model(1), epoch(index, 5.0))
    found = {(row["seed"], row["epoch"]): row["loss"] for row in rows(tmp_path)}
    assert len(rows(tmp_path)) == len(found) == 7
    assert [found["1", index] for index in "1234"] == ["1.0", "5.0", "5.0", "5.0"]
    assert all(found["0", index] == "1.0" for index in "123")


def test_a_run_from_the_start_keeps_nothing(tmp_path):
    for loss in (1.0, 2.0):
        log = EpochLog(tmp_path, False)
        log.epoch(model(), epoch(1, loss))
    assert [row["loss"] for row in rows(tmp_path)] == ["2.0"]


@pytest.mark.parametrize("lost", [1, 5, 30])
def test_a_row_that_a_kill_cut_off_is_left_out(tmp_path, lost):
    log = EpochLog(tmp_path, False)
    log.epoch(model(), epoch(1))
    log.epoch(model(category="B\nC"), epoch(1))
    whole = (tmp_path / EPOCHS).read_bytes()
    (tmp_path / EPOCHS).write_bytes(whole[:-lost])
    assert list(read_curves(tmp_path)) == ["A-total-seed0"]
    log = EpochLog(tmp_path, True)
    log.epoch(model(category="B\nC"), epoch(1))
    assert (tmp_path / EPOCHS).read_bytes() == whole


def test_curves_by_model(tmp_path):
    log = EpochLog(tmp_path, False)
    log.epoch(model(), epoch(1, 0.5))
    log.epoch(model(), epoch(2, 0.25, 0.75))
    log.epoch(model(category="", seed=2, fold=1, control=True), epoch(1))
    found = read_curves(tmp_path)
    assert list(found) == ["A-total-seed0", "total-seed2-fold1-control"]
    assert found["A-total-seed0"].loss == {1: 0.5, 2: 0.25} and found["A-total-seed0"].test_spearman == {2: 0.75}
    assert read_curves(tmp_path / "nothing") == {}


@pytest.mark.parametrize(
    "damage",
    [b"", b"\xff\xfe", b"a,b\n1,2\n", b"category,score,seed,fold,control,epoch,loss,test_spearman\nA,t,0,,0,one,1,\n"],
)
def test_a_damaged_file_is_named(tmp_path, damage):
    (tmp_path / EPOCHS).write_bytes(damage)
    with pytest.raises(DataError, match="epochs.csv is damaged: .*Delete it"):
        read_curves(tmp_path)


def test_a_full_disk_does_not_end_the_training(tmp_path, monkeypatch, caplog):
    log = EpochLog(tmp_path, False)
    log.epoch(model(), epoch(1))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(epochs.EpochLog, "_append", full)
    log.epoch(model(), epoch(2))
    log.epoch(model(), epoch(3))
    assert caplog.text.count("cannot be written, so the learning curves end here") == 1
    assert len(rows(tmp_path)) == 1
