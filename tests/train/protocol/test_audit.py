"""Leaks of experiments: between training and test, and between folds."""

import json
from dataclasses import replace

import numpy as np
import pytest

from longtake.features.store import open_store
from longtake.train.cli import main
from longtake.train.protocol.audit import audit
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from longtake.train.protocol.splits import splits
from tests.calls import invoke
from tests.train.planted import planted_store


@pytest.fixture
def path(tmp_path):
    return planted_store(tmp_path / "s.h5", num_train=24, num_test=8, groups={"skater": 4}, scores=("a", "b"))


def test_groups_in_training_and_test_and_in_no_two_folds(path):
    with open_store(path) as store:
        data = prepare(store, Options(head="ridge")).data
    official, random, by_skater, alone, one_group = (
        audit(data, [list(splits(data, "A", score, *cut)) for score in ("a", "b")])
        for cut in ((0,), (3,), (2, "skater"), ("leave-one-out",), ("groups", "skater"))
    )
    assert [(leak.kind, len(leak.pairs), leak.num_tested) for leak in official] == [("group skater", 8, 8)]
    assert [(leak.kind, len(leak.pairs), leak.num_tested) for leak in random] == [("group skater", 24, 24)]
    assert [(leak.kind, len(leak.pairs), leak.num_tested) for leak in alone] == [("group skater", 24, 24)]
    assert by_skater == one_group == []


def test_spans_of_one_file_in_two_folds(path):
    with open_store(path) as store:
        data = replace(prepare(store, Options(head="ridge")).data, groups={})
    sources = np.full(len(data), "", dtype=object)
    sources[[0, 1, 2]] = "file"
    starts, ends = np.full((2, len(data)), np.nan)
    starts[[0, 1, 2]], ends[[0, 1, 2]] = [0, 5, 20], [10, 15, 30]
    data = replace(data, sources=(sources, starts, ends))
    rounds = [list(splits(data, "A", "a", 24 // 2))]
    fold = {int(row): split.fold for split in rounds[0] for row in split.test_rows}
    assert fold[0] != fold[1], "else this test says nothing"
    (leak,) = audit(data, rounds)
    assert leak.kind == "overlap" and leak.pairs == {"A_000": "A_001", "A_001": "A_000"}
    assert data.take(np.array([2, 0])).sources[1].tolist() == [20, 0]


def test_runs_and_evaluations_say_so(path, tmp_path):
    call = ("--features", path, "--out", tmp_path / "run")
    done = invoke(main, "heads", "--head", "ridge", *call)
    line = (
        "8 of 8 test videos share their skater with training videos (A_024 = A_000, A_025 = A_001, A_026 = A_002, ...)"
    )
    assert done.output.count(line) == 1
    (leak,) = json.loads((tmp_path / "run/metrics.json").read_text())["audit"]
    assert (leak["kind"], leak["count"], leak["of"]) == ("group skater", 8, 8)
    evaluated = invoke(main, "evaluate", "--run", tmp_path / "run", *call[:2])
    assert evaluated.stderr.count(f"warning: {line}") == 1
