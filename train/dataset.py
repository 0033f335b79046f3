"""From a store to batches: the one home of padding, masks and window sampling.

A dataset is loaded once, as one table of clips; a batch is an index into it. No files are touched while training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from features.store import Store
from features.types import OK, FeatureHeader
from train.errors import DataError

WHOLE, CENTRE = "whole", "centre"
TEST_WINDOWS = (WHOLE, CENTRE)


@dataclass(frozen=True)
class Batch:
    """Some videos, padded at the end to a common number of clips."""

    clips: torch.Tensor
    """float32, `(batch, clips, dim)`; padding is zero."""
    mask: torch.Tensor
    """bool, `(batch, clips)`; True where there is a clip."""
    target01: torch.Tensor
    """float32, `(batch,)`; the score on the scale 0 to 1."""
    rows: tuple[int, ...]
    """Rows of the dataset, in the order of the batch."""


@dataclass(frozen=True)
class ScoreScale:
    """Judges' units and the scale 0 to 1 that heads work on."""

    name: str
    minimum: float
    maximum: float
    stated: bool
    """False when no card states the range and it was taken from the training labels."""

    def to01(self, scores: np.ndarray) -> np.ndarray:
        return (scores - self.minimum) / (self.maximum - self.minimum)

    def to_units(self, scores01: np.ndarray) -> np.ndarray:
        return scores01 * (self.maximum - self.minimum) + self.minimum


@dataclass(frozen=True)
class FeatureSet:
    """All clips of one stream in memory, with their labels; failed and unlabelled videos are left out."""

    header: FeatureHeader
    clips: torch.Tensor
    """float32, `(total_clips, dim)`."""
    offsets: np.ndarray
    """int64, `(videos + 1,)`."""
    video_ids: tuple[str, ...]
    splits: np.ndarray
    categories: np.ndarray
    scores: dict[str, np.ndarray]
    """Score name -> float64 `(videos,)` in judges' units, nan where missing."""

    @classmethod
    def load(cls, store: Store, backbone: str | None = None) -> FeatureSet:
        """Read one stream of a store, once. Raises `DataError` when no video has both features and labels."""
        stream = store.stream(backbone)
        labels = {video_id: row for row, video_id in enumerate(store.labels.video_ids)}
        counts = np.diff(stream.offsets)
        used = [
            (row, labels[video_id])
            for row, (video_id, status) in enumerate(zip(stream.videos.video_ids, stream.videos.statuses))
            if status == OK and video_id in labels
        ]
        if not used:
            raise DataError(f"{store.path}: no video has both features of {stream.name} and labels")
        clips = torch.from_numpy(stream.read_all().astype(np.float32, copy=False))
        if int(sum(counts[row] for row, _ in used)) != len(clips):
            keep = np.concatenate([np.arange(stream.offsets[row], stream.offsets[row + 1]) for row, _ in used])
            clips = clips[torch.from_numpy(keep)]
        if not torch.isfinite(clips.sum(dim=1)).all():
            raise DataError(f"{store.path}: {stream.name} holds NaN or infinity; `features verify` says where")
        label_rows = [label for _, label in used]
        return cls(
            header=stream.header,
            clips=clips,
            offsets=np.concatenate([[0], np.cumsum([counts[row] for row, _ in used])]),
            video_ids=tuple(stream.videos.video_ids[row] for row, _ in used),
            splits=np.array(store.labels.splits, dtype=object)[label_rows],
            categories=np.array(store.labels.categories, dtype=object)[label_rows],
            scores={
                name: store.labels.scores[label_rows, column] for column, name in enumerate(store.labels.score_names)
            },
        )

    def __len__(self) -> int:
        return len(self.video_ids)

    @property
    def num_clips(self) -> np.ndarray:
        return np.diff(self.offsets)

    def rows(self, *, split: str | None = None, category: str | None = None, score: str | None = None) -> np.ndarray:
        """Videos of a split and category that have the score, in the store's order."""
        chosen = np.ones(len(self), dtype=bool)
        if split is not None:
            chosen &= self.splits == split
        if category is not None:
            chosen &= self.categories == category
        if score is not None:
            chosen &= ~np.isnan(self.scores[score])
        return np.flatnonzero(chosen)

    def to(self, device: torch.device) -> FeatureSet:
        return FeatureSet(**{**self.__dict__, "clips": self.clips.to(device)})

    def batch(self, rows: Sequence[int], starts: np.ndarray, lengths: np.ndarray, targets01: np.ndarray) -> Batch:
        """Clips `[starts, starts + lengths)` of each video, zeros after them up to the longest."""
        device = self.clips.device
        width = int(max(lengths))
        steps = np.arange(width)
        mask = steps[None] < lengths[:, None]
        index = np.where(mask, self.offsets[rows][:, None] + starts[:, None] + steps[None], 0)
        mask_tensor = torch.from_numpy(mask).to(device)
        clips = self.clips[torch.from_numpy(index).to(device)]
        clips.masked_fill_(~mask_tensor[..., None], 0.0)
        target = torch.from_numpy(np.asarray(targets01, np.float32)).to(device)
        return Batch(clips, mask_tensor, target, tuple(int(row) for row in rows))

    def train_batches(
        self, rows: np.ndarray, targets01: np.ndarray, *, window: int, batch_size: int, rng: np.random.Generator
    ) -> Iterator[Batch]:
        """One epoch in random order. A video longer than `window` clips gives a random contiguous window, which may be
        its last; a shorter one is padded at the end to `window`.

        A last batch of a single video is joined to the one before, since batch statistics need more than one.
        """
        order = rng.permutation(len(rows))
        cuts = list(range(batch_size, len(rows), batch_size))
        if cuts and len(rows) - cuts[-1] == 1:
            cuts.pop()
        for chosen in np.split(order, cuts):
            counts = self.num_clips[rows[chosen]]
            lengths = np.minimum(counts, window)
            starts = rng.integers(0, counts - lengths + 1)
            batch = self.batch(rows[chosen], starts, lengths, targets01[chosen])
            yield pad_to(batch, window)

    def test_batches(
        self, rows: np.ndarray, targets01: np.ndarray, *, window: int, test_window: str, batch_size: int
    ) -> Iterator[Batch]:
        """Every video once: whole, or its centre window of `window` clips. Videos of similar length share a batch."""
        order = np.argsort(self.num_clips[rows], kind="stable")
        for begin in range(0, len(rows), batch_size):
            chosen = order[begin : begin + batch_size]
            counts = self.num_clips[rows[chosen]]
            lengths = np.minimum(counts, window) if test_window == CENTRE else counts
            batch = self.batch(rows[chosen], (counts - lengths) // 2, lengths, targets01[chosen])
            yield pad_to(batch, window) if test_window == CENTRE else batch


def pad_to(batch: Batch, num_clips: int) -> Batch:
    """The same batch with zeros up to `num_clips`; masked heads give the same scores either way."""
    missing = num_clips - batch.clips.shape[1]
    if missing <= 0:
        return batch
    clips = torch.nn.functional.pad(batch.clips, (0, 0, 0, missing))
    return Batch(clips, torch.nn.functional.pad(batch.mask, (0, missing)), batch.target01, batch.rows)
