"""Copy a store in another form: HDF5 or Zarr, other chunks, compression or dtype. All of the copy is read after writing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from longtake.errors import listed
from longtake.features.content import Block, Storage, StreamItem, StreamPart, StreamPlan, StreamRows
from longtake.features.errors import FeaturesError, InvalidFeatures, NotAStore
from longtake.features.joins import require_new
from longtake.features.store import open_store, storage_for, write_store
from longtake.features.stream import Stream
from longtake.features.tools.inspect import damaged
from longtake.features.types import FAILED, OK, VideoFeatures, underflows
from longtake.files import is_url


@dataclass(frozen=True)
class Converted:
    num_videos: int
    num_clips: int
    largest_change: float
    """Of any value; 0 unless the dtype became narrower."""
    num_underflows: int
    """Values other than 0 that the narrower dtype can only hold as 0."""
    dropped: tuple[str, ...]
    """Damaged videos, `<stream> <video_id>`, that are failures in the copy."""
    num_bytes_before: int | None
    num_bytes_after: int | None


def convert(
    source: Path | str,
    out: Path | str,
    *,
    dtype: str | None = None,
    storage: Storage | None = None,
    drop_damaged: bool = False,
) -> Converted:
    """Copy a store to `out`, whose ending decides its kind. Without `dtype` no value changes. With `drop_damaged`, videos that are
    damaged become failures, which a run of `extract run --retry-failed` replaces.

    All of the copy is read, and compared with the checksums of what was written. Raises `FeaturesError` if `out` exists or if the copy
    differs, `InvalidFeatures` for numbers that do not fit `dtype`, `NotAStore` for a source that is damaged.
    """
    require_new(out)
    if drop_damaged and is_url(source):
        # A server that fails for a moment would look like damage.
        raise FeaturesError(f"damaged videos of {source} are found on a disk only: copy the store there first")
    with open_store(source) as before:
        copies = [_Copy(stream, np.dtype(dtype or stream.features.dtype), drop_damaged) for stream in before.streams]
        write_store(
            out, dataset=before.dataset, card=before.card, labels=before.labels, texts=before.texts,
            streams=[StreamPlan(copy.stream.header, copy.dtype, copy.parts()) for copy in copies],
            storage=storage or storage_for(out, before),
        )  # fmt: skip
        with open_store(out) as after:
            if faults := damaged(after):
                place = "" if is_url(out) else "\nIt is kept for inspection"
                raise FeaturesError(f"{out} does not hold what was written:{listed(faults)}{place}")
            return Converted(
                sum(len(stream.videos) for stream in after.streams), sum(stream.num_clips for stream in after.streams),
                max((copy.largest_change for copy in copies), default=0.0), sum(copy.num_underflows for copy in copies),
                tuple(f"{copy.stream.name} {name}" for copy in copies for name in copy.dropped),
                before.num_bytes, after.num_bytes,
            )  # fmt: skip


@dataclass
class _Copy:
    """All videos of a stream, whose features may get another dtype and so other checksums."""

    stream: Stream
    dtype: np.dtype
    drop_damaged: bool = False
    largest_change: float = 0.0
    num_underflows: int = 0
    dropped: tuple[str, ...] = ()

    @property
    def counts(self) -> Sequence[int]:
        return self.stream.counts

    def parts(self) -> Sequence[StreamPart]:
        return self._intact() if self.drop_damaged else [self]

    def _intact(self) -> list[StreamItem]:
        """Each video by itself, read once to see whether it is damaged and once to copy it."""
        items = []
        for row, record in enumerate(self.stream.records):
            try:
                found = self.stream.read(row)
                items.append(StreamItem(record, len(found.features), partial(self._read, row)))
            except (NotAStore, InvalidFeatures) as error:
                failed = replace(
                    record,
                    status=FAILED,
                    error_stage="store",
                    error_type=type(error).__name__,
                    error_message=str(error),
                )
                items.append(StreamItem.of(VideoFeatures.failure(failed, self.stream.header.dim)))
                self.dropped += (record.video_id,) if record.status == OK else ()
        return items

    def _read(self, row: int) -> VideoFeatures:
        return self._narrowed(self.stream.read(row))

    def blocks(self) -> Iterator[Block]:
        if self.dtype == self.stream.features.dtype:
            yield from StreamRows(self.stream, 0, len(self.stream.videos)).blocks()
            return
        for record, (features, starts, ends) in self.stream.each():
            video = self._narrowed(VideoFeatures(record, features, starts, ends))
            yield Block(video.features, starts, ends, (record, video.sha256))

    def _narrowed(self, video: VideoFeatures) -> VideoFeatures:
        features = video.features
        with np.errstate(over="ignore"):
            narrow = features.astype(self.dtype)
        if not np.isfinite(narrow).all():
            raise InvalidFeatures(
                f"{video.record.video_id}: values up to {np.abs(features).max():.3g} do not fit {self.dtype}; keep float32"
            )
        change = np.abs(features - narrow.astype(features.dtype))
        self.largest_change = max(self.largest_change, float(change.max(initial=0)))
        self.num_underflows += underflows(features, narrow)
        return replace(video, features=narrow)
