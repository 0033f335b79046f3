"""MAG2, against an explicit graph."""

import numpy as np
import pytest
import torch

from longtake.train.heads.blocks.action_graph import MAG2
from tests.train.heads.kit import arrays_of

RNG = np.random.default_rng(3)
T, M, WIDTH = 7, 4, 8


def adjacency(num_clips):
    """All ordered pairs of clips, all of actions, and every action to every clip: row i lists the neighbours of node i."""
    edges = np.zeros((num_clips + M, num_clips + M))
    edges[:num_clips, :num_clips] = 1
    edges[num_clips:, num_clips:] = 1
    edges[:num_clips, num_clips:] = 1
    np.fill_diagonal(edges, 0)
    return edges


@pytest.mark.parametrize("num_clips", [1, 2, T])
def test_mag2_as_graphsage_over_an_edge_list(num_clips):
    torch.manual_seed(0)
    module = MAG2(WIDTH, "sage", 0.0).eval()
    clips, actions = RNG.normal(size=(3, num_clips, WIDTH)), RNG.normal(size=(M, WIDTH))
    mask = torch.ones(3, num_clips, dtype=torch.bool)
    with torch.no_grad():
        found = module(torch.tensor(clips).float(), mask, torch.tensor(actions).float()).numpy()
    w = arrays_of(module)
    edges = adjacency(num_clips)
    mean = edges / edges.sum(1, keepdims=True)
    for video in range(3):
        nodes = np.concatenate([clips[video], actions])
        for layer in range(2):
            name = f"layers.{layer}."
            nodes = (
                mean @ nodes @ w[name + "neighbours.weight"].T
                + w[name + "neighbours.bias"]
                + nodes @ w[name + "own.weight"].T
            )
            nodes = np.maximum(nodes, 0) if layer == 0 else nodes
        np.testing.assert_allclose(found[video], nodes[:num_clips], atol=1e-5)


def test_mag2_as_equations_8_and_9():
    torch.manual_seed(0)
    module = MAG2(WIDTH, "gcn", 0.0).eval()
    clips, actions = RNG.normal(size=(2, T, WIDTH)), RNG.normal(size=(M, WIDTH))
    with torch.no_grad():
        found = module(torch.tensor(clips).float(), torch.ones(2, T, dtype=torch.bool), torch.tensor(actions).float())
    w = arrays_of(module)

    def complete(count):
        return np.eye(count) + (1 - np.eye(count)) / (count - 1)

    for video in range(2):
        h_v, h_act = clips[video], actions
        for layer in range(2):
            new_v = (
                complete(T) @ h_v @ w[f"temporal.{layer}.weight"].T
                + np.full((T, M), 1 / M) @ h_act @ w[f"cross.{layer}.weight"].T
            )
            if layer == 0:
                h_act = np.maximum(complete(M) @ h_act @ w["action.0.weight"].T, 0)
            h_v = np.maximum(new_v, 0)
        np.testing.assert_allclose(found[video], h_v, atol=1e-5)
