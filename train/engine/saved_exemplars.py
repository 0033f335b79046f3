"""Exemplars in the checkpoint of a head that compares: their clips as tensors, their labels in its configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from longtake.features.types import FeatureHeader
from longtake.train.data.clip_table import ClipTable
from longtake.train.data.dataset import FeatureSet
from longtake.train.data.exemplars import ExemplarPool
from longtake.train.engine.head_config import ExemplarLabels, HeadConfig
from longtake.train.errors import CheckpointError
from longtake.train.heads.base import Needs

EXEMPLARS = "exemplars/"
"""Start of the names of tensors that are exemplars, not weights."""


def describe(pool: ExemplarPool) -> tuple[dict[str, torch.Tensor], ExemplarLabels]:
    """Tensors of a checkpoint, and what its configuration says of them."""
    data = pool.data.take(pool.rows)
    clips, audio, frames = data.clips, data.audio, data.second_stream
    tensors: dict[str, object] = {
        "clips": clips.tensor, "offsets": clips.offsets, "seconds": clips.seconds, "targets01": pool.targets01,
        "boundaries": data.boundaries, "terms": data.terms, "audio": audio.tensor if audio else None,
    }  # fmt: skip
    if frames:
        tensors |= {
            "frames/features": frames.tensor,
            "frames/offsets": frames.offsets,
            "frames/seconds": frames.seconds,
        }
    tensors |= {f"streams/{name}": table.tensor for name, table in data.streams.items()}
    labels = ExemplarLabels(
        video_ids=data.video_ids,
        categories=tuple(data.categories.tolist()),
        scores={
            name: tuple(None if np.isnan(value) else value for value in values.tolist())
            for name, values in data.scores.items()
        },
        groups={key: tuple(places.tolist()) for key, places in pool.groups.items()},
        everyone=tuple(pool.everyone.tolist()),
    )
    there = {EXEMPLARS + name: torch.as_tensor(value).cpu() for name, value in tensors.items() if value is not None}
    return {name: tensor.contiguous() for name, tensor in there.items()}, labels


def load_exemplars(path: Path, config: HeadConfig, needs: Needs) -> ExemplarPool | None:
    """The exemplars of a head that compares; None for others. Raises `CheckpointError` for a file that lacks them."""
    if needs.exemplars is None:
        return None
    labels = config.exemplars
    if labels is None:
        raise CheckpointError(
            f"{path}: head {config.head} compares videos with exemplars, which this checkpoint does not have; `train heads` "
            f"saves them with the weights, an imported checkpoint has none"
        )
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {n.removeprefix(EXEMPLARS): file.get_tensor(n) for n in file.keys() if n.startswith(EXEMPLARS)}
        count = len(labels.video_ids)
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        header = FeatureHeader.from_json(config.feature_header)
        clips = ClipTable(header, tensors["clips"], arrays["offsets"], arrays["seconds"])
        second = FeatureHeader.from_json(config.audio_header) if config.audio_header else None
        streams = {
            name: replace(clips, header=FeatureHeader.from_json(text), features=tensors[f"streams/{name}"])
            for name, text in config.stream_headers.items()
        }
        audio = frames = None
        if second and "audio" in tensors:
            audio = replace(clips, header=second, features=tensors["audio"])
        if second and "frames/features" in tensors:
            parts = tensors["frames/features"], arrays["frames/offsets"], arrays["frames/seconds"]
            frames = ClipTable(second, *parts)
        data = FeatureSet(
            clips=clips,
            video_ids=labels.video_ids,
            splits=np.full(count, "train", dtype=object),
            categories=np.array(labels.categories, dtype=object),
            scores={name: np.array(values, dtype=float) for name, values in labels.scores.items()},
            audio=audio,
            second_stream=frames,
            streams=streams,
            boundaries=arrays.get("boundaries"),
            terms=arrays.get("terms"),
        )
        groups = {key: np.array(places, int) for key, places in labels.groups.items()}
        everyone = np.array(labels.everyone, int)
        inside = all(len(p) and 0 <= p.min() and p.max() < count for p in (everyone, *groups.values()))
        by_video = data.categories, arrays["targets01"], data.boundaries, data.terms, *data.scores.values()
        same = {len(part) for part in by_video if part is not None} == {count}
        if not (inside and same and all(table.fits(count) for table in data.tables)):
            raise ValueError("its parts are of different lengths")
    except Exception as error:  # an untrusted file can be wrong in any way
        raise CheckpointError(f"{path}: its exemplars are damaged: {error}") from error
    return ExemplarPool(needs, data, np.arange(count), arrays["targets01"], groups, everyone)
