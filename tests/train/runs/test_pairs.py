"""Runs against each other, video by video."""

import json

import numpy as np
import pytest

from longtake.train.errors import DataError
from longtake.train.metrics import fisher_mean, spearman
from longtake.train.runs import pairs
from longtake.train.runs.pairs import Pairs, compare_pair

METRICS = {
    "head": "gdlt",
    "dataset": "d",
    "random_weights": False,
    "table": [],
    "models": [
        {
            "category": "",
            "score": "total",
            "seed": 0,
            "control": False,
            "test": {"spearman": None, "mse": 1.5, "num_videos": 2},
        }
    ],
}


def write_run(folder, predicted_by_seed, true, rng):
    folder.mkdir()
    lines = ["video_id,category,score,seed,fold,control,true,predicted"]
    for seed, predicted in enumerate(predicted_by_seed):
        lines += [f"v{i},A,total,{seed},{i % 2},0,{t:.6f},{p:.6f}" for i, (t, p) in enumerate(zip(true, predicted))]
        lines += [f"v{i},A,total,{seed},{i % 2},1,{t:.6f},0" for i, t in enumerate(true)]
    (folder / "predictions.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_paired_tests(tmp_path):
    """A better run differs significantly, and one that is equally good does not (simulated scores)."""
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 25, 200)
    noisy = lambda sigma: [true + rng.normal(size=200) * sigma for _ in range(2)]  # noqa: E731
    first, same, better = (write_run(tmp_path / n, noisy(s), true, rng) for n, s in (("a", 10), ("b", 10), ("c", 5)))
    found = compare_pair(better, first)
    assert found.num_videos == 200 and 0.05 < found.spearman < 0.4
    assert found.spearman_low > 0 and found.spearman_p <= 0.01 and found.error_p < 0.01 and found.mse_ratio < 0.5
    expected = fisher_mean(
        spearman(true[f::2], np.mean([p[f::2] for p in seeds(better)], axis=0)) for f in (0, 1)
    ) - fisher_mean(spearman(true[f::2], np.mean([p[f::2] for p in seeds(first)], axis=0)) for f in (0, 1))
    assert found.spearman == pytest.approx(expected, abs=1e-6)
    found = compare_pair(same, first)
    assert found.spearman_low < 0 < found.spearman_high and found.spearman_p > 0.05 and found.error_p > 0.05
    itself = compare_pair(first, first)
    assert itself.spearman == 0 and itself.spearman_p == 1 and itself.error_p == 1 and itself.mse_ratio == 1
    short = write_run(tmp_path / "short", [true[:150]], true[:150], rng)
    with pytest.raises(DataError, match="not tested on the same videos"):
        compare_pair(short, first)
    with pytest.raises(DataError, match="no predictions.csv in it"):
        compare_pair(tmp_path, first)


def test_videos_of_one_model_are_compared_together(tmp_path, monkeypatch):
    """Their own categories do not matter: one model per score has scored them all."""
    monkeypatch.setattr("longtake.train.protocol.significance.RESAMPLES", 20)
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 25, 40)
    first, other = (write_run(tmp_path / n, [true + rng.normal(size=40) * 5], true, rng) for n in ("a", "b"))
    together = compare_pair(first, other)
    for folder in (first, other):
        path = folder / "predictions.csv"
        lines = path.read_text().splitlines()
        lines[1:] = [line.replace(",A,", f",{int(line.split(',')[0][1:]) // 2},") for line in lines[1:]]
        path.write_text("\n".join(lines) + "\n")
    assert compare_pair(first, other).spearman != together.spearman, (
        "without metrics.json, each category is a model of its own"
    )
    for folder in (first, other):
        (folder / "metrics.json").write_text(json.dumps(METRICS))
    assert compare_pair(first, other) == together
    (other / "metrics.json").unlink()
    assert compare_pair(first, other) == together, "one model of all against one of each category"
    (other / "metrics.json").write_text("{}")
    with pytest.raises(DataError, match="the run in .*\n  metrics.head is missing(.*\n)+  metrics.models is missing"):
        compare_pair(first, other)


def seeds(folder):
    rows = [line.split(",") for line in (folder / "predictions.csv").read_text().splitlines()[1:]]
    return [np.array([float(r[7]) for r in rows if r[3] == seed and r[5] == "0"]) for seed in ("0", "1")]


def test_each_run_is_prepared_once(tmp_path, monkeypatch):
    """So that all pairs of many runs cost little more than the runs."""
    monkeypatch.setattr("longtake.train.protocol.significance.RESAMPLES", 20)
    made = []
    prepare = pairs.prepared
    monkeypatch.setattr(pairs, "prepared", lambda *found: made.append(found) or prepare(*found))
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 25, 40)
    runs = [write_run(tmp_path / n, [true + rng.normal(size=40) * 5], true, rng) for n in "abc"]
    of_all = Pairs(runs)
    found = {(one, other): of_all.of(one, other) for one in range(3) for other in range(3)}
    assert len(made) == 3
    assert all(pair == compare_pair(runs[one], runs[other]) for (one, other), pair in found.items())
