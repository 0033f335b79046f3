"""Copy a store in another form: HDF5 or Zarr, other chunks, compression or dtype. All of the copy is read after writing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from longtake.errors import listed
from longtake.features.content import Block, Storage, StreamPlan, StreamRows
from longtake.features.errors import FeaturesError, InvalidFeatures
from longtake.features.joins import require_new
from longtake.features.store import open_store, storage_for, write_store
from longtake.features.stream import Stream
from longtake.features.tools.inspect import damaged
from longtake.features.types import VideoFeatures, underflows
from longtake.files import is_url


@dataclass(frozen=True)
class Converted:
    num_videos: int
    num_clips: int
    largest_change: float
    """Of any value; 0 unless the dtype became narrower."""
    num_underflows: int
    """Values other than 0 that the narrower dtype can only hold as 0."""
    num_bytes_before: int | None
    num_bytes_after: int | None


def convert(
    source: Path | str, out: Path | str, *, dtype: str | None = None, storage: Storage | None = None
) -> Converted:
    """Copy a store to `out`, whose ending decides its kind. Without `dtype` no value changes.

    All of the copy is read, and compared with the checksums of what was written. Raises `FeaturesError` if `out` exists or if the copy
    differs, `InvalidFeatures` for numbers that do not fit `dtype`, `NotAStore` for a source that is damaged.
    """
    require_new(out)
    with open_store(source) as before:
        copies = [_Copy(stream, np.dtype(dtype or stream.features.dtype)) for stream in before.streams]
        write_store(
            out, dataset=before.dataset, card=before.card, labels=before.labels, texts=before.texts,
            streams=[StreamPlan(copy.stream.header, copy.dtype, [copy]) for copy in copies],
            storage=storage or storage_for(out, before),
        )  # fmt: skip
        with open_store(out) as after:
            if faults := damaged(after):
                place = "" if is_url(out) else "\nIt is kept for inspection"
                raise FeaturesError(f"{out} does not hold what was written:{listed(faults)}{place}")
            return Converted(
                sum(len(stream.videos) for stream in after.streams), sum(stream.num_clips for stream in after.streams),
                max((copy.largest_change for copy in copies), default=0.0), sum(copy.num_underflows for copy in copies),
                before.num_bytes, after.num_bytes,
            )  # fmt: skip


@dataclass
class _Copy:
    """All videos of a stream, whose features may get another dtype and so other checksums."""

    stream: Stream
    dtype: np.dtype
    largest_change: float = 0.0
    num_underflows: int = 0

    @property
    def counts(self) -> Sequence[int]:
        return self.stream.counts

    def blocks(self) -> Iterator[Block]:
        if self.dtype == self.stream.features.dtype:
            yield from StreamRows(self.stream, 0, len(self.stream.videos)).blocks()
            return
        for record, (features, starts, ends) in self.stream.each():
            with np.errstate(over="ignore"):
                narrow = features.astype(self.dtype)
            if not np.isfinite(narrow).all():
                raise InvalidFeatures(
                    f"{record.video_id}: values up to {np.abs(features).max():.3g} do not fit {self.dtype}; keep float32"
                )
            change = np.abs(features - narrow.astype(features.dtype))
            self.largest_change = max(self.largest_change, float(change.max(initial=0)))
            self.num_underflows += underflows(features, narrow)
            yield Block(narrow, starts, ends, (record, VideoFeatures(record, narrow, starts, ends).sha256))
