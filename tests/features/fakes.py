"""Small stores with made-up contents, and locks of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from longtake.features import parts
from longtake.features.cli import main
from longtake.features.content import StreamItem, StreamPlan
from longtake.features.found_parts import list_old_parts
from longtake.features.labels import Labels
from longtake.features.segments.reader import list_segments
from longtake.features.store import write_store
from longtake.features.types import FAILED, FeatureHeader, TextFeatures, TextHeader, VideoFeatures, VideoRecord
from longtake.files import Writer
from tests.calls import invoke

KINDS = [".h5", ".zarr"]


def header(backbone: str = "fake", dim: int = 3, **changes: object) -> FeatureHeader:
    values = dict(
        weights="w", weights_sha256="ab", weights_random=False, clip_length=16, clip_stride=16, tail="pad", fps=None
    )
    return FeatureHeader(backbone, "video", dim, **{**values, **changes})


def video(video_id: str, num_clips: int, dim: int = 3, seed: int = 0, dtype: str = "float32") -> VideoFeatures:
    if not num_clips:
        record = VideoRecord(video_id, status=FAILED, error_stage="decode", error_type="X", error_message="bröken")
        return VideoFeatures.failure(record, dim)
    table = np.random.default_rng(seed).normal(size=(num_clips, dim)).astype(dtype)
    times = np.arange(num_clips, dtype=float)
    return VideoFeatures(VideoRecord(video_id, source_sha256="00"), table, times, times + 1)


def labels(ids: list[str], scores: list[float] | None = None) -> Labels:
    table = np.array(scores if scores is not None else [float(i) for i in range(len(ids))])[:, None]
    return Labels(tuple(ids), ("train",) * len(ids), ("A",) * len(ids), ("total",), table)


def plan(head: FeatureHeader, videos: list[VideoFeatures], dtype: str = "float32") -> StreamPlan:
    return StreamPlan(head, np.dtype(dtype), [StreamItem(v.record, len(v.features), lambda v=v: v) for v in videos])


def text_features(name: str = "qgvl") -> TextFeatures:
    return TextFeatures(
        name, TextHeader("clip", 2, "w", None, False), ("a", "b"), ("g", "h"), np.ones((2, 2), np.float32)
    )


def write_part(store: Path, dataset: str, own: Labels, videos: dict[FeatureHeader, VideoFeatures]) -> Path:
    """Store one video in a segment of its own, which is sealed; returns its path."""
    with parts.part_writer(store) as writer:
        path = writer.append(dataset, own, videos)
    return path.with_suffix(".sealed")


def list_parts(store: Path) -> list[Path]:
    """Segments, and parts of earlier releases."""
    folder = parts.parts_folder(store)
    return [*list_segments(folder), *list_old_parts(folder)]


def make_store(path: Path, lengths: dict[str, int], seed: int = 0, head: FeatureHeader | None = None) -> Path:
    head = head or header()
    videos = [video(name, n, head.dim, seed + i) for i, (name, n) in enumerate(lengths.items())]
    write_store(
        path,
        dataset="d",
        card=None,
        labels=labels(list(lengths)),
        streams=[plan(head, videos)],
        texts=[text_features()],
    )
    return path


def store_of(
    path: Path, ids: str, *, head: FeatureHeader | None = None, texts: Sequence[TextFeatures] = (), dtype: str = "float32",
    table: Labels | None = None, lengths: dict[str, int] | None = None,
) -> Path:  # fmt: skip
    """A store whose values follow from the ids, so that a video has the same values in every store."""
    head = head or header()
    videos = [video(v, (lengths or {}).get(v, 2 + ord(v[0]) % 4), head.dim, ord(v[0]), dtype) for v in ids]
    own = table or labels(list(ids), [float(ord(v[0])) for v in ids])
    write_store(path, dataset="d", card=None, labels=own, streams=[plan(head, videos, dtype)], texts=texts)
    return path


def run(*arguments: object, status: int = 0) -> str:
    """The output of a `features` command."""
    return invoke(main, *arguments, status=status).output


def lock(store: Path, owner: str) -> Path:
    """Lock a store for a process, `pid@host`."""
    path = parts.lock_file(store)
    path.parent.mkdir(exist_ok=True)
    path.write_text(owner)
    return path


def locked_by_another(store: Path, monkeypatch) -> str:
    """Lock a store for a living process of this machine, without a long wait; returns the holder as messages show it."""
    monkeypatch.setattr(parts, "LOOK_SECONDS", 0.01)
    monkeypatch.setitem(parts.pack_or_wait.__kwdefaults__, "wait_seconds", 0.05)
    owner = str(Writer.of(os.getppid()))
    return f"process {owner} ({lock(store, owner)})"
