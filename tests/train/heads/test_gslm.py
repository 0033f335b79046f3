"""The head `gslm`: the switches of its paper, and its start in the space of the texts."""

import numpy as np
import pytest
import torch

from longtake.train.engine.losses import total_loss
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import DataError
from longtake.train.heads import get_head
from longtake.train.heads.base import Batch, Head, Prototypes
from longtake.train.heads.gslm import grade_of_score
from longtake.train.metrics import spearman
from tests.train.heads.kit import check_that_padding_changes_nothing, make_batch, make_head, ready

QGVL_SWITCHES = [
    {"encoder_layers": 0}, {"queries": "learnable"}, {"queries": "positional"}, {"score_level": False}, {"native": True},
    {"audio": True}, {"queries": "learnable", "score_level": False, "encoder_layers": 0},
    {"queries": "learnable", "grades": 2, "scores": 11}, {"queries": "learnable", "grades": 6, "scores": 51},
]  # fmt: skip
"""Rows of QGVL's Tables VI to X."""


@pytest.mark.parametrize("switches", QGVL_SWITCHES, ids=str)
def test_every_row_of_qgvls_ablation_can_be_trained(switches):
    head = make_head("gslm", **switches)
    check_that_padding_changes_nothing(ready(head))
    batch = make_batch([9, 7, 5, 8])
    loss, _ = total_loss(head.train()(batch), batch.target01, TrainSettings())
    loss.backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, parameter_name


def test_what_the_switches_of_gslm_switch():
    batch = make_batch([9, 7, 5, 8])
    outputs = {}
    for switches in ({}, *QGVL_SWITCHES):
        with torch.no_grad():
            outputs[str(switches)] = ready(make_head("gslm", **switches))(batch)
    whole = outputs["{}"]
    assert len(whole.patterns) == 2 and len(whole.logits) == 2
    for switches, output in outputs.items():
        assert switches == "{}" or not torch.allclose(output.score01, whole.score01), switches
        assert not ("queries" in switches and output.logits)
    assert outputs["{'queries': 'learnable', 'grades': 6, 'scores': 51}"].patterns[1].shape[1] == 51
    assert set(outputs["{'score_level': False}"].weights) == {"grades"}


def test_one_space_ranks_before_it_is_trained():
    """Clips near the text of their score: a head that starts in the space of both needs no training to see it, and all of it can be trained."""
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 3)))[0].T

    def text(quality: np.ndarray) -> np.ndarray:
        angle = np.pi * np.asarray(quality)[..., None]
        return 10 * (axes[2] + np.cos(angle) * axes[0] + np.sin(angle) * axes[1]).astype(np.float32)

    def head_of(order: slice) -> Head:
        groups = {
            "grades": text(np.linspace(0, 1, 4))[order].copy(),
            "scores": text(np.linspace(0, 1, 11))[order].copy(),
        }
        return get_head("gslm")(16, get_head("gslm").Settings(one_space=True), Prototypes(groups, True))

    quality = np.random.default_rng(1).uniform(size=(40, 1))
    clips = torch.from_numpy(text(quality.repeat(9, 1)))
    batch = Batch(clips, torch.ones(40, 9, dtype=torch.bool), torch.rand(40), tuple(range(40)))
    for order, sign in ((slice(None), 1), (slice(None, None, -1), -1)):
        with torch.no_grad():
            score01 = head_of(order).eval()(batch).score01
        assert spearman(quality[:, 0], score01.numpy()) * sign > 0.9
    head = head_of(slice(None)).train()
    loss, _ = total_loss(head(batch), batch.target01, TrainSettings())
    loss.backward()
    reached = {name for name, p in head.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    silent = {name for name, _ in head.named_parameters()} - reached
    # What precedes a layer that starts at zero moves one step later than that layer does.
    assert all(".self_attn.in_proj" in name or ".linear1." in name for name in silent), silent
    with pytest.raises(DataError, match="clips of 12 and queries of 16"):
        make_head("gslm", one_space=True)


def test_groups_of_scores():
    groups = grade_of_score(4, 101).tolist()
    assert [groups.index(g) for g in range(4)] == [0, 25, 50, 75] and groups[100] == 3
