"""Numbers of the published implementations of baselines: how tests read them, and the user's road to them."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord
from longtake.train.cli import main
from longtake.train.heads.base import Batch, Head
from longtake.train.runs.evaluate import evaluate_run
from tests.calls import invoke


def numbers_of(shared: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(shared / "golden" / "baselines" / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def tensors(numbers: Mapping[str, np.ndarray], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): torch.from_numpy(v) for key, v in numbers.items() if key.startswith(prefix)}


def norms(head: Head, numbers: Mapping[str, np.ndarray], prefix: str = "grad_norm/") -> dict[str, torch.Tensor]:
    """Norms of gradients by our names."""
    weights, found = tensors(numbers, "weight/"), tensors(numbers, prefix)
    return {name: norm for key, norm in found.items() for name in head.from_published({key: weights[key]})}


def load(head: Head, state: Mapping[str, torch.Tensor]) -> Head:
    head.load_state_dict(head.from_published(state))
    return head


def batch_of(clips: np.ndarray, target01: np.ndarray, lengths: Sequence[int] = (), **more: object) -> Batch:
    """Whole videos, or those of these lengths."""
    features = torch.from_numpy(np.asarray(clips, np.float32))
    ends = torch.tensor(list(lengths) or [features.shape[1]] * len(features))
    mask = torch.arange(features.shape[1])[None] < ends[:, None]
    rows = tuple(range(len(features)))
    return Batch(features, mask, torch.from_numpy(np.asarray(target01, np.float32)), rows, **more)


def check_gradients(module: nn.Module, expected: Mapping[str, torch.Tensor]) -> None:
    """Norms of gradients by our names, to 1e-3; those that are zero but for rounding to 1e-6."""
    found = {name: 0.0 if one.grad is None else float(one.grad.norm()) for name, one in module.named_parameters()}
    assert set(found) == set(expected)
    for name, norm in expected.items():
        assert found[name] == pytest.approx(float(norm), rel=1e-3, abs=1e-6), name


@dataclass(frozen=True)
class Training:
    """The training videos that edges of groups follow from, all of which may be compared."""

    targets01: np.ndarray
    scores: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def differences(self, values: np.ndarray) -> np.ndarray:
        return np.sort(np.abs(np.subtract.outer(values, values))[np.triu_indices(len(values), 1)])


def compared(numbers: Mapping[str, np.ndarray], largest: float) -> Batch:
    """Every query with its own exemplar."""
    clips = {
        name: numbers[name] if numbers[name].ndim == 3 else numbers[name][:, None] for name in ("query", "exemplar")
    }
    exemplar = batch_of(clips["exemplar"], numbers["exemplar_score"] / largest)
    voters = torch.arange(len(exemplar.mask))[:, None]
    return batch_of(clips["query"], numbers["query_score"] / largest, exemplar=exemplar, voters=voters)


def pair_store(path: Path, numbers: Mapping[str, np.ndarray]) -> Path:
    """A store in which every query, the first of the videos, has its exemplar alone in its category, for training."""
    clips = [one if one.ndim == 2 else one[None] for name in ("query", "exemplar") for one in numbers[name]]
    scores = np.concatenate([numbers["query_score"], numbers["exemplar_score"]])
    count = len(scores) // 2
    splits, categories = ("test",) * count + ("train",) * count, tuple("abcdefgh"[:count] * 2)
    return golden_store(path, {"video": clips}, {"total": scores}, splits=splits, categories=categories)


def golden_store(
    path: Path,
    streams: Mapping[str, Sequence[np.ndarray]],
    scores: Mapping[str, np.ndarray],
    seconds: Mapping[str, np.ndarray] | None = None,
    splits: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
) -> Path:
    """A store of test videos; `streams` maps a name to the clips of each video, `(clips, dim)`, `seconds` a name to their times,
    `(clips, 2)`, which are a second each unless they are given."""
    plans = []
    for name, videos in streams.items():
        modality = "audio" if name == "audio" else "video"
        header = FeatureHeader(name, modality, videos[0].shape[1], "none", None, False, None, None, None, None)
        items = []
        for row, clips in enumerate(videos):
            starts = np.arange(len(clips), dtype=float)
            times = (seconds or {}).get(name, np.stack([starts, starts + 1], 1))
            made = VideoFeatures(VideoRecord(f"v{row}"), np.asarray(clips, np.float32), times[:, 0], times[:, 1])
            items.append(StreamItem(made.record, len(clips), lambda made=made: made))
        plans.append(StreamPlan(header, np.dtype(np.float32), items))
    columns = np.stack([np.asarray(values, float) for values in scores.values()], 1)
    ids = tuple(f"v{row}" for row in range(len(columns)))
    labels = Labels(ids, splits or ("test",) * len(ids), categories or ("",) * len(ids), tuple(scores), columns)
    write_store(path, dataset="golden", card=None, labels=labels, streams=plans)
    return path


def evaluated(
    folder: Path, state: Mapping[str, torch.Tensor], head: str, store: Path, *words: object, parts: bool = False
) -> np.ndarray:
    """What `train evaluate` gives for the score `total` of a store after `train import-checkpoint`, in judges' units.
    With `parts` the checkpoint has a dictionary for each first part of the names."""
    saved: dict[str, object] = {"state_dict": {f"module.{key}": value for key, value in state.items()}}
    if parts:
        names = {key.partition(".")[0] for key in state}
        saved = {
            name: {f"module.{k[len(name) + 1 :]}": v for k, v in state.items() if k.startswith(f"{name}.")}
            for name in names
        }
        saved |= {"epoch": 3, "optimizer": {"param_groups": [], "state": {}}}
    torch.save(saved, folder / "best.pth")
    call = ("import-checkpoint", folder / "best.pth", "--head", head, "--features", store, "--score", "total")
    invoke(main, *call, *words, "--out", folder / "run")
    with open_store(store) as opened:
        (row,) = evaluate_run(folder / "run", opened, None)
    return np.array([row.predicted[f"v{index}"] for index in range(len(row.predicted))])


def by_rule(numbers: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Weights of a file that has the shapes of all and the values of few: the rest follow from their names. Integers start at 0."""
    state = {}
    for name, shape in json.loads(str(numbers["keys"])).items():
        z = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
        if f"weight/{name}" in numbers:
            z = numbers[f"weight/{name}"]
        elif name.endswith("num_batches_tracked"):
            z = np.zeros(shape)
        elif name.endswith("running_var"):
            z = 1 + 0.2 * np.abs(z)
        elif name.endswith("running_mean"):
            z = 0.1 * z
        elif len(shape) == 1:
            z = 1 + 0.1 * z if name.endswith("weight") else 0.05 * z
        elif len(shape) > 1:
            z = z / np.sqrt(np.prod(shape[1:]))
        state[name] = torch.tensor(z, dtype=torch.float32)
    return state


def features_by_rule(seed: int, *shape: int) -> np.ndarray:
    """Inputs `(batch, clips, dim)` of such a file."""
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def weights_and_clips(
    numbers: Mapping[str, np.ndarray], *shape: int, scale: float = 1.0
) -> tuple[dict[str, torch.Tensor], np.ndarray, bool]:
    """The weights and clips of a file; those of the rule, with clips of this shape, if the file is of the published size and has neither."""
    if "clips" in numbers:
        return tensors(numbers, "weight/"), numbers["clips"], False
    return by_rule(numbers), scale * features_by_rule(0, *shape), True
