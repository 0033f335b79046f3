"""Small heads and batches, and checks that every head passes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from longtake.train.engine.losses import total_loss
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import DataError
from longtake.train.heads import TABLE, get_head
from longtake.train.heads.base import Batch, Head, Prototypes
from longtake.train.heads.plugin import PLUGINS, Plugin
from longtake.train.metrics import spearman

DIM, AUDIO_DIM = 12, 10
STREAM_DIMS = {"flow": 9}


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
    small = {
        "rows": 10,
        "thin": 5,
        "orthogonal": 8,
        "hidden": 32,
        "feed_forward": 32,
        **dict.fromkeys(("feature_dropout", "base_dropout", "head_dropout"), 0.0),
        **small,
    }
    # Of three judges, the middle one times the first score.
    small = {"judges": "b,c,d", "drop": 1, "times": "a", "times_maximum": 3.0, "score_maximum": 10.0, **small}
    torch.manual_seed(0)
    chosen = head_class.Settings(**{key: value for key, value in small.items() if key in known})
    return head_class(DIM, chosen, PROTOTYPES, AUDIO_DIM, STREAM_DIMS)


def make_batch(lengths: list[int], seed: int = 0, compared: bool = True) -> Batch:
    rng = np.random.default_rng(seed)
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    clips = torch.tensor(rng.normal(size=(*mask.shape, DIM)), dtype=torch.float32) * mask[..., None]
    target = torch.tensor(rng.uniform(size=len(lengths)), dtype=torch.float32)
    audio = torch.tensor(rng.normal(size=(*mask.shape, AUDIO_DIM)), dtype=torch.float32) * mask[..., None]
    streams = {
        name: torch.tensor(rng.normal(size=(*mask.shape, dim)), dtype=torch.float32) * mask[..., None]
        for name, dim in STREAM_DIMS.items()
    }
    starts = torch.arange(mask.shape[1], dtype=torch.float32)[None].expand(mask.shape)
    seconds = torch.stack([starts, starts + 1], -1) * mask[..., None]
    shares = torch.tensor(np.sort(rng.uniform(0.2, 0.8, size=(len(lengths), 2)), 1), dtype=torch.float32)
    scores = np.concatenate([rng.uniform(1, 3, (len(lengths), 1)), rng.integers(0, 21, (len(lengths), 3)) / 2], 1)
    made = Batch(
        clips, mask, target, tuple(range(len(lengths))), audio, streams, seconds=seconds,
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
        audio=pad(batch.audio, (0, 0, 0, missing)),
        streams={name: pad(values, (0, 0, 0, missing)) for name, values in batch.streams.items()}, seconds=pad(batch.seconds, (0, 0, 0, missing)),
    )  # fmt: skip
    return padded if batch.exemplar is None else replace(padded, exemplar=pad_to(batch.exemplar, num_clips + 1))


def check_that_padding_changes_nothing(head: Head) -> None:
    batch = make_batch([6, 9, 4])
    with torch.no_grad():
        scores = head(batch).score01
        # Also so much that a weight which falls with the distance from the clips becomes 0.
        for num_clips in (15, 400):
            np.testing.assert_allclose(head(pad_to(batch, num_clips)).score01, scores, atol=1e-6)
        for row, length in enumerate([6, 9, 4]):
            one = slice(row, row + 1)
            cut = (one, slice(length))
            alone = Batch(
                batch.clips[cut], batch.mask[cut], batch.target01[one], (0,), batch.audio[cut],
                {name: values[cut] for name, values in batch.streams.items()}, seconds=batch.seconds[cut],
                boundaries=batch.boundaries[one], terms=batch.terms[one], scores=batch.scores[one], exemplar=batch.exemplar,
                voters=batch.voters[one],
            )  # fmt: skip
            np.testing.assert_allclose(head(alone).score01, scores[row : row + 1], atol=1e-6)


def check_outputs(head: Head) -> None:
    """Shapes and ranges, in training and in evaluation; losses of its own in training only."""
    batch = make_batch([6, 9, 4])
    for training in (False,) if head.closed_form else (True, False):
        output = head.train(training)(batch)
        assert output.score01.shape == (3,) and output.score01.dtype == torch.float32
        assert all(pattern.dim() == 3 for pattern in output.patterns)
        assert all(logits.shape[-1] == logits.shape[-2] for logits in output.logits)
        for weights in output.weights.values():
            torch.testing.assert_close(weights.sum(-1), torch.ones(3))
        assert output.boundaries is None or output.boundaries.shape == (3, 2)
        assert all(loss.shape == () for loss in output.losses.values())
        assert training or not output.losses


def check_saved(head: Head, again: Head) -> None:
    """Weights and buffers are all that a head has learnt; `again` is a second one of the same settings."""
    again.load_state_dict(head.state_dict())
    batch = make_batch([6, 9, 4])
    with torch.no_grad():
        assert torch.equal(head.eval()(batch).score01, again.eval()(batch).score01)


def check_abilities(head: Head, other: Head) -> None:
    """What the class states is true. `other` is of the same settings, with other weights."""
    batch = make_batch([6, 9, 4])
    assert head.closed_form == (not list(head.parameters()))
    if not head.closed_form:
        with pytest.raises(NotImplementedError):
            head.fit_closed_form([batch])
    if head.sees_means:
        mean = (batch.clips * batch.mask[..., None]).sum(1, keepdim=True) / batch.mask.sum(1)[:, None, None]
        whole = torch.ones(3, 1, dtype=torch.bool)
        torch.testing.assert_close(head(replace(batch, clips=mean, mask=whole)).score01, head(batch).score01)
    if head.batch_needs.exemplars is not None:
        with pytest.raises(DataError, match="the batch has none"):
            head(replace(batch, exemplar=None, voters=None))
    if head.stacks:
        batch = batch if head.stacks_padded else make_batch([7, 7, 7])
        parameters, buffers = stack_module_state([head, other])

        def scores(parameters: dict[str, torch.Tensor], buffers: dict[str, torch.Tensor]) -> torch.Tensor:
            return functional_call(head, (parameters, buffers), (batch,)).score01

        alone = torch.stack([one(batch).score01 for one in (head, other)])
        torch.testing.assert_close(vmap(scores)(parameters, buffers), alone)
    assert head.stacks or not head.stacks_padded


def arrays_of(module: nn.Module) -> dict[str, np.ndarray]:
    """float64: the weights and buffers of a module by name."""
    return {name: value.detach().numpy().astype(float) for name, value in module.state_dict().items()}


def layer_norm(values: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    centred = values - values.mean(-1, keepdims=True)
    return centred / np.sqrt(values.var(-1, keepdims=True) + 1e-5) * weight + bias


def by_gradient() -> list[str]:
    return [name for name in TABLE if not get_head(name).closed_form]


def plugins() -> list[Plugin]:
    """Each kind once."""
    return list({one.kind: one for variants in PLUGINS.values() for one in variants}.values())


def planted_batch(count: int, seed: int) -> Batch:
    """Videos whose quality, their target, moves clips, sound and flow along one direction; other directions move each video as they like."""
    made = make_batch([8] * count, seed, compared=False)
    rng = np.random.default_rng(seed)
    quality = made.target01[:, None, None]

    def planted(values: torch.Tensor) -> torch.Tensor:
        own = torch.tensor(rng.normal(size=(count, 1, values.shape[-1])), dtype=torch.float32)
        own[..., :2] = 0
        says = torch.zeros(values.shape[-1])
        says[:2] = 1
        return values + own + (6 * quality - 3) * says

    judges = 10 * made.target01[:, None].expand(-1, 3)
    scores = torch.cat([torch.ones(count, 1), judges], 1)
    assert made.audio is not None
    streams = {name: planted(values) for name, values in made.streams.items()}
    return replace(made, clips=planted(made.clips), audio=planted(made.audio), streams=streams, scores=scores)


def learnt(name: str, shuffle: int | None = None, steps: int = 60) -> float:
    """Rank correlation on new videos of a head that is trained on planted ones; with `shuffle`, a seed, on the targets of others."""
    training, tested, others = planted_batch(48, 1), planted_batch(64, 2), planted_batch(12, 3)
    if shuffle is not None:
        generator = torch.Generator().manual_seed(shuffle)
        training, others = (
            replace(one, target01=one.target01[order], scores=one.scores[order])
            for one in (training, others)
            for order in [torch.randperm(len(one.mask), generator=generator)]
        )
    pairs = {"exemplar": others, "voters": torch.arange(48)[:, None] % 12}
    asked = {"exemplar": others, "voters": torch.arange(12).expand(64, -1)}
    head = make_head(name, clips=8)
    if head.closed_form:
        head.fit_closed_form([training])
    else:
        optimizer, settings = torch.optim.Adam(head.parameters(), lr=3e-3), TrainSettings(triplet_weight=0.1)
        head.train()
        for _ in range(steps):
            batch = replace(training, **pairs)
            loss, _ = total_loss(head(batch), batch.target01, settings)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        scores = head.eval()(replace(tested, **asked)).score01
    return spearman(tested.target01.numpy(), scores.numpy())
