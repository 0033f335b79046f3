"""A feature store as its users see it, whatever the file format: open, look, read; and compose a new one from others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np

from features.errors import NotAStore, NotInStore, StoreConflict
from features.types import FeatureHeader, Labels, TextFeatures, VideoFeatures, VideoRecord
from manifests.card import Card

STORES = {".h5": "features.hdf5", ".hdf5": "features.hdf5"}
"""File suffix -> module with `open_<format>` and `write_<format>`."""


class ArrayLike(Protocol):
    """What a stream needs of its table of features: numpy, HDF5 and Zarr arrays all have it."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, key: slice) -> np.ndarray: ...


@dataclass(frozen=True)
class Stream:
    """The features of one backbone by one recipe."""

    header: FeatureHeader
    records: tuple[VideoRecord, ...]
    offsets: np.ndarray
    """int64, `(videos + 1,)`: video i has the rows `offsets[i]:offsets[i + 1]`."""
    start_seconds: np.ndarray
    end_seconds: np.ndarray
    checksums: tuple[str, ...]
    table: ArrayLike
    """`(total_clips, dim)`, still on disk."""

    @property
    def name(self) -> str:
        return f"{self.header.backbone}@{self.header.recipe_id}"

    @property
    def num_clips(self) -> int:
        return int(self.offsets[-1])

    def index(self) -> dict[str, int]:
        return {record.video_id: row for row, record in enumerate(self.records)}

    def read(self, row: int) -> VideoFeatures:
        """One video by its row; touches that video's bytes only."""
        begin, end = int(self.offsets[row]), int(self.offsets[row + 1])
        times = slice(begin, end)
        return VideoFeatures(
            self.records[row], np.asarray(self.table[times]), self.start_seconds[times], self.end_seconds[times]
        )

    def read_all(self) -> np.ndarray:
        """`(total_clips, dim)` in one read."""
        return np.asarray(self.table[0 : self.num_clips])


@dataclass(frozen=True)
class Store:
    """An open store. Use it as a context manager, or call `close`."""

    path: Path
    dataset: str
    card_json: str
    created_utc: str
    labels: Labels
    streams: tuple[Stream, ...]
    texts: tuple[TextFeatures, ...]
    close: Callable[[], None]

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def card(self) -> Card | None:
        return None if self.card_json == "null" else Card.from_json(self.card_json)

    def stream(self, choice: str | None = None) -> Stream:
        """The stream of `backbone` or `backbone@recipe`; None when the store has just one.

        Raises `NotInStore` when it is missing or when the choice leaves several.
        """
        have = ", ".join(stream.name for stream in self.streams) or "none"
        backbone, _, recipe = (choice or "").partition("@")
        found = [
            stream
            for stream in self.streams
            if (not backbone or stream.header.backbone == backbone) and stream.header.recipe_id.startswith(recipe)
        ]
        if not found:
            wanted = f"features of {choice!r}" if choice else "features"
            raise NotInStore(f"{self.path} holds no {wanted}; it holds {have}")
        if len(found) > 1:
            raise NotInStore(
                f"{self.path} holds several streams: {have}. Choose one with --backbone NAME or NAME@RECIPE"
            )
        return found[0]

    def text(self, name: str) -> TextFeatures:
        """The prompt set of `name` or `name@recipe`. Raises `NotInStore` as `stream` does."""
        have = ", ".join(f"{text.name}@{text.header.recipe_id}" for text in self.texts) or "none"
        wanted, _, recipe = name.partition("@")
        found = [t for t in self.texts if t.name == wanted and t.header.recipe_id.startswith(recipe)]
        if not found:
            raise NotInStore(
                f"{self.path} holds no text features of the prompt set {name!r}; it holds {have}. "
                f"Add them with: extract text --dataset {self.dataset} --out {self.path}"
            )
        if len(found) > 1:
            raise NotInStore(f"{self.path} holds several prompt sets {wanted!r}: {have}. Choose one as NAME@RECIPE")
        return found[0]


@dataclass(frozen=True)
class StreamItem:
    """One video on its way into a store; its features are read when they are written, not before."""

    record: VideoRecord
    num_clips: int
    read: Callable[[], VideoFeatures]


@dataclass(frozen=True)
class StreamPlan:
    header: FeatureHeader
    dtype: np.dtype
    items: Sequence[StreamItem]


def check_store_name(path: Path) -> None:
    """Raises `NotAStore` when no kind of store has this ending. Work that ends in a store begins with this."""
    _module(path)


def _module(path: Path):
    module = STORES.get(path.suffix)
    if module is None:
        known = ", ".join(STORES)
        raise NotAStore(f"{path}: a store's name ends in one of {known}, got {path.suffix or 'no ending'!r}")
    return import_module(module)


def open_store(path: str | Path) -> Store:
    """Open a store for reading. Raises `NotAStore` with one line that says what is wrong."""
    return _module(Path(path)).open_hdf5(Path(path))


def write_store(
    path: str | Path,
    *,
    dataset: str,
    card: Card | None,
    labels: Labels,
    streams: Iterable[StreamPlan],
    texts: Iterable[TextFeatures] = (),
) -> None:
    """Publish a whole store at `path` by one rename; see the format's module."""
    path = Path(path)
    module = _module(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    module.write_hdf5(
        path,
        dataset=dataset,
        card_json="null" if card is None else card.to_json(),
        labels=labels,
        streams=list(streams),
        texts=list(texts),
    )


def items_of(stream: Stream) -> list[StreamItem]:
    """Every video of a stream, ready to be written elsewhere."""
    counts = np.diff(stream.offsets)
    return [
        StreamItem(record, int(counts[row]), lambda row=row: stream.read(row))
        for row, record in enumerate(stream.records)
    ]


def combine_labels(older: Labels, newer: Labels) -> Labels:
    """All videos of both; where both know one, the newer says. Score columns are joined."""
    names = tuple(dict.fromkeys((*newer.score_names, *older.score_names)))
    rows: dict[str, tuple[str, str, np.ndarray]] = {}
    for labels in (newer, older):
        columns = [names.index(name) for name in labels.score_names]
        for index, video_id in enumerate(labels.video_ids):
            if video_id not in rows:
                scores = np.full(len(names), np.nan)
                scores[columns] = labels.scores[index]
                rows[video_id] = (labels.splits[index], labels.categories[index], scores)
    table = np.array([scores for _, _, scores in rows.values()]).reshape(len(rows), len(names))
    return Labels(
        tuple(rows), tuple(s for s, _, _ in rows.values()), tuple(c for _, c, _ in rows.values()), names, table
    )


def label_conflicts(one: Labels, other: Labels) -> list[str]:
    """What two sets of labels say differently about the same videos, a line each."""
    rows = {video_id: index for index, video_id in enumerate(other.video_ids)}
    found = []
    for index, video_id in enumerate(one.video_ids):
        if video_id in rows and one.row(index) != other.row(rows[video_id]):
            found.append(f"{video_id}: {one.row(index)} against {other.row(rows[video_id])}")
    return found


def require_no_conflicts(conflicts: list[str], what: str) -> None:
    if conflicts:
        shown = "\n  ".join(conflicts[:20])
        more = f"\n  and {len(conflicts) - 20} more" if len(conflicts) > 20 else ""
        raise StoreConflict(f"{what} differ for {len(conflicts)} videos:\n  {shown}{more}")
