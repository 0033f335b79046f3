"""The width of features without weights."""

from __future__ import annotations

import pytest
import torch

from longtake.extract.backbones.dry_run import feature_dim
from longtake.extract.errors import ExtractError


def run(network: torch.nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    return network(pictures.flatten(1))


def test_the_width_is_found_with_and_without_memory() -> None:
    assert feature_dim("x", lambda: torch.nn.Linear(12, 5), run, (1, 3, 2, 2)) == 5

    def reads_values() -> torch.nn.Module:
        layer = torch.nn.Linear(12, 7)
        float(layer.weight[0, 0])  # impossible without memory
        return layer

    before = torch.random.get_rng_state()
    assert feature_dim("x", reads_values, run, (1, 3, 2, 2)) == 7
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_gives_no_vector_is_refused() -> None:
    with pytest.raises(ExtractError, match=r"its output has the shape \(1, 3, 2, 2\)"):
        feature_dim("x", torch.nn.Identity, lambda network, pictures: network(pictures), (1, 3, 2, 2))
    with pytest.raises(ExtractError, match="it does not run on an input"):
        feature_dim("x", lambda: torch.nn.Linear(3, 3), run, (1, 3, 2, 2))
