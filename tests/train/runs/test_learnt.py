"""Which videos the heads of a run learnt from."""

import json
from pathlib import Path

import pytest

from longtake.train.cli import main
from tests.calls import invoke
from tests.train.planted import planted_store


def predicted(run: Path, store: Path) -> dict[str, tuple[int, int]]:
    out = invoke(main, "predict", "--run", run, "--features", store, "--json").output
    return {one["video_id"]: (one["learnt_by"], one["num_heads"]) for one in json.loads(out)}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return planted_store(tmp_path_factory.mktemp("learnt") / "s.h5", num_train=12, num_test=4)


def test_the_training_videos_of_the_split(store, tmp_path):
    invoke(main, "heads", "--features", store, "--head", "ridge", "--out", tmp_path / "run")
    found = predicted(tmp_path / "run", store)
    assert found == {f"A_{n:03d}": (int(n < 12), 1) for n in range(16)}
    said = invoke(main, "predict", "--run", tmp_path / "run", "--features", store).output
    assert said.count("the heads learnt from this video") == 12
    other = planted_store(tmp_path / "o.h5", num_train=12, num_test=4, dataset="other")
    assert {learnt for learnt, _ in predicted(tmp_path / "run", other).values()} == {0}


def test_with_folds_all_heads_but_one_learnt_from_a_video(store, tmp_path):
    invoke(main, "heads", "--features", store, "--head", "ridge", "--folds", 3, "--out", tmp_path / "run")
    found = predicted(tmp_path / "run", store)
    assert found == {f"A_{n:03d}": (2 if n < 12 else 0, 3) for n in range(16)}
    said = invoke(main, "predict", "--run", tmp_path / "run", "--features", store, "--only", "A_000").output
    assert "2 of 3 heads learnt from this video" in said
