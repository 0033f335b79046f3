"""What the pages show of a store: its facts, and its videos as a table. Plain data, ready for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from longtake.errors import LongtakeError
from longtake.features.catalog.walk import Found
from longtake.features.store import Store, open_store
from longtake.features.tools.inspect import describe
from longtake.features.types import OK

FAILED_CODE, MISSING_CODE = -1, -2
"""In the place of a number of clips."""
MOST_MESSAGE = 300
"""Characters of a failure's message."""
BLOCK_VIDEOS = 4000
"""Videos of one file of data."""


@dataclass(frozen=True)
class StreamRow:
    name: str
    backbone: str
    recipe_id: str
    dim: int
    dtype: str
    ok: int
    failed: int
    missing: int
    clips: int
    random: bool
    licence: str | None


@dataclass(frozen=True)
class StoreRow:
    """A store; with a `fault`, one that cannot be read."""

    name: str
    place: str
    """As commands take it."""
    fault: str = ""
    dataset: str = ""
    title: str | None = None
    licence: str | None = None
    created: str = ""
    bytes: int | None = None
    labelled: int = 0
    videos: int = 0
    """With labels, features or a failure."""
    lacking: int = 0
    """Videos that lack a stream that the store has."""
    categories: list[list[Any]] = field(default_factory=list)
    """Pairs of name and number of videos, as the three below."""
    splits: list[list[Any]] = field(default_factory=list)
    scores: list[list[Any]] = field(default_factory=list)
    groups: list[list[Any]] = field(default_factory=list)
    texts: list[list[Any]] = field(default_factory=list)
    """Name, encoder, width, and whether its weights are random."""
    streams: list[StreamRow] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    """First and last file of data that have its videos."""


@dataclass(frozen=True)
class VideoTable:
    """Videos of one store by columns; values of text columns that repeat are numbers in a list of the different ones."""

    store: int
    first: int
    """Row of the first one in the store."""
    ids: list[str]
    category: list[Any]
    """The different values, and one number for each video."""
    split: list[Any]
    scores: list[Any]
    """Pairs of name and values; null where a score is missing."""
    groups: list[Any]
    """Triples of name, the different values, and one number for each video."""
    seconds: list[float | None]
    source: list[str]
    """File names without folders."""
    streams: list[list[int]]
    """For each stream of the store the number of clips of each video, `FAILED_CODE` or `MISSING_CODE`."""
    failures: list[list[Any]]
    """Row in this table, stream, stage, and message."""
    recipes: list[Any]
    """For each stream, pairs of field and value; with the first videos of a store alone."""

    def __len__(self) -> int:
        return len(self.ids)

    def piece(self, begin: int, end: int) -> VideoTable:
        """The videos `[begin, end)` of the table."""
        cut = slice(begin, end)
        return VideoTable(
            self.store, self.first + begin, self.ids[cut],
            [self.category[0], self.category[1][cut]], [self.split[0], self.split[1][cut]],
            [[name, values[cut]] for name, values in self.scores],
            [[name, known, codes[cut]] for name, known, codes in self.groups],
            self.seconds[cut], self.source[cut], [codes[cut] for codes in self.streams],
            [[row - begin, *rest] for row, *rest in self.failures if begin <= row < end],
            self.recipes if begin == 0 else [],
        )  # fmt: skip


