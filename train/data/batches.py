"""From the table of videos to batches: padding, masks, and what a head needs in addition to clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from longtake.train.data.ahead import read_ahead
from longtake.train.data.dataset import FeatureSet
from longtake.train.data.exemplars import Candidates, ExemplarPool
from longtake.train.data.second_stream import frames_within
from longtake.train.data.windows import (
    CONTIGUOUS,
    WHOLE,
    Clips,
    batches_by_length,
    clips_to_test,
    sample_clips,
    shuffled_batches,
)
from longtake.train.errors import DataError
from longtake.train.heads.base import Batch, Needs

DEVICE_SHARE = 0.5
"""Of the free memory of a GPU: a table that takes more stays in the machine's memory, and each batch is copied."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class BatchMaker:
    """Makes the batches of a data set that one head reads, on one device."""

    data: FeatureSet
    needs: Needs = Needs()
    device: torch.device = CPU
    candidates: Candidates | None = None
    """For a head that compares."""

    def with_pool(self, pool: ExemplarPool) -> BatchMaker:
        """Batches with exemplars from the pool."""
        return replace(self, candidates=Candidates.of(pool, self.data))

    def boundaries(self, rows: np.ndarray) -> np.ndarray | None:
        """float64, `(rows, boundaries)` seconds: as many as the head learns; None where no video has any. Raises `DataError` where the head learns
        them and the times of clips are unknown."""
        if self.data.boundaries is None:
            return None
        known = self.data.boundaries[rows]
        for header in (table.header for table in self.data.tables):
            if self.needs.boundaries and not header.times_known and np.isfinite(known).any():
                raise DataError(
                    f"the head learns when stages end, in seconds, and the times of clips of {header.stream_name} are unknown: "
                    "import the features with --fps, --clip-length and --clip-stride"
                )
        return as_many(known, self.needs.boundaries) if self.needs.boundaries else known

    def train(
        self,
        rows: np.ndarray,
        targets01: np.ndarray,
        *,
        window: int,
        batch_size: int,
        rng: np.random.Generator,
        sampling: str = CONTIGUOUS,
    ) -> Iterator[Batch]:
        """One epoch in random order, of windows as `sample_clips` takes them. A head that compares gets one exemplar a video. Batches of
        features that are on the disk are read ahead."""
        batches = self._train(rows, targets01, window, batch_size, rng, sampling)
        return read_ahead(batches) if self._reads_disk else batches

    def _train(
        self, rows: np.ndarray, targets01: np.ndarray, window: int, batch_size: int, rng: np.random.Generator, sampling: str
    ) -> Iterator[Batch]:  # fmt: skip
        self.data.require_scores(rows, self.needs.columns)
        choose = partial(sample_clips, window=window, rng=rng, sampling=sampling)
        for places in shuffled_batches(len(rows), batch_size, rng):
            chosen = rows[places]
            made = self.batch(chosen, *choose(self.data.num_clips[chosen]), targets01[places])
            if self.candidates is not None:
                made = self._compared(made, self.candidates, self.candidates.draw(chosen, rng), choose)
            yield made

    def test(
        self, rows: np.ndarray, targets01: np.ndarray, *, window: int, test_window: str, batch_size: int
    ) -> Iterator[Batch]:
        """Every video once: whole, or `window` of its clips. Videos of similar length share a batch; for a head that
        sees padding only those of equal length do, so that no score depends on the other videos of its batch."""
        batches = self._test(rows, targets01, window, test_window, batch_size)
        return read_ahead(batches) if self._reads_disk else batches

    @property
    def _reads_disk(self) -> bool:
        return self.needs.clips and (
            self.data.on_disk or (self.candidates is not None and self.candidates.pool.data.on_disk)
        )

    def _test(
        self, rows: np.ndarray, targets01: np.ndarray, window: int, test_window: str, batch_size: int
    ) -> Iterator[Batch]:
        self.data.require_scores(rows, self.needs.scores)
        counts = self.data.num_clips[rows]
        equal = self.needs.sees_padding and test_window == WHOLE
        # Exemplars are padded to the longest of all that vote in a batch.
        if self.needs.alone or (equal and self.candidates is not None):
            batch_size = 1
        for places in batches_by_length(counts, batch_size, equal):
            made = self.batch(rows[places], *clips_to_test(counts[places], window, test_window), targets01[places])
            yield self.with_voters(made, window, test_window)

    def with_voters(self, batch: Batch, window: int, test_window: str) -> Batch:
        """A batch for testing, with the exemplars that vote; the same batch for a head that does not compare."""
        if self.candidates is None:
            return batch
        choose = partial(clips_to_test, window=window, test_window=test_window)
        return self._compared(batch, self.candidates, self.candidates.vote(np.array(batch.rows)), choose)

    def batch(
        self, rows: Sequence[int] | np.ndarray, clips: np.ndarray, mask: np.ndarray, targets01: np.ndarray
    ) -> Batch:
        """The numbered clips of each video, int `(batch, clips)`; zeros where the mask, of the same shape, is False."""
        data, device, rows = self.data, self.device, np.asarray(rows)
        index = np.where(mask, data.clips.offsets[rows][:, None] + clips, 0)
        mask_tensor = torch.from_numpy(mask).to(device)
        seconds = data.clips.seconds[index]
        begins, ends = seconds[:, 0, 0], seconds[np.arange(len(mask)), mask.sum(1) - 1, 1]
        second = data.second_stream
        columns = data.columns(rows, self.needs.columns) if self.needs.columns else None
        boundaries = self.boundaries(rows)
        kinds = None if self.needs.groups is None else self.needs.groups or tuple(data.groups)
        groups = None if kinds is None else torch.from_numpy(data.group_numbers(rows, kinds)).to(device)
        return Batch(
            self._clips(index, mask_tensor),
            mask_tensor,
            torch.from_numpy(np.asarray(targets01, np.float32)).to(device),
            tuple(int(row) for row in rows),
            audio=data.audio.gather(index, mask_tensor) if data.audio else None,
            streams={name: table.gather(index, mask_tensor) for name, table in data.streams.items()},
            seconds=torch.from_numpy(np.where(mask[..., None], seconds, 0.0).astype(np.float32)).to(device),
            second_stream=frames_within(second, rows, begins, ends, device) if second else None,
            boundaries=None if boundaries is None else torch.from_numpy(boundaries.astype(np.float32)).to(device),
            terms=None if data.terms is None else torch.from_numpy(data.terms[rows]).to(device),
            scores=None if columns is None else torch.from_numpy(columns).to(device),
            groups=groups,
        )

    def _clips(self, index: np.ndarray, mask: torch.Tensor) -> torch.Tensor:
        """Of the first stream, as `ClipTable.gather` gives them; for a head that reads none, zeros without memory."""
        if not self.needs.clips:
            return torch.zeros(1, 1, 1, device=mask.device).expand(*mask.shape, self.data.header.dim)
        return self.data.clips.gather(index, mask)

    def _compared(
        self, batch: Batch, candidates: Candidates, places: np.ndarray, choose: Callable[[np.ndarray], Clips]
    ) -> Batch:
        """The batch with exemplars at places of the pool, int `(batch, voters)`, of which `choose` takes the clips."""
        pool = candidates.pool
        there, index = np.unique(places[places >= 0], return_inverse=True)
        voters = np.full(places.shape, -1)
        voters[places >= 0] = index
        rows = pool.rows[there]
        maker = BatchMaker(pool.data, pool.needs, self.device)
        exemplar = maker.batch(rows, *choose(pool.data.num_clips[rows]), pool.targets01[there])
        return replace(batch, exemplar=exemplar, voters=torch.from_numpy(voters).to(self.device))


def as_many(boundaries: np.ndarray, number: int) -> np.ndarray:
    """Boundaries `(videos, any)` -> `(videos, number)`: nan where a video has fewer, and all nan where it has more, since its stages are
    others then."""
    if boundaries.shape[1] == number:
        return boundaries
    made = np.full((len(boundaries), number), np.nan)
    shared = min(number, boundaries.shape[1])
    fits = np.isnan(boundaries[:, number:]).all(axis=1)
    made[fits, :shared] = boundaries[fits, :shared]
    return made


def put_on_device(data: FeatureSet, device: torch.device) -> FeatureSet:
    """All clips on the device where its memory has room, so that they are copied once, not once an epoch."""
    if data.on_disk or data.num_bytes > DEVICE_SHARE * free_bytes(device):
        return data
    return data.map_tables(lambda table: table.to(device))


def free_bytes(device: torch.device) -> float:
    """Of the memory of a GPU; of the machine's own, no end, since features are in it already."""
    if device.type != "cuda":
        return float("inf")
    return float(torch.cuda.mem_get_info(torch.cuda.current_device() if device.index is None else device)[0])
