"""Heads of a finished run on the videos of a store."""

from dataclasses import replace

import numpy as np
import pytest

from longtake.features.store import open_store
from longtake.train.cli import main
from longtake.train.metrics import measure
from longtake.train.runs.evaluate import evaluate_run, format_evaluations
from tests.calls import invoke
from tests.train.planted import planted_store, with_headers


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status)


@pytest.fixture(scope="module")
def ridge_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    store = planted_store(folder / "s.h5", num_train=24, num_test=8, categories=("A", "B"), with_text=False)
    run("heads", "--features", store, "--head", "ridge", "--out", folder / "ridge")
    return folder, store


def test_figures_are_those_of_the_predictions(ridge_run):
    folder, store = ridge_run
    with open_store(store) as opened:
        labels = opened.labels
        tested, everything = (evaluate_run(folder / "ridge", opened, split) for split in ("test", None))
    assert [row.checkpoint for row in tested] == ["A-total-seed0", "B-total-seed0"]
    assert [len(row.predicted) for row in everything] == [32, 32]
    true = dict(zip(labels.video_ids, labels.scores[:, 0]))
    for row in tested:
        assert len(row.predicted) == 8 and not row.random_weights
        expected = measure(np.array([true[name] for name in row.predicted]), np.array([*row.predicted.values()]), 1.0)
        assert row.metrics.spearman == pytest.approx(expected.spearman)
        assert row.metrics.mse == pytest.approx(expected.mse)
    said = format_evaluations(tested)
    assert f"{tested[0].metrics.spearman:.3f}" in said and "AIoU" not in said and "RANDOM" not in said
    assert "RANDOM" in format_evaluations([replace(tested[0], random_weights=True)])
    assert "3 videos agree with no exemplar" in format_evaluations([replace(tested[0], unmatched=3)])


def test_a_run_refuses_features_of_another_recipe(ridge_run, tmp_path):
    folder, store = ridge_run
    out = folder / "ridge"
    other = planted_store(tmp_path / "other.h5", num_train=8, num_test=4, weights="others")
    done = run("evaluate", "--run", out, "--features", other, status=2)
    assert "weights: trained on 'planted', here 'others'" in done.output
    assert "no checkpoints" in run("evaluate", "--run", tmp_path, "--features", store, status=2).output


def test_none_of_several_recipes(ridge_run, tmp_path):
    folder, store = ridge_run
    others = lambda header: [replace(header, tail="drop"), replace(header, weights="others")]  # noqa: E731
    path = with_headers(tmp_path / "o.h5", store, others)
    call = ("--run", folder / "ridge", "--features", path)
    for command in ("evaluate", "predict"):
        said = run(command, *call, status=2).output
        assert "made by other recipes than the head's features" in said and "--backbone" not in said
        assert "tail: trained on 'pad', here 'drop'" in said and "weights: trained on 'planted', here 'others'" in said
    assert "A_000" in run("predict", *call, "--accept", "tail").output, "one is left"


def test_a_category_without_videos(ridge_run, tmp_path):
    folder, _ = ridge_run
    path = planted_store(tmp_path / "a.h5", num_train=4, num_test=2)
    call = ("evaluate", "--run", folder / "ridge", "--features", path)
    said = run(*call, "--split", "all", status=2).output
    assert "no videos of category 'B' have the score total; `features relabel`" in said and "--split" not in said
    assert "no videos of split 'later' of category 'A'" in run(*call, "--split", "later", status=2).output
