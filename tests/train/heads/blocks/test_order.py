"""Finding parts from their order."""

import itertools

import numpy as np
import torch

from longtake.train.heads.blocks.order import Kinds, learn, recognise

KINDS = Kinds((3.0, 4.0, 8.0))


def performance(rng: np.random.Generator, order: list[int], dim: int = 6) -> tuple[torch.Tensor, np.ndarray]:
    """Clips of planted parts, of lengths that vary, and the kind of each clip."""
    means = np.eye(3, dim) * 3
    kinds = np.concatenate(
        [
            np.full(rng.integers(2, 5) if not kind else rng.integers(3, 6) * (kind + 1) // 2, kind)
            for kind in KINDS.around(order)
        ]
    )
    return torch.tensor(means[kinds] + rng.normal(size=(len(kinds), dim))), kinds


def test_parts_are_found_and_recognised_in_performances_whose_order_is_unknown():
    rng = np.random.default_rng(0)
    orders = [list(rng.permutation([1, 1, 2])) for _ in range(30)]
    videos, truth = zip(*(performance(rng, order) for order in orders))
    emission = learn(videos[:20], orders[:20], KINDS, 0.5, 10)
    frequency = torch.tensor([0.0, 2.0, 1.0], dtype=torch.float64)
    found = recognise([video @ emission.weight + emission.bias for video in videos[20:]], KINDS, frequency)
    right = np.concatenate([shares.argmax(1).numpy() == kinds for shares, kinds in zip(found, truth[20:])])
    assert right.mean() > 0.9
    for shares in found:
        torch.testing.assert_close(shares.sum(1), torch.ones(len(shares), dtype=torch.float64))


def test_orders_teach_and_wrong_ones_do_not():
    """Videos with one part each, of kind 1 or 2: exchanged, the kinds are found the other way round."""
    rng = np.random.default_rng(1)
    orders = [[1], [2]] * 10
    videos, truth = zip(*(performance(rng, order) for order in orders))
    for given, expected in (
        (orders, truth),
        ([[3 - kind] for (kind,) in orders], [np.where(kinds, 3 - kinds, 0) for kinds in truth]),
    ):
        emission = learn(videos, given, KINDS, 0.5, 10)
        found = recognise(
            [video @ emission.weight + emission.bias for video in videos], KINDS, torch.ones(3, dtype=torch.float64)
        )
        right = np.concatenate([shares.argmax(1).numpy() == kinds for shares, kinds in zip(found, expected)])
        assert right.mean() > 0.8


def test_probabilities_are_sums_over_all_sequences():
    """Against every sequence of states, one by one."""
    kinds = Kinds((1.5, 2.0))
    rng = np.random.default_rng(2)
    log_likely = torch.tensor(rng.normal(size=(6, 2)))
    (found,) = recognise([log_likely], kinds, torch.tensor([0.0, 1.0], dtype=torch.float64))
    # Kind 0 has one state; kind 1 has two, of which the second repeats.
    stay = kinds.stay.numpy()
    move = np.array([[stay[0], 1 - stay[0], 0], [0, 0, 1], [1 - stay[1], 0, stay[1]]])
    first, likely, of_state = np.array([1, 0.05, 0]), log_likely.exp().numpy(), np.array([0, 1, 1])
    total = np.zeros((6, 2))
    for states in itertools.product(range(3), repeat=6):
        chance = first[states[0]] * np.prod([move[a, b] for a, b in itertools.pairwise(states)])
        chance *= np.prod(likely[range(6), of_state[list(states)]])
        total[range(6), of_state[list(states)]] += chance
    np.testing.assert_allclose(found.numpy(), total / total.sum(1, keepdims=True), atol=1e-12)


def test_videos_of_a_list_do_not_change_each_other():
    rng = np.random.default_rng(3)
    videos = [torch.tensor(rng.normal(size=(length, 3))) for length in (5, 12, 30)]
    frequency = torch.ones(3, dtype=torch.float64)
    for together, video in zip(recognise(videos, KINDS, frequency), videos):
        torch.testing.assert_close(recognise([video], KINDS, frequency)[0], together)