def read_store(found: Found, number: int) -> tuple[StoreRow, VideoTable | None]:
    """The facts of a store, and its videos; of one that cannot be read, the reason. `number` is its place in the table of stores."""
    place = str(found.place)
    if found.fault:
        return StoreRow(found.name, place, found.fault), None
    try:
        with open_store(found.place) as store:
            return _row(found, store), _videos(store, number)
    except LongtakeError as error:
        reason = str(error).replace(place, Path(found.name).name)
    except (OSError, MemoryError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
    return StoreRow(found.name, place, reason[:MOST_MESSAGE]), None


def _row(found: Found, store: Store) -> StoreRow:
    facts = describe(store)
    labelled = set(store.labels.video_ids)
    held = [{r.video_id for r in stream.records if r.status == OK} for stream in store.streams]
    every = labelled.union(*({record.video_id for record in stream.records} for stream in store.streams))
    streams = [
        StreamRow(
            one["name"],
            one["recipe"]["backbone"],
            stream.header.recipe_id,
            stream.header.dim,
            one["dtype"],
            one["videos"],
            len(one["failed"]),
            len(every) - one["videos"] - len(one["failed"]),
            one["clips"],
            stream.header.weights_random,
            one["weights_licence"],
        )  # fmt: skip
        for one, stream in zip(facts["streams"], store.streams)
    ]
    return StoreRow(
        found.name, str(found.place), "", facts["dataset"], facts["title"], facts["licence"], facts["created_utc"], facts["bytes"],
        facts["videos_labelled"], len(every), sum(not all(video in ids for ids in held) for video in every),
        _pairs(facts["categories"]), _pairs(facts["splits"]), _pairs(facts["scores"]),
        [[name, one["of"]] for name, one in facts["groups"].items()],
        [[text["name"], text["encoder"], text["dim"], text["weights_random"]] for text in facts["text"]],
        streams,
    )  # fmt: skip


def _pairs(counts: dict[str, int]) -> list[list[Any]]:
    return [[name, count] for name, count in counts.items()]


def _videos(store: Store, number: int) -> VideoTable:
    labels = store.labels
    # Those of the labels, in their order, then those that have features alone.
    ids = list(dict.fromkeys([*labels.video_ids, *(r.video_id for stream in store.streams for r in stream.records)]))
    row_of = {video_id: row for row, video_id in enumerate(ids)}
    more = len(ids) - len(labels)
    seconds: list[float | None] = [None] * len(ids)
    source = [""] * len(ids)
    codes = [[MISSING_CODE] * len(ids) for _ in store.streams]
    failures: list[list[Any]] = []
    for place, stream in enumerate(store.streams):
        for record, clips in zip(stream.records, stream.counts):
            row = row_of[record.video_id]
            codes[place][row] = clips if record.status == OK else FAILED_CODE
            source[row] = source[row] or record.source_name
            if seconds[row] is None and np.isfinite(record.duration_seconds):
                seconds[row] = round(float(record.duration_seconds), 2)
            if record.status != OK:
                message = f"{record.error_type}: {record.error_message}"[:MOST_MESSAGE]
                failures.append([row, place, record.error_stage, message])
    scores = [
        [name, [*map(_number, labels.scores[:, column]), *[None] * more]]
        for column, name in enumerate(labels.score_names)
    ]
    recipes = [[[name, _shown(value)] for name, value in stream.header.to_dict().items()] for stream in store.streams]
    return VideoTable(
        number, 0, ids, _coded([*labels.categories, *[""] * more]), _coded([*labels.splits, *[""] * more]), scores,
        [[name, *_coded([*values, *[""] * more])] for name, values in labels.groups.items()],
        seconds, source, codes, failures, recipes,
    )  # fmt: skip


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _shown(value: object) -> str:
    return "unknown" if value is None else str(value)


def _coded(values: Sequence[str]) -> list[Any]:
    known = {value: code for code, value in enumerate(dict.fromkeys(values))}
    return [list(known), [known[value] for value in values]]


def blocks(tables: Iterator[VideoTable]) -> Iterator[list[VideoTable]]:
    """Pieces of the tables in lists of `BLOCK_VIDEOS` videos."""
    block: list[VideoTable] = []
    room = BLOCK_VIDEOS
    for table in tables:
        begin = 0
        while begin < len(table) or (begin == 0 and not len(table)):
            piece = table.piece(begin, begin + room)
            block.append(piece)
            begin, room = begin + max(len(piece), 1), room - len(piece)
            if room <= 0:
                yield block
                block, room = [], BLOCK_VIDEOS
    if block:
        yield block
