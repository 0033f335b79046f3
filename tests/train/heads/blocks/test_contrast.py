"""Groups of differences and pairs, against plain numpy."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from longtake.train.errors import SettingsError
from longtake.train.heads.blocks.contrast import Differences, GroupSettings, Pairs
from tests.train.heads.goldens import Training
from tests.train.heads.kit import make_batch

RNG = np.random.default_rng(5)


def encoded_by_hand(edges, difference):
    """The group that holds the difference, and where in it."""
    for group, (left, right) in enumerate(zip(edges[:-1], edges[1:])):
        inside = left <= difference < right if difference >= 0 else left < difference <= right
        if inside:
            return group, (difference - left) / (right - left)
    last = 0 if difference < 0 else len(edges) - 2
    return last, (difference - edges[last]) / (edges[last + 1] - edges[last])


def test_groups_hold_as_many_training_pairs():
    targets = RNG.uniform(size=40) ** 2
    module = Differences(GroupSettings(), 16)
    module.learn_groups(Training(targets))
    edges = module.edges.double().numpy()
    np.testing.assert_allclose(edges, -edges[::-1])
    assert edges[8] == 0 and edges[-1] == 1
    found = np.sort([abs(a - b) for i, a in enumerate(targets) for b in targets[:i]])
    np.testing.assert_allclose(edges[9:-1], [np.quantile(found, share / 8) for share in range(1, 8)], atol=1e-6)
    counts = np.histogram(found, edges[8:])[0]
    assert counts.max() - counts.min() <= 2
    differences = np.array([*RNG.uniform(-1, 1, 50), 0.0, *edges[9:12], *-edges[9:12], 1.0, -1.0, 1.2])
    differences = torch.tensor(differences, dtype=torch.float32)
    group, place = module.encode(differences)
    expected = [encoded_by_hand(module.edges.double().numpy(), value) for value in differences.double().numpy()]
    np.testing.assert_array_equal(group, [one for one, _ in expected])
    np.testing.assert_allclose(place, [one for _, one in expected], atol=1e-5)
    places = torch.zeros(len(group), 16).scatter(1, group[:, None], place[:, None])
    np.testing.assert_allclose(module.decode(group, places), differences, atol=1e-5)


def test_differences_with_ties():
    """Ratings that are whole numbers: many pairs of no difference at all, and groups without width, to which no pair belongs."""
    module = Differences(GroupSettings(), 16)
    module.learn_groups(Training(np.repeat([0.2, 0.4], 10)))
    group, place = module.encode(torch.tensor([0.0, 0.2, -0.2, 0.1]))
    assert torch.isfinite(place).all()
    places = torch.zeros(4, 16).scatter(1, group[:, None], place[:, None])
    np.testing.assert_allclose(module.decode(group, places), [0.0, 0.2, -0.2, 0.1], atol=1e-6)
    with pytest.raises(SettingsError, match="an even number of groups, got 5"):
        Differences(GroupSettings(), 5)


def test_the_loss_of_comparisons():
    module = Differences(GroupSettings(), 4)
    logits, places, differences = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 4)), RNG.uniform(-1, 1, 6)
    terms = []
    for row, difference in enumerate(differences):
        group, place = encoded_by_hand(np.linspace(-1, 1, 5), difference)
        terms.append(-log_softmax(logits[row])[group] + (places[row, group] - place) ** 2)
    found = module.loss(*(torch.tensor(v, dtype=torch.float32) for v in (log_softmax(logits, -1), places, differences)))
    assert float(found) == pytest.approx(np.mean(terms), abs=1e-5)


def test_pairs():
    pairs = Pairs.of(make_batch([6, 9, 4]))
    assert pairs.query.tolist() == [0, 1, 1, 2, 2] and pairs.exemplar.tolist() == [0, 1, 2, 2, 0]
    np.testing.assert_allclose(pairs.votes, [[1, 0, 0, 0, 0], [0, 0.5, 0.5, 0, 0], [0, 0, 0, 0.5, 0.5]])


def test_equal_differences_fall_into_equal_groups():
    """Qualities of diving are multiples of a half, and scores are these times a difficulty: float32 has many values for one difference."""
    halves = RNG.integers(20, 60, 80)
    difficulty = RNG.choice([2.7, 2.9, 3.1, 3.3, 3.7], 80).astype(np.float32)
    scores01 = (halves / 2 * difficulty / 104.5).astype(np.float32)
    module = Differences(GroupSettings(divide="difficulty", edges="order"), 16)
    module.learn_groups(Training(scores01, difficulty[:, None]))
    quality = module.qualities.of(torch.from_numpy(scores01), torch.from_numpy(difficulty[:, None]))
    group, _ = module.encode((quality[:, None] - quality[None]).flatten())
    exact = np.subtract.outer(halves, halves).flatten()
    values = [set(group[torch.from_numpy(exact == one)].tolist()) for one in np.unique(exact)]
    assert all(len(one) == 1 for one in values) and len(set().union(*values)) > 8
    assert len(np.unique((quality[:, None] - quality[None]).numpy())) > 2 * len(np.unique(exact))


def test_the_published_defect():
    """A difference beyond the last edge counts as the lowest group, and has no place."""
    logs, places = torch.log(torch.full((2, 4), 0.25)), torch.zeros(2, 4)
    differences, inside = torch.tensor([0.75, 1.5]), torch.tensor([0.75])
    sensible, published = (
        Differences(GroupSettings(published_defects=defects), 4).loss(logs, places, differences)
        for defects in (False, True)
    )
    alone = Differences(GroupSettings(), 4).loss(logs[:1], places[:1], inside)
    assert float(published) == pytest.approx(np.log(4) + (float(alone) - np.log(4)) / 2)
    assert float(sensible) == pytest.approx(np.log(4) + (0.5**2 + 2.0**2) / 2)


def test_groups_that_overlap_as_published():
    """Where most differences are beyond the largest one that the settings allow, edges are not in order, and each group is sorted by itself."""
    targets, largest = RNG.uniform(0, 0.9, size=12), 0.3
    settings = GroupSettings(edges="order", place_weight="leaves", published_defects=True, score_range=largest)
    module = Differences(settings, 8)
    module.learn_groups(Training(targets))
    found = np.sort([abs(a - b) / largest for i, a in enumerate(targets) for b in targets[:i]])
    positive = [0.0, *(found[int(share / 4 * (len(found) - 1))] for share in (1, 2, 3)), 1.0]
    groups = [sorted(one) for one in zip(positive[:-1], positive[1:])]
    groups = [[-right, -left] for left, right in reversed(groups)] + groups
    assert groups[-1][1] > 1 and groups[-2][1] > groups[-1][0], "groups overlap"
    differences = RNG.uniform(-3, 3, size=40)
    logs, places = log_softmax(RNG.normal(size=(40, 8)), 1), RNG.normal(size=(40, 8))
    held = np.array([[low <= d < high if d >= 0 else low < d <= high for low, high in groups] for d in differences])
    assert held.sum(1).min() == 0 and held.sum(1).max() > 1
    expected = -np.mean(logs[np.arange(40), held.argmax(1)])
    for leaf, (left, right) in enumerate(groups):
        inside = (differences[held[:, leaf]] - left) / (right - left)
        expected += np.mean((places[held[:, leaf], leaf] - inside) ** 2) if len(inside) else 0.0
    loss = module.loss(*(torch.tensor(one, dtype=torch.float32) for one in (logs, places, differences)))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    leaves = logs.argmax(1)
    read = [groups[leaf][0] + (groups[leaf][1] - groups[leaf][0]) * row[leaf] for leaf, row in zip(leaves, places)]
    decoded = module.decode(torch.tensor(leaves), torch.tensor(places, dtype=torch.float32))
    np.testing.assert_allclose(decoded, read, atol=1e-5)
