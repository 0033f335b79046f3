"""The experiments of benchmarks/study.py learn from training videos alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.train.protocol.splits import fold_of_groups

COUNT = 60


class Grams(dict):
    """A kernel for every name."""

    def __missing__(self, name):
        features = np.random.RandomState(len(self)).randn(COUNT, 50)
        self[name] = features @ features.T
        return self[name]


@pytest.fixture
def world(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    from studies import closed_forms, differences, gradients, models, neighbours, processes, videos

    rng = np.random.RandomState(0)
    made = videos.Videos(
        [], 20 + 20 * rng.rand(COUNT, 2), np.array([f"s{n // 3}" for n in range(COUNT)]), np.array([f"e{n % 6}" for n in range(COUNT)]),
        [], tuple(map(str, range(COUNT))),
    )  # fmt: skip
    sums = rng.rand(COUNT, 3)
    monkeypatch.setattr(processes, "element_sums", lambda *_: dict.fromkeys(("base", "grade", "all"), sums))
    rows = closed_forms.rows() | differences.rows() | neighbours.rows() | processes.rows(Path("none"))
    clips = torch.randn(COUNT, 64, 8)
    ways = (gradients.Way(epochs=2, taught=0.5), gradients.Way(epochs=2, mix=True, residual=True))
    rows |= {str(way): [gradients.small_attention(lambda: clips, way)] for way in ways}
    return made, rows, models, videos


def test_cuts_are_those_of_the_command(world):
    made, _, _, videos = world
    assert (videos.cut(made, "skater-0").fold_of == fold_of_groups(made.skaters, 5)).all()
    for name in ("skater-3", "random-1"):
        tested = np.concatenate([test for _, test in videos.cut(made, name).rounds()])
        assert sorted(tested) == list(range(COUNT))
    for train, test in videos.cut(made, "skater-2").rounds():
        assert not set(made.skaters[train]) & set(made.skaters[test])


@pytest.mark.slow
def test_no_label_of_a_tested_video_is_seen(world):
    made, rows, models, videos = world
    train, test = next(videos.cut(made, "skater-0").rounds())
    hidden = made.scores.copy()
    hidden[test] = np.nan
    grams = Grams()
    for name, settings in rows.items():
        found = []
        for scores in (made.scores, hidden):
            fold = models.Fold(replace(made, scores=scores), grams, 0, train, test, True)
            found.append(models.chosen(settings[:2])(fold))
        assert np.isfinite(found[1]).all() and np.array_equal(*found), name


def test_kernels_are_of_these_videos(world, tmp_path):
    """Those of other features, and half a file, are not taken."""
    made, _, _, videos = world
    from studies.grams import kept

    first, other = (replace(made, clips=[np.full((3, 2), value, np.float32)]) for value in (1, 2))
    assert first.digest == replace(first).digest != other.digest != replace(other, skaters=made.events).digest

    class Stopped:
        def __array__(self, *_, **__):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept(tmp_path / "a.npz", lambda: {"whole": np.zeros(3), "half": Stopped()})
    assert (kept(tmp_path / "a.npz", lambda: {"whole": np.ones(3)})["whole"] == 1).all()
