"""The probe reads rows of several tokens and layers."""

from __future__ import annotations

import pytest
import torch

from longtake.train.errors import DataError
from longtake.train.heads.base import Batch
from longtake.train.heads.probe import Probe, ProbeSettings


def batch_of(rows: torch.Tensor, target: torch.Tensor) -> Batch:
    return Batch(rows, torch.ones(rows.shape[:2], dtype=torch.bool), target, tuple(range(len(rows))))


def planted(seed: int) -> Batch:
    """32 videos of 6 clips of 2 layers of 9 tokens: one token of one layer, at a place that differs from clip to clip, shows the quality."""
    generator = torch.Generator().manual_seed(seed)
    quality = torch.rand(64, generator=generator)
    rows = torch.randn(64, 6, 2, 9, 8, generator=generator)
    place = torch.randint(0, 9, (64, 6), generator=generator)
    marked = torch.zeros(64, 6, 9).scatter_(2, place[..., None], 1.0)[..., None]
    shown = torch.cat(
        [torch.full((64, 6, 1), 8.0), 8 * quality[:, None, None].expand(-1, 6, 1), torch.zeros(64, 6, 6)], -1
    )[:, :, None]
    rows[:, :, 1] = rows[:, :, 1] * (1 - marked) + shown * marked
    return batch_of(rows.flatten(2), quality)


def correlation(head: Probe, batch: Batch) -> float:
    with torch.no_grad():
        return float(torch.corrcoef(torch.stack([head.eval()(batch).score01, batch.target01]))[0, 1])


def trained(settings: ProbeSettings, training: Batch) -> Probe:
    torch.manual_seed(0)
    head = Probe(training.clips.shape[-1], settings)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(head.train()(training).score01, training.target01).backward()
        optimizer.step()
    return head


def test_attention_keeps_what_a_mean_over_tokens_loses() -> None:
    training, test = planted(0), planted(1)

    def mean(batch: Batch) -> Batch:
        return batch_of(batch.clips.view(64, 6, 18, 8).mean(2), batch.target01)

    attends = correlation(trained(ProbeSettings(tokens=9, layers=2, width=16, dropout=0), training), test)
    averaged = correlation(trained(ProbeSettings(width=16, dropout=0), mean(training)), mean(test))
    assert attends > 0.8 and attends > averaged + 0.05


def test_rows_that_do_not_divide_are_refused() -> None:
    with pytest.raises(DataError, match="clips of 20 values are not 1 layers of 9 tokens: --set tokens=N"):
        Probe(20, ProbeSettings(tokens=9))


def test_layers_are_weighed() -> None:
    torch.manual_seed(0)
    head = Probe(48, ProbeSettings(tokens=2, layers=3, width=16))
    rows = torch.randn(1, 2, 3, 2, 8)
    assert head.layer_weights is not None
    with torch.no_grad():
        head.layer_weights.copy_(torch.tensor([-50.0, 50.0, -50.0]))
        score = head.eval()(batch_of(rows.flatten(2), torch.zeros(1))).score01
        rows[:, :, 0] += 9
        assert torch.allclose(head(batch_of(rows.flatten(2), torch.zeros(1))).score01, score, atol=1e-6)
        rows[:, :, 1] *= -1
        assert not torch.allclose(head(batch_of(rows.flatten(2), torch.zeros(1))).score01, score, atol=1e-4)
