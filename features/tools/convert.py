"""Copy a store in another form: HDF5 or Zarr, other chunks, compression or dtype. The copy is compared after writing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from longtake.features.content import Block, Storage, StreamPlan, StreamRows
from longtake.features.errors import FeaturesError, InvalidFeatures
from longtake.features.joins import require_new
from longtake.features.store import Store, open_store, storage_for, write_store
from longtake.features.stream import Stream
from longtake.features.types import VideoFeatures
from longtake.files import is_url


@dataclass(frozen=True)
class Converted:
    num_videos: int
    num_clips: int
    largest_change: float
    """Of any value; 0 unless the dtype became narrower."""
    num_bytes_before: int | None
    num_bytes_after: int | None


def convert(
    source: Path | str, out: Path | str, *, dtype: str | None = None, storage: Storage | None = None
) -> Converted:
    """Copy a store to `out`, whose ending decides its kind. Without `dtype` no value changes.

    The copy is read and compared. Raises `FeaturesError` if `out` exists or if the copy differs, `InvalidFeatures` for numbers that do
    not fit `dtype`, or that are damaged and would get a new checksum.
    """
    require_new(out)
    with open_store(source) as before:
        plans = [_plan(stream, np.dtype(dtype or stream.features.dtype)) for stream in before.streams]
        write_store(
            out, dataset=before.dataset, card=before.card, labels=before.labels, streams=plans, texts=before.texts,
            storage=storage or storage_for(out, before),
        )  # fmt: skip
        with open_store(out) as after:
            faults, largest = _compare(before, after)
            if faults:
                place = "" if is_url(out) else " It is kept for inspection"
                raise FeaturesError(f"{out} does not hold what was written: {', '.join(faults)}.{place}")
            return Converted(
                sum(len(stream.videos) for stream in after.streams), sum(stream.num_clips for stream in after.streams),
                largest, before.num_bytes, after.num_bytes,
            )  # fmt: skip


def _plan(stream: Stream, dtype: np.dtype) -> StreamPlan:
    if dtype == stream.features.dtype:
        return StreamPlan(stream.header, dtype, [StreamRows(stream, 0, len(stream.videos))])
    return StreamPlan(stream.header, dtype, [_Narrowed(stream, dtype)])


@dataclass(frozen=True)
class _Narrowed:
    """All videos of a stream with another dtype, and their new checksums."""

    stream: Stream
    dtype: np.dtype

    @property
    def counts(self) -> Sequence[int]:
        return self.stream.counts

    def blocks(self) -> Iterator[Block]:
        for row, (record, (features, starts, ends)) in enumerate(self.stream.each()):
            if VideoFeatures(record, features, starts, ends).sha256 != self.stream.videos.checksums[row]:
                raise InvalidFeatures(
                    f"{record.video_id}: its features do not match their checksum, and a copy with another dtype would get a new one. "
                    f"`features verify` lists what is damaged: extract it again, or convert without --dtype"
                )
            with np.errstate(over="ignore"):
                narrow = features.astype(self.dtype)
            if not np.isfinite(narrow).all():
                raise InvalidFeatures(
                    f"{record.video_id}: values up to {np.abs(features).max():.3g} do not fit {self.dtype}; keep float32"
                )
            video = VideoFeatures(record, narrow, starts, ends)
            yield Block(narrow, starts, ends, (record, video.sha256))


def _compare(before: Store, after: Store) -> tuple[list[str], float]:
    """Differences other than the dtype, and the largest change of a value."""
    faults = []
    largest = 0.0
    if not before.labels.equals(after.labels):
        faults.append("labels")
    if [t.header for t in before.texts] != [t.header for t in after.texts]:
        faults.append("prompt sets")
    faults += [f"prompt set {a.name}" for a, b in zip(before.texts, after.texts) if not a.equals(b)]
    if [s.name for s in before.streams] != [s.name for s in after.streams]:
        return [*faults, "streams"], largest
    for one, other in zip(before.streams, after.streams, strict=True):
        if not np.array_equal(one.offsets, other.offsets) or repr(one.records) != repr(other.records):
            faults.append(f"the table of videos of {one.name}")
        for ours, theirs in zip(*(stream.blocks(0, stream.num_clips) for stream in (one, other))):
            with np.errstate(over="ignore"):
                narrow = ours[0].astype(theirs[0].dtype)
            if not all(map(np.array_equal, (narrow, *ours[1:]), theirs)):
                faults.append(f"clips of {one.name}")
                break
            if narrow.dtype != ours[0].dtype and narrow.size:
                largest = max(largest, float(np.abs(ours[0] - theirs[0].astype(ours[0].dtype)).max()))
        same_width = one.features.dtype == other.features.dtype
        if same_width and one.videos.checksums != other.videos.checksums:
            faults.append(f"checksums of {one.name}")
    return faults, largest
