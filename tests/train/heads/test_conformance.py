"""What every head of the table must do; a new head gets these tests by being in the table."""

import numpy as np
import pytest
import torch
from torch import nn

from longtake.manifests import table
from longtake.manifests.card import find_card
from longtake.train.engine.losses import total_loss
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import DataError
from longtake.train.heads import TABLE, base, get_head
from longtake.train.heads.base import Batch, Head, HeadOutput, Prototypes
from longtake.train.runs.listing import describe_heads
from tests.train.heads.kit import (
    AUDIO_DIM,
    DIM,
    PROTOTYPES,
    STREAM_DIMS,
    by_gradient,
    check_abilities,
    check_outputs,
    check_saved,
    check_that_padding_changes_nothing,
    learnt,
    make_batch,
    make_head,
    ready,
)


@pytest.mark.parametrize("name", TABLE)
def test_it_states_the_interface(name):
    head_class = get_head(name)
    assert (
        issubclass(head_class, Head)
        and head_class.__doc__
        and "forward" in vars(head_class) | vars(head_class.__base__)
    )
    assert head_class.Settings.__dataclass_params__.frozen and head_class.Settings() == head_class.Settings()
    head = make_head(name)
    needs = head.batch_needs
    assert needs == head_class.needs(head.settings) and not needs.sees_padding
    buffers = {name.removesuffix("_texts") for name, _ in head.named_buffers() if name.endswith("_texts")}
    assert buffers == set(needs.texts)


@pytest.mark.parametrize("name", TABLE)
def test_outputs(name):
    check_outputs(ready(make_head(name)))


@pytest.mark.parametrize("name", TABLE)
def test_a_saved_head_is_the_same(name):
    check_saved(ready(make_head(name)), make_head(name))


@pytest.mark.parametrize("name", TABLE)
def test_stated_abilities_are_true(name):
    torch.manual_seed(1)
    other = get_head(name)(DIM, make_head(name).settings, PROTOTYPES, AUDIO_DIM, STREAM_DIMS)
    check_abilities(ready(make_head(name)), other.eval())


def test_a_head_without_its_texts_is_refused():
    with pytest.raises(DataError, match="needs the texts 'scores', got grades"):
        get_head("gslm")(DIM, get_head("gslm").Settings(), Prototypes({"grades": PROTOTYPES.texts["grades"]}, True))


def test_scores_are_named_as_in_manifests():
    assert base.SCORE_PREFIX == table.SCORE_PREFIX


@pytest.mark.parametrize("name", TABLE)
def test_padding_changes_nothing(name):
    check_that_padding_changes_nothing(ready(make_head(name)))


class Unmasked(Head):
    def forward(self, batch: Batch) -> HeadOutput:
        return HeadOutput(batch.clips.mean(dim=(1, 2)))


def test_that_the_padding_check_can_fail():
    with pytest.raises(AssertionError):
        check_that_padding_changes_nothing(Unmasked(DIM, None))


@pytest.mark.parametrize("name", [name for name in TABLE if "mask" in get_head(name).Settings.__dataclass_fields__])
def test_without_a_mask_padding_matters(name):
    """The published behaviour, for those who ask for it."""
    head = ready(make_head(name, mask=False))
    assert head.batch_needs.sees_padding
    with pytest.raises(AssertionError):
        check_that_padding_changes_nothing(head)


SHIFTS = {"action-net": ("dynamic.att.2.bias", "static.att.2.bias"), "qtd": ("weight.4.bias",)}
SHIFTS |= {"pamfn": ("blocks.0.conv.0.weight", "blocks.0.short_cut.0.weight")}
SHIFTS |= {"tsa-net": ("attention.value.weight", "attention.value.bias", "attention.out.weight", "attention.out.bias")}
"""Published parameters that read zeros, learn after the first step only, or shift all logits of a softmax alike, which changes nothing: their gradient is zero but for rounding."""


@pytest.mark.parametrize("name", by_gradient())
def test_gradient_reaches_every_parameter(name):
    head = make_head(name).train()
    batch = make_batch([9, 7, 5, 8])
    loss, _ = total_loss(head(batch), batch.target01, TrainSettings())
    loss.backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().sum() > 0 or parameter_name in SHIFTS.get(name, ()), parameter_name


@pytest.mark.parametrize("name", by_gradient())
def test_a_batch_of_eight_is_over_fitted(name):
    head = make_head(name).train()
    batch = make_batch([10] * 8)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    for _ in range(400):
        output = head(batch)
        error = nn.functional.mse_loss(output.score01, batch.target01)
        optimizer.zero_grad()
        # Which group a difference is in can only be learnt by the head's own loss.
        (error + output.losses.get("comparison", 0.0)).backward()
        optimizer.step()
        if float(error.detach()) < 1e-3:
            return
    raise AssertionError(f"mean squared error still {float(error.detach()):.4f}")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TABLE if name != "metadata"])
def test_quality_is_found_and_shuffled_targets_give_nothing(name):
    """Of all heads but the one that sees no video. One shuffle of 48 videos can rank by chance, the mean of three much less."""
    assert learnt(name) > 0.5
    assert abs(np.mean([learnt(name, shuffle) for shuffle in range(3)])) < 0.5


@pytest.mark.parametrize("name", TABLE)
def test_scores_are_the_same_twice(name):
    head = ready(make_head(name, dropout=0.5))
    batch = make_batch([6, 9, 4])
    with torch.no_grad():
        assert torch.equal(head(batch).score01, head(batch).score01)


def test_parameters_and_operations():
    rows = {row["head"]: row for row in describe_heads(find_card("rg"), 1024)}
    counts = {name: row["parameters"] for name, row in rows.items()}
    assert counts["gdlt"] == 3_163_396
    assert counts["gslm"] == 10_831_466
    assert counts["ridge"] == 0
    # The published MLAVL code, for features of Video Swin and for others.
    assert counts["avcf"] == 6_987_155
    assert {row["head"]: row["parameters"] for row in describe_heads(find_card("rg"), 768)}["avcf"] == 6_724_627
    # At least two operations for every weight of the projection and every clip of the window.
    assert rows["gdlt"]["flops_per_video"] > 2 * 68 * (1024 * 512 + 512 * 256)
    assert rows["avcf"]["flops_per_video"] > rows["pgt"]["flops_per_video"] > rows["gdlt"]["flops_per_video"]
    # An LSTM's products of its inputs and of its states: torch counts them only where they are not one operation.
    assert rows["c3d-lstm"]["flops_per_video"] >= 2 * 68 * 4 * 256 * (1024 + 256)
    silent = {row["head"]: row for row in describe_heads(find_card("demo"))}
    assert silent["avcf"]["parameters"] is None and "no texts" in silent["avcf"]["about"]
