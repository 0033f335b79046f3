"""What every head of the table must do; a new head gets these tests by being in the table."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from longtake.manifests.card import find_card
from longtake.train.engine.losses import LossWeights, total_loss
from longtake.train.errors import DataError
from longtake.train.heads import TABLE, get_head
from longtake.train.heads.base import Batch, Head, HeadOutput, Prototypes
from longtake.train.heads.plugin import PLUGINS, Plugin
from longtake.train.metrics import spearman
from longtake.train.runs.import_checkpoint import describe_heads

DIM, AUDIO_DIM = 12, 10
RNG = np.random.default_rng(0)
COUNTS = {
    "grades": 4, "scores": 11, "visual_actions": 5, "audio_actions": 6, "audio_visual_grades": 4, "visual_grades": 3,
    "stages": 6, "videos": 5,
}  # fmt: skip
PROTOTYPES = Prototypes({name: RNG.normal(size=(n, 16)).astype(np.float32) for name, n in COUNTS.items()}, True)


def make_head(name: str, **settings: object) -> Head:
    head_class = get_head(name)
    known = head_class.Settings.__dataclass_fields__
    small = {"width": 16, "dropout": 0.0, **({"heads": 2} if "heads" in known else {}), **settings}
    # Of three judges, the middle one times the first score.
    small = {"judges": "b,c,d", "drop": 1, "times": "a", "times_maximum": 3.0, "score_maximum": 10.0, **small}
    torch.manual_seed(0)
    chosen = head_class.Settings(**{key: value for key, value in small.items() if key in known})
    return head_class(DIM, chosen, PROTOTYPES, AUDIO_DIM)


def make_batch(lengths: list[int], seed: int = 0, compared: bool = True) -> Batch:
    rng = np.random.default_rng(seed)
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    clips = torch.tensor(rng.normal(size=(*mask.shape, DIM)), dtype=torch.float32) * mask[..., None]
    target = torch.tensor(rng.uniform(size=len(lengths)), dtype=torch.float32)
    audio = torch.tensor(rng.normal(size=(*mask.shape, AUDIO_DIM)), dtype=torch.float32) * mask[..., None]
    starts = torch.arange(mask.shape[1], dtype=torch.float32)[None].expand(mask.shape)
    seconds = torch.stack([starts, starts + 1], -1) * mask[..., None]
    shares = torch.tensor(np.sort(rng.uniform(0.2, 0.8, size=(len(lengths), 2)), 1), dtype=torch.float32)
    scores = np.concatenate([rng.uniform(1, 3, (len(lengths), 1)), rng.integers(0, 21, (len(lengths), 3)) / 2], 1)
    made = Batch(
        clips, mask, target, tuple(range(len(lengths))), audio, seconds=seconds,
        boundaries=shares * torch.tensor(lengths)[:, None], scores=torch.tensor(scores, dtype=torch.float32),
        terms=torch.tensor(rng.integers(0, 4, size=(len(lengths), 4))),
    )  # fmt: skip
    if not compared:
        return made
    # Every video with two of three training videos, the first with one.
    exemplar = make_batch([7, 4, 8], seed + 100, compared=False)
    voters = torch.tensor([[row % 3, (row + 1) % 3 if row else -1] for row in range(len(lengths))])
    return replace(made, exemplar=exemplar, voters=voters)


def ready(head: Head) -> Head:
    """Fitted, or with running statistics that are not those of a new batch norm; in evaluation mode."""
    batch = make_batch([9, 7, 5, 8], seed=1)
    if head.closed_form:
        head.fit_closed_form([batch])
    else:
        head.train()(batch)
    return head.eval()


def pad_to(batch: Batch, num_clips: int) -> Batch:
    missing = num_clips - batch.clips.shape[1]
    pad = torch.nn.functional.pad
    padded = replace(
        batch, clips=pad(batch.clips, (0, 0, 0, missing)), mask=pad(batch.mask, (0, missing)),
        audio=pad(batch.audio, (0, 0, 0, missing)), seconds=pad(batch.seconds, (0, 0, 0, missing)),
    )  # fmt: skip
    return padded if batch.exemplar is None else replace(padded, exemplar=pad_to(batch.exemplar, num_clips + 1))


def check_that_padding_changes_nothing(head: Head) -> None:
    batch = make_batch([6, 9, 4])
    with torch.no_grad():
        scores = head(batch).score01
        np.testing.assert_allclose(head(pad_to(batch, 15)).score01, scores, atol=1e-6)
        for row, length in enumerate([6, 9, 4]):
            one = slice(row, row + 1)
            cut = (one, slice(length))
            alone = Batch(
                batch.clips[cut], batch.mask[cut], batch.target01[one], (0,), batch.audio[cut], seconds=batch.seconds[cut],
                boundaries=batch.boundaries[one], terms=batch.terms[one], scores=batch.scores[one], exemplar=batch.exemplar,
                voters=batch.voters[one],
            )  # fmt: skip
            np.testing.assert_allclose(head(alone).score01, scores[row : row + 1], atol=1e-6)


@pytest.mark.parametrize("name", TABLE)
def test_padding_changes_nothing(name):
    check_that_padding_changes_nothing(ready(make_head(name)))


class Unmasked(Head):
    def forward(self, batch: Batch) -> HeadOutput:
        return HeadOutput(batch.clips.mean(dim=(1, 2)))


def test_that_the_padding_check_can_fail():
    with pytest.raises(AssertionError):
        check_that_padding_changes_nothing(Unmasked(DIM, None))


@pytest.mark.parametrize("name", [name for name in TABLE if hasattr(get_head(name).Settings, "mask")])
def test_without_a_mask_padding_matters(name):
    """The published behaviour, for those who ask for it."""
    with pytest.raises(AssertionError):
        check_that_padding_changes_nothing(ready(make_head(name, mask=False)))


def by_gradient() -> list[str]:
    return [name for name in TABLE if not get_head(name).closed_form]


@pytest.mark.parametrize("name", by_gradient())
def test_gradient_reaches_every_parameter(name):
    head = make_head(name).train()
    batch = make_batch([9, 7, 5, 8])
    loss, _ = total_loss(head(batch), batch.target01, LossWeights())
    loss.backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


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


@pytest.mark.parametrize("name", TABLE)
def test_scores_are_the_same_twice(name):
    head = ready(make_head(name, dropout=0.5))
    batch = make_batch([6, 9, 4])
    with torch.no_grad():
        assert torch.equal(head(batch).score01, head(batch).score01)


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
    loss, _ = total_loss(head.train()(batch), batch.target01, LossWeights())
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
    loss, _ = total_loss(head(batch), batch.target01, LossWeights())
    loss.backward()
    reached = {name for name, p in head.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    silent = {name for name, _ in head.named_parameters()} - reached
    # What lies before a layer that starts at zero moves one step later than that layer does.
    assert all(".self_attn.in_proj" in name or ".linear1." in name for name in silent), silent
    with pytest.raises(DataError, match="clips of 12 and queries of 16"):
        make_head("gslm", one_space=True)


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
    silent = {row["head"]: row for row in describe_heads(find_card("demo"))}
    assert silent["avcf"]["parameters"] is None and "no texts" in silent["avcf"]["about"]


def test_ridge_survives_what_training_never_showed():
    """A value that was constant in all training videos, as dead units of a network are, moves in the test."""
    head = make_head("ridge")
    teaching = make_batch([9, 7, 5, 8, 6, 7], seed=1)
    teaching.clips[..., 0] = 0.1
    head.fit_closed_form([teaching])
    moved = make_batch([6, 9, 4])
    moved.clips[..., 0] = 0.1
    before = head(moved).score01
    moved.clips[..., 0] = 0.12
    np.testing.assert_allclose(head(moved).score01, before, atol=1e-3)


def plugins() -> list[Plugin]:
    """Each kind once."""
    return list({one.kind: one for variants in PLUGINS.values() for one in variants}.values())


@pytest.mark.parametrize("plugin", plugins(), ids=lambda plugin: plugin.kind.__name__)
@pytest.mark.parametrize("name", ["usdl", "musdl", "core", "tpt", "tsa", "i3d-mlp"])
def test_plugins_before_the_hosts_of_mvla(name, plugin):
    """Both sides of a comparison are informed, padding stays hidden, and everything learns."""
    torch.manual_seed(0)
    texts = {group: torch.randn(4, 16) for group in plugin.groups}
    known = plugin.kind.Settings.__dataclass_fields__
    small = {key: value for key, value in {"width": 16, "heads": 2, "dropout": 0.0}.items() if key in known}
    head = plugin.build(make_head(name), DIM, texts, AUDIO_DIM, plugin.kind.Settings(**small))
    check_that_padding_changes_nothing(ready(head))
    batch = make_batch([9, 7, 5, 8])
    loss, _ = total_loss(head.train()(batch), batch.target01, LossWeights())
    loss.backward()
    silent = [n for n, p in head.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent, silent
    if head.batch_needs.exemplars:
        seen = []
        inner = head.host.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
        head.eval()(batch)
        inner.remove()
        assert not torch.equal(seen[0].exemplar.clips, batch.exemplar.clips)
