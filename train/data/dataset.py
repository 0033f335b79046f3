"""From a store to batches: the one home of padding, masks and window sampling.

A dataset is loaded once, as one table of clips; a batch is an index into it. No files are touched while training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch

from longtake.errors import there_are
from longtake.features.store import Store
from longtake.features.types import OK, RECIPE_ID_LENGTH, FeatureHeader, canonical_json
from longtake.train.data.exemplars import Exemplars, Pool
from longtake.train.data.second_stream import FrameTable, gather
from longtake.train.errors import DataError
from longtake.train.heads.base import Batch, Needs

WHOLE, CENTRE = "whole", "centre"
TEST_WINDOWS = (WHOLE, CENTRE)
CONTIGUOUS, SPREAD = "contiguous", "spread"
SAMPLINGS = (CONTIGUOUS, SPREAD)
DEVICE_SHARE = 0.5
"""Of the memory of a GPU that is free: features that take more stay in the machine's, and each batch is sent."""
AUDIO = "audio"
"""Modality of a stream that must have the clips of the pictures."""


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
    """All clips of one stream in memory, with their labels; failed, empty and unlabelled videos are left out.

    With a second stream beside it: one for one where it has the same clips, in a clock of its own where it has others.
    """

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
    audio_header: FeatureHeader | None = None
    audio: torch.Tensor | None = None
    """float32, `(total_clips, audio_dim)`."""
    seconds: np.ndarray | None = None
    """float64, `(total_clips, 2)`: start and end of each clip."""
    frames: FrameTable | None = None
    """The second stream, where it has other clips than the first."""
    boundaries: np.ndarray | None = None
    """float64, `(videos, boundaries)` seconds; nan where missing. None where no video has any."""
    terms: np.ndarray | None = None
    """int64, `(videos, stages + 1)`; see `Batch`."""
    needs: Needs = Needs()
    """Of the head that batches are made for."""
    exemplars: Exemplars | None = None
    """For a head that compares."""
    device: torch.device = torch.device("cpu")
    """Of the batches, and of the clips where they fit there."""
    checksums: tuple[str, ...] = ()
    """Of the features of each video, as the store has them, and those of a second stream."""
    without_second: tuple[str, ...] = ()
    """Videos of the first stream that are left out, since a second was asked for and does not have them."""

    @property
    def left_out(self) -> str:
        """A line about `without_second`; empty where it is."""
        if not self.without_second:
            return ""
        names = f"{', '.join(self.without_second[:5])}{', ...' if len(self.without_second) > 5 else ''}"
        backbone = self.second_header.backbone
        return f"{len(self.without_second)} videos have no features of {backbone} and are left out: {names}"

    @classmethod
    def load(cls, store: Store, backbone: str | None = None, audio: str | None = None) -> FeatureSet:
        """Read one stream of a store, or one and a second, once. A second stream with other clips than the first is `frames`,
        unless it is sound.

        Videos that the second stream lacks are left out, and named. Raises `DataError` when no video has features and labels, when
        sound and picture do not have the same clips, or when two streams are not in the same clock.
        """
        if backbone is None and audio is not None:
            backbone = _the_other(store, audio)
        pictures = cls._load_one(store, backbone)
        if audio is None:
            return pictures
        sound = cls._load_one(store, audio)
        checksums = pictures.checksums + sound.checksums
        rows = {video_id: row for row, video_id in enumerate(sound.video_ids)}
        both = np.array([video_id in rows for video_id in pictures.video_ids])
        if not both.any():
            raise DataError(
                f"{store.path}: no video has features of both {pictures.header.backbone} and {sound.header.backbone}"
            )
        if not both.all():
            alone = tuple(video_id for video_id, there in zip(pictures.video_ids, both) if not there)
            pictures = replace(pictures.take(np.flatnonzero(both)), without_second=alone)
        order = [rows[video_id] for video_id in pictures.video_ids]
        uneven = np.flatnonzero(sound.num_clips[order] != pictures.num_clips)
        index = np.concatenate([np.arange(sound.offsets[row], sound.offsets[row + 1]) for row in order])
        if len(uneven) and sound.header.modality != AUDIO:
            offsets = np.concatenate([[0], np.cumsum(sound.num_clips[order])])
            frames = FrameTable(sound.header, sound.clips[torch.from_numpy(index)], offsets, sound.seconds[index])
            spans = np.stack(
                [pictures.seconds[pictures.offsets[:-1], 0], pictures.seconds[pictures.offsets[1:] - 1, 1]], 1
            )
            longest = float(np.diff(pictures.seconds, axis=1).max())
            frames.require_same_clock(str(store.path), pictures.video_ids, spans, longest)
            return replace(pictures, frames=frames, checksums=checksums)
        if len(uneven):
            first = int(uneven[0])
            raise DataError(
                f"{store.path}: {len(uneven)} videos have other clips of sound than of pictures, such as "
                f"{pictures.video_ids[first]} with {sound.num_clips[order[first]]} and {pictures.num_clips[first]}: extract "
                f"both with the same clip rule"
            )
        clips = sound.clips[torch.from_numpy(index)]
        return replace(pictures, audio=clips, audio_header=sound.header, checksums=checksums)

    @classmethod
    def _load_one(cls, store: Store, backbone: str | None) -> FeatureSet:
        stream = store.stream(backbone)
        labels = {video_id: row for row, video_id in enumerate(store.labels.video_ids)}
        counts = np.diff(stream.offsets)
        used = [
            (row, labels[video_id])
            for row, (video_id, status) in enumerate(zip(stream.videos.video_ids, stream.videos.statuses))
            if status == OK and counts[row] and video_id in labels
        ]
        if not used:
            raise DataError(f"{store.path}: no video has both features of {stream.name} and labels")
        clips = torch.from_numpy(stream.read_all().astype(np.float32, copy=False))
        seconds = np.stack(
            [np.asarray(times[0 : stream.num_clips]) for times in (stream.start_seconds, stream.end_seconds)], 1
        )
        if int(sum(counts[row] for row, _ in used)) != len(clips):
            keep = np.concatenate([np.arange(stream.offsets[row], stream.offsets[row + 1]) for row, _ in used])
            clips, seconds = clips[torch.from_numpy(keep)], seconds[keep]
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
            seconds=seconds,
            boundaries=store.labels.boundaries[label_rows] if store.labels.boundaries.shape[1] else None,
            checksums=tuple(stream.videos.checksums[row] for row, _ in used),
        )

    def __len__(self) -> int:
        return len(self.video_ids)

    def data_id(self) -> str:
        """Of all features, times and labels that are here: another one where any of them is."""
        digest = hashlib.sha256()
        headers = [header.recipe_id for header in (self.header, self.second_header) if header]
        for names in (headers, self.video_ids, self.checksums, self.splits, self.categories, self.scores):
            digest.update(canonical_json([str(name) for name in names]).encode())
        times = self.seconds, None if self.frames is None else self.frames.seconds
        for values in (self.offsets, *self.scores.values(), *times, self.boundaries):
            if values is not None:
                digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()[:RECIPE_ID_LENGTH]

    @property
    def second_header(self) -> FeatureHeader | None:
        """Of the second stream, whichever way it stands beside the first."""
        return self.audio_header if self.frames is None else self.frames.header

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

    def take(self, rows: np.ndarray) -> FeatureSet:
        """These videos alone, in this order, with clips of their own."""
        index = np.concatenate([np.arange(self.offsets[row], self.offsets[row + 1]) for row in rows])
        clips = torch.from_numpy(index).to(self.clips.device)
        seconds, boundaries, terms = (
            None if part is None else part[places]
            for part, places in ((self.seconds, index), (self.boundaries, rows), (self.terms, rows))
        )
        return replace(
            self,
            clips=self.clips[clips],
            audio=None if self.audio is None else self.audio[clips],
            seconds=seconds,
            frames=None if self.frames is None else self.frames.take(rows),
            boundaries=boundaries,
            terms=terms,
            offsets=np.concatenate([[0], np.cumsum(self.num_clips[rows])]),
            video_ids=tuple(self.video_ids[row] for row in rows),
            splits=self.splits[rows],
            categories=self.categories[rows],
            scores={name: values[rows] for name, values in self.scores.items()},
            exemplars=None,
        )

    def for_head(self, needs: Needs) -> FeatureSet:
        """Batches with what the head needs, of boundaries as many as it learns."""
        boundaries = self.boundaries
        if needs.boundaries and boundaries is not None and boundaries.shape[1] != needs.boundaries:
            boundaries = as_many(boundaries, needs.boundaries)
        return replace(self, needs=needs, boundaries=boundaries)

    def with_pool(self, pool: Pool) -> FeatureSet:
        """Batches with exemplars out of the pool."""
        return replace(self, exemplars=Exemplars.of(pool, self))

    def require(self, rows: np.ndarray, names: Sequence[str]) -> None:
        """Raises `DataError` where one of the scores is missing."""
        for name in names:
            if name not in self.scores:
                raise DataError(
                    f"the head needs the score {name!r}, which the store lacks{there_are(name, self.scores)}"
                )
            without = [self.video_ids[row] for row in rows if np.isnan(self.scores[name][row])]
            if without:
                raise DataError(
                    f"the head needs the score {name!r}, which {len(without)} of {len(rows)} videos lack: "
                    f"{', '.join(without[:5])}{', ...' if len(without) > 5 else ''}"
                )

    def with_targets_of(self, rows: np.ndarray, others: np.ndarray) -> FeatureSet:
        """Rows with the labels of others in what is learnt beside the score: for the control."""
        dealt = {name: self.scores[name].copy() for name in self.needs.targets}
        for name, values in dealt.items():
            values[rows] = self.scores[name][others]
        return replace(self, scores={**self.scores, **dealt})

    def columns(self, rows: np.ndarray) -> np.ndarray:
        """float32 `(rows, columns)`: the scores that the head needs, nan where one is missing."""
        made = np.full((len(rows), len(self.needs.columns)), np.nan, np.float32)
        for column, name in enumerate(self.needs.columns):
            if name in self.scores:
                made[:, column] = self.scores[name][rows]
        return made

    def to(self, device: torch.device) -> FeatureSet:
        """Batches on the device, and all clips with them where its memory has room: they are sent once, not once an epoch."""
        parts = self.clips, self.audio, None if self.frames is None else self.frames.features
        if sum(part.nbytes for part in parts if part is not None) > DEVICE_SHARE * free_bytes(device):
            return replace(self, device=device)
        clips, audio, frames = (
            None if part is None else part.to(device) for part in (self.clips, self.audio, self.frames)
        )
        return replace(self, clips=clips, audio=audio, frames=frames, device=device)

    @cached_property
    def means(self) -> FeatureSet:
        """Every video as one clip, the mean of its clips; pictures only."""
        owners = torch.from_numpy(np.repeat(np.arange(len(self)), self.num_clips)).to(self.clips.device)
        sums = self.clips.new_zeros(len(self), self.clips.shape[1]).index_add_(0, owners, self.clips)
        counts = torch.from_numpy(self.num_clips).to(sums)
        return replace(
            self,
            clips=(sums / counts[:, None]).to(self.device),
            offsets=np.arange(len(self) + 1),
            audio=None,
            audio_header=None,
            seconds=None,
            frames=None,
        )

    def with_terms(self, terms: Mapping[str, Sequence[int]]) -> FeatureSet:
        """Category -> which texts are those of its stages, and of the whole, as `Batch.terms` has them."""
        width = len(next(iter(terms.values())))
        return replace(self, terms=np.array([terms.get(name, (-1,) * width) for name in self.categories], np.int64))

    def batch(self, rows: Sequence[int], clips: np.ndarray, mask: np.ndarray, targets01: np.ndarray) -> Batch:
        """The numbered clips of each video, int `(batch, clips)`; zeros where the mask, of the same shape, is False."""
        device = self.device
        index = np.where(mask, self.offsets[rows][:, None] + clips, 0)
        mask_tensor = torch.from_numpy(mask).to(device)
        target = torch.from_numpy(np.asarray(targets01, np.float32)).to(device)
        tables = [self.clips] if self.audio is None else [self.clips, self.audio]
        found = [gather(table, index, mask_tensor) for table in tables]
        made = Batch(found[0], mask_tensor, target, tuple(int(row) for row in rows), *found[1:])
        if self.needs.columns:
            made = replace(made, scores=torch.from_numpy(self.columns(np.asarray(rows))).to(device))
        if self.seconds is None:
            return made
        seconds = self.seconds[index]
        last = seconds[np.arange(len(mask)), mask.sum(1) - 1, 1]
        return replace(
            made,
            seconds=torch.from_numpy(np.where(mask[..., None], seconds, 0.0).astype(np.float32)).to(device),
            second_stream=None if self.frames is None else self.frames.within(rows, seconds[:, 0, 0], last, device),
            boundaries=None
            if self.boundaries is None
            else torch.from_numpy(self.boundaries[rows].astype(np.float32)).to(device),
            terms=None if self.terms is None else torch.from_numpy(self.terms[rows]).to(device),
        )

    def compared(self, batch: Batch, places: np.ndarray, choose: Callable[[np.ndarray], Clips]) -> Batch:
        """The batch beside exemplars at places of the pool, int `(batch, voters)`, of which `choose` takes the clips."""
        pool = self.exemplars.pool
        there, index = np.unique(places[places >= 0], return_inverse=True)
        voters = np.full(places.shape, -1)
        voters[places >= 0] = index
        clips, mask = choose(pool.data.num_clips[pool.rows[there]])
        exemplar = pool.data.batch(pool.rows[there], clips, mask, pool.targets01[there])
        return replace(batch, exemplar=exemplar, voters=torch.from_numpy(voters).to(batch.clips.device))

    def voted(self, batch: Batch, window: int, test_window: str) -> Batch:
        """A batch for testing beside those that vote; the same batch for a head that does not compare."""
        if self.exemplars is None:
            return batch
        places = self.exemplars.vote(np.array(batch.rows))
        return self.compared(batch, places, partial(clips_of_test, window=window, test_window=test_window))

    def train_batches(
        self,
        rows: np.ndarray,
        targets01: np.ndarray,
        *,
        window: int,
        batch_size: int,
        rng: np.random.Generator,
        sampling: str = CONTIGUOUS,
    ) -> Iterator[Batch]:
        """One epoch in random order. A video longer than `window` clips gives `window` of them: a random contiguous stretch,
        which may be its last, or one random clip out of each of `window` equal parts (Wang et al., TSN, ECCV 2016). A
        shorter one is padded at the end to `window`.

        A last batch of a single video is joined to the one before, since batch statistics need more than one.
        """
        self.require(rows, self.needs.columns)
        order = rng.permutation(len(rows))
        cuts = list(range(batch_size, len(rows), batch_size))
        if cuts and len(rows) - cuts[-1] == 1:
            cuts.pop()
        choose = partial(clips_of_training, window=window, rng=rng, sampling=sampling)
        for chosen in np.split(order, cuts):
            made = self.batch(rows[chosen], *choose(self.num_clips[rows[chosen]]), targets01[chosen])
            if self.exemplars is not None:
                made = self.compared(made, self.exemplars.draw(rows[chosen], rng), choose)
            yield made

    def test_batches(
        self, rows: np.ndarray, targets01: np.ndarray, *, window: int, test_window: str, batch_size: int
    ) -> Iterator[Batch]:
        """Every video once: whole, or its centre window of `window` clips. Videos of similar length share a batch; for a head that
        sees padding only those of equal length do, so that no score depends on which videos happen to be beside it."""
        self.require(rows, self.needs.scores)
        counts = self.num_clips[rows]
        order = np.argsort(counts, kind="stable")
        groups = [order]
        if self.needs.sees_padding and test_window == WHOLE:
            groups = np.split(order, np.flatnonzero(np.diff(counts[order])) + 1)
            # Exemplars are padded to the longest of all that vote in a batch.
            batch_size = batch_size if self.exemplars is None else 1
        for group in groups:
            for begin in range(0, len(group), batch_size):
                chosen = group[begin : begin + batch_size]
                clips = clips_of_test(counts[chosen], window, test_window)
                yield self.voted(self.batch(rows[chosen], *clips, targets01[chosen]), window, test_window)


