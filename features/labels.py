"""Labels of videos as a store keeps them, and how two sets of labels are joined or compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np

from longtake.collector import paused_collector
from longtake.features.errors import InvalidFeatures
from longtake.manifests.table import (
    GROUP_PREFIX,
    SCORE_PREFIX,
    Manifest,
    ManifestRow,
    boundary_column,
    is_group_name,
)


@dataclass(frozen=True, slots=True)
class LabelRow:
    """The labels of one video."""

    split: str
    category: str
    scores: dict[str, float]
    """In judges' units; a missing score has no entry."""
    boundaries: tuple[float, ...] = ()
    """Seconds; see `Labels`."""
    groups: dict[str, str] = field(default_factory=dict)
    """Name of a group -> which one; an unknown one has no entry."""


NO_LABELS = LabelRow("", "", {})


@dataclass(frozen=True, repr=False)
class Labels:
    """The facts of a manifest, one row per video: what a trainer needs in addition to the features."""

    video_ids: tuple[str, ...]
    splits: tuple[str, ...]
    """Empty text if the manifest has no split for the video."""
    categories: tuple[str, ...]
    score_names: tuple[str, ...]
    scores: np.ndarray
    """float64, `(videos, scores)`, in judges' units; nan where missing."""
    boundaries: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """float64, `(videos, boundaries)`: the seconds at which one stage of a performance ends and the next begins, in the clock of the
    clips; ascending, nan after the last boundary of a video. The default becomes `(videos, 0)`."""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name of a group, such as `skater` or `event`, -> which one each video is of; empty text where it is unknown."""

    def __post_init__(self) -> None:
        shape = (len(self.video_ids), len(self.score_names))
        if self.boundaries.shape == (0, 0):
            object.__setattr__(self, "boundaries", np.zeros((shape[0], 0)))
        if self.scores.shape != shape or len(self.splits) != shape[0] or len(self.categories) != shape[0]:
            raise InvalidFeatures(f"labels of {shape[0]} videos and {shape[1]} scores, but scores {self.scores.shape}")
        if np.isinf(self.scores).any():
            raise InvalidFeatures(f"the score of {self.video_ids[np.isinf(self.scores).any(1).argmax()]} is infinite")
        if not _all_differ(self.video_ids):
            raise InvalidFeatures("labels name a video twice")
        if self.boundaries.ndim != 2 or len(self.boundaries) != shape[0]:
            raise InvalidFeatures(f"labels of {shape[0]} videos, but boundaries {self.boundaries.shape}")
        # Each boundary is later than the one before, or it and all after it are missing.
        before, after = self.boundaries[:, :-1], self.boundaries[:, 1:]
        if np.isinf(self.boundaries).any() or not ((after > before) | np.isnan(after)).all():
            raise InvalidFeatures("boundaries of stages that do not ascend")
        for name, values in self.groups.items():
            if not is_group_name(name) or len(values) != shape[0]:
                raise InvalidFeatures(f"labels of {shape[0]} videos, but a group {name[:200]!r} of {len(values)}")

    def __len__(self) -> int:
        return len(self.video_ids)

    @property
    def has_any(self) -> bool:
        return bool(self.video_ids or self.score_names or self.boundaries.shape[1] or self.groups)

    def equals(self, other: Labels) -> bool:
        same = self.video_ids, self.splits, self.categories, self.score_names, self.groups
        theirs = other.video_ids, other.splits, other.categories, other.score_names, other.groups
        numbers = (self.scores, other.scores), (self.boundaries, other.boundaries)
        return self is other or (
            same == theirs and all(np.array_equal(one, two, equal_nan=True) for one, two in numbers)
        )

    def covers(self, other: Labels) -> bool:
        """Whether these have a value wherever the others may have one."""
        return (
            len(other) <= len(self)
            and len(self.known(other.video_ids)) == len(other)
            and set(other.score_names) <= set(self.score_names)
            and other.groups.keys() <= self.groups.keys()
            and all(map(all, (self.splits, self.categories, *self.groups.values())))
            and not np.isnan(self.scores).any()
            and (not other.boundaries.shape[1] or bool(np.isfinite(self.boundaries).any(axis=1).all()))
        )

    def __repr__(self) -> str:
        return f"Labels({len(self)} videos, scores {', '.join(self.score_names) or 'none'})"

    @property
    def texts(self) -> dict[str, tuple[str, ...]]:
        """Name of a column of text -> values of all videos."""
        texts = {"video_id": self.video_ids, "split": self.splits, "category": self.categories}
        return texts | {GROUP_PREFIX + name: values for name, values in self.groups.items()}

    def to_columns(self) -> dict[str, Sequence[object]]:
        """Name -> values of all videos, as in a manifest."""
        facts: dict[str, Sequence[object]] = {**self.texts}
        facts |= {SCORE_PREFIX + name: self.scores[:, i].tolist() for i, name in enumerate(self.score_names)}
        return facts | {boundary_column(i + 1): self.boundaries[:, i].tolist() for i in range(self.boundaries.shape[1])}

    def row(self, index: int) -> LabelRow:
        scores = {n: float(s) for n, s in zip(self.score_names, self.scores[index]) if not np.isnan(s)}
        boundaries = tuple(float(b) for b in self.boundaries[index] if not np.isnan(b))
        groups = {name: values[index] for name, values in self.groups.items() if values[index]}
        return LabelRow(self.splits[index], self.categories[index], scores, boundaries, groups)

    def rows(self) -> dict[str, LabelRow]:
        """video_id -> its labels."""
        return {video_id: self.row(index) for index, video_id in enumerate(self.video_ids)}

    def known(self, video_ids: Iterable[str]) -> set[str]:
        """Those of these videos that have labels."""
        wanted = set(video_ids)
        return {video_id for video_id in self.video_ids if video_id in wanted}

    def order_of(self, video_ids: Sequence[str]) -> list[int]:
        """Indices that put these videos in the order of the labels; those without labels follow, by id."""
        wanted, last = set(video_ids), len(self)
        place = {video_id: row for row, video_id in enumerate(self.video_ids) if video_id in wanted}
        keys = sorted((place.get(video_id, last), video_id, index) for index, video_id in enumerate(video_ids))
        return [index for _, _, index in keys]

    def subset(self, indices: Sequence[int]) -> Labels:
        """These videos in this order, none twice. Boundaries and groups that none of them has are left out; the first video with a group
        decides where that group stands."""
        rows = np.asarray(indices, int)
        boundaries = self.boundaries[rows]
        groups = {name: _at(values, indices) for name, values in self.groups.items()}
        first = {
            name: next((row for row, value in enumerate(values) if value), None) for name, values in groups.items()
        }
        names = sorted((row, place, name) for place, (name, row) in enumerate(first.items()) if row is not None)
        return Labels(
            _at(self.video_ids, indices), _at(self.splits, indices), _at(self.categories, indices), self.score_names, self.scores[rows],
            boundaries[:, ~np.isnan(boundaries).all(axis=0)], {name: groups[name] for *_, name in names},
        )  # fmt: skip


def _at(values: Sequence[str], indices: Sequence[int]) -> tuple[str, ...]:
    return tuple(values[index] for index in indices)


@paused_collector()
def labels_of(manifest: Manifest) -> Labels:
    """A manifest as a store keeps it."""
    rows = {row.video_id: row for row in manifest.rows}
    return labels_of_rows(rows, manifest.score_names)


def no_labels() -> Labels:
    return labels_of_rows({}, ())


def labels_of_rows(rows: Mapping[str, LabelRow | ManifestRow], score_names: Sequence[str]) -> Labels:
    """Of videos by id. Raises `InvalidFeatures`."""
    boundaries = np.full((len(rows), max((len(row.boundaries) for row in rows.values()), default=0)), np.nan)
    for index, row in enumerate(rows.values()):
        if row.boundaries:
            boundaries[index, : len(row.boundaries)] = row.boundaries
    group_names = dict.fromkeys(name for row in rows.values() for name in row.groups)
    scores = [[row.scores.get(name, np.nan) for name in score_names] for row in rows.values()]
    return Labels(
        tuple(rows),
        tuple(row.split or "" for row in rows.values()),
        tuple(row.category or "" for row in rows.values()),
        tuple(score_names),
        np.array(scores, dtype=float).reshape(len(rows), len(score_names)),
        boundaries,
        {name: tuple(row.groups.get(name, "") for row in rows.values()) for name in group_names},
    )


@paused_collector()
def combine_labels(*newest_first: Labels) -> Labels:
    """All videos of all arguments. Where several label a video, the newest value that is not missing counts. Columns of scores, boundaries
    and groups are joined."""
    newest_first = tuple(labels for labels in newest_first if labels.has_any) or newest_first[:1]
    newest = newest_first[0]
    if all(labels.equals(newest) or newest.covers(labels) for labels in newest_first[1:]):
        return newest
    if _all_differ(*(labels.video_ids for labels in newest_first)):
        return _appended(newest_first)
    rows: dict[str, LabelRow] = {}
    for labels in newest_first:
        for video_id, old in labels.rows().items():
            new = rows.get(video_id, NO_LABELS)
            # The boundaries of a video are one list: lists of two labellings are not mixed.
            rows[video_id] = LabelRow(
                new.split or old.split, new.category or old.category, old.scores | new.scores,
                new.boundaries or old.boundaries, old.groups | new.groups,
            )  # fmt: skip
    return labels_of_rows(rows, tuple(dict.fromkeys(name for labels in newest_first for name in labels.score_names)))


def _all_differ(*sets: Sequence[str]) -> bool:
    """Whether no text is there twice. Hashes tell it in most cases: they take 8 bytes a text where a set takes 40."""
    count = sum(map(len, sets))
    hashes = np.sort(np.fromiter(map(hash, chain.from_iterable(sets)), np.int64, count))
    return bool((hashes[1:] != hashes[:-1]).all()) or len(set(chain.from_iterable(sets))) == count


def _appended(sets: Sequence[Labels]) -> Labels:
    """All of several sets that have no video in common, by columns: a row as an object takes half a kilobyte."""
    score_names = tuple(dict.fromkeys(name for labels in sets for name in labels.score_names))
    group_names = dict.fromkeys(name for labels in sets for name, values in labels.groups.items() if any(values))
    scores = np.full((sum(map(len, sets)), len(score_names)), np.nan)
    boundaries = np.full((len(scores), max(labels.boundaries.shape[1] for labels in sets)), np.nan)
    first = 0
    for labels in sets:
        rows = slice(first, first + len(labels))
        for index, name in enumerate(labels.score_names):
            scores[rows, score_names.index(name)] = labels.scores[:, index]
        boundaries[rows, : labels.boundaries.shape[1]] = labels.boundaries
        first = rows.stop
    return Labels(
        tuple(chain.from_iterable(labels.video_ids for labels in sets)),
        tuple(chain.from_iterable(labels.splits for labels in sets)),
        tuple(chain.from_iterable(labels.categories for labels in sets)),
        score_names,
        scores,
        boundaries,
        {
            name: tuple(chain.from_iterable(labels.groups.get(name, ("",) * len(labels)) for labels in sets))
            for name in group_names
        },
    )


def label_conflicts(one: Labels, other: Labels) -> list[str]:
    """One line per video that both label, with different values. A group that only one of them has, as only newer stores have any, is no
    conflict."""
    shared = one.groups.keys() & other.groups.keys()
    ours, theirs = (
        {name: replace(row, groups={g: v for g, v in row.groups.items() if g in shared}) for name, row in rows.items()}
        for rows in (one.rows(), other.rows())
    )
    return [
        f"{video_id}: {_shown(row)} against {_shown(theirs[video_id])}"
        for video_id, row in ours.items()
        if video_id in theirs and row != theirs[video_id]
    ]


def _shown(row: LabelRow) -> str:
    numbers = [f"{name} {value}" for name, value in row.groups.items()]
    numbers += [f"{name} {value:.8g}" for name, value in row.scores.items()]
    numbers += [f"boundary {number} {value:.8g}" for number, value in enumerate(row.boundaries, 1)]
    return ", ".join(part for part in (row.split, row.category, *numbers) if part) or "nothing"
