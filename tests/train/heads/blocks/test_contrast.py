"""Groups of differences and pairs, against plain numpy."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from longtake.train.errors import SettingsError
from longtake.train.heads.blocks.contrast import ContrastSettings, Differences, Pairs
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


class Compared:
    """Training videos that may all be compared, without further scores."""

    def __init__(self, targets01):
        self.targets01, self.scores = targets01, np.zeros((len(targets01), 0), np.float32)

    def differences(self, values):
        return np.sort([abs(a - b) for i, a in enumerate(values) for b in values[:i]])


def test_groups_hold_as_many_training_pairs():
    targets = RNG.uniform(size=40) ** 2
    module = Differences(ContrastSettings(), 16)
    module.learn_groups(Compared(targets))
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
    module = Differences(ContrastSettings(), 16)
    module.learn_groups(Compared(np.repeat([0.2, 0.4], 10)))
    group, place = module.encode(torch.tensor([0.0, 0.2, -0.2, 0.1]))
    assert torch.isfinite(place).all()
    places = torch.zeros(4, 16).scatter(1, group[:, None], place[:, None])
    np.testing.assert_allclose(module.decode(group, places), [0.0, 0.2, -0.2, 0.1], atol=1e-6)
    with pytest.raises(SettingsError, match="an even number of groups, got 5"):
        Differences(ContrastSettings(), 5)


def test_the_loss_of_comparisons():
    module = Differences(ContrastSettings(), 4)
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