def as_many(boundaries: np.ndarray, number: int) -> np.ndarray:
    """Boundaries `(videos, any)` -> `(videos, number)`: nan where a video has fewer, and all nan where it has more, since its stages are
    others then."""
    made = np.full((len(boundaries), number), np.nan)
    shared = min(number, boundaries.shape[1])
    fits = np.isnan(boundaries[:, number:]).all(axis=1)
    made[fits, :shared] = boundaries[fits, :shared]
    return made


def free_bytes(device: torch.device) -> float:
    """Of the memory of a GPU; of the machine's own, no end, since features are in it already."""
    if device.type != "cuda":
        return float("inf")
    return torch.cuda.mem_get_info(torch.cuda.current_device() if device.index is None else device)[0]


Clips = tuple[np.ndarray, np.ndarray]
"""Numbers of clips, int `(videos, clips)`, and their mask."""


def clips_of_training(counts: np.ndarray, window: int, rng: np.random.Generator, sampling: str) -> Clips:
    """At random, as `FeatureSet.train_batches` says."""
    steps = np.arange(window)
    lengths = np.minimum(counts, window)
    mask = steps[None] < lengths[:, None]
    if sampling != SPREAD:
        return rng.integers(0, counts - lengths + 1)[:, None] + steps[None], mask
    edges = np.linspace(0, counts, window + 1, axis=1)
    drawn = edges[:, :-1] + rng.uniform(size=mask.shape) * np.diff(edges, axis=1)
    # The largest product can round up to the edge itself.
    drawn = np.minimum(drawn.astype(int), counts[:, None] - 1)
    return np.where((counts > window)[:, None], drawn, steps[None]), mask


def clips_of_test(counts: np.ndarray, window: int, test_window: str) -> Clips:
    """The whole video, or its centre window."""
    lengths = np.minimum(counts, window) if test_window == CENTRE else counts
    steps = np.arange(window if test_window == CENTRE else lengths.max())
    return ((counts - lengths) // 2)[:, None] + steps[None], steps[None] < lengths[:, None]


def _the_other(store: Store, audio: str) -> str | None:
    """The one stream beside the sound, so that `--audio ast` alone is enough where there are two."""
    others = [stream.name for stream in store.streams if stream.name != store.stream(audio).name]
    return others[0] if len(others) == 1 else None
