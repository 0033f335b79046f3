"""Labels and tables of videos as texts of JSON, and back. What comes back is untrusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from longtake.checks import LARGEST, build, read_json
from longtake.errors import LongtakeError
from longtake.features.columns import NUMBER_FIELDS, TEXT_FIELDS
from longtake.features.errors import InvalidFeatures, NotAStore
from longtake.features.labels import Labels
from longtake.features.remotes.pieces import Piece, check_sha256, json_bytes, null_for_nan
from longtake.features.types import OK, VideoRecord
from longtake.manifests.table import check_video_id, is_group_name

MOST_CLIPS = 1 << 31


def require_texts(values: Iterable[object], what: str) -> None:
    """Raise `InvalidFeatures` for anything that a store cannot hold as text: other types, NUL, halves of characters."""
    texts = list(values)
    if set(map(type, texts)) - {str}:
        raise InvalidFeatures(f"{what} has values that are not texts")
    joined = "".join(texts)  # type: ignore[arg-type]
    try:
        joined.encode()
    except UnicodeEncodeError as error:
        raise InvalidFeatures(f"{what} has a text that is not Unicode") from error
    if "\0" in joined:
        raise InvalidFeatures(f"{what} has a text with a NUL")


def _require_numbers(values: Iterable[object], what: str, low: float, high: float, *, whole: bool = False) -> None:
    found = list(values)
    if set(map(type, found)) - ({int} if whole else {int, float, type(None)}):
        raise InvalidFeatures(f"{what} has values that are not {'whole ' if whole else ''}numbers")
    numbers = [value for value in found if value is not None]
    if numbers and not (low <= min(numbers) and max(numbers) <= high):  # type: ignore[type-var, operator]
        raise InvalidFeatures(f"{what} has a number outside {low:g} to {high:g}")


@dataclass(frozen=True)
class _Labels:
    video_ids: tuple
    splits: tuple
    categories: tuple
    score_names: tuple[str, ...]
    scores: tuple[tuple, ...]
    boundaries: tuple[tuple, ...]
    groups: dict[str, tuple]

    def __post_init__(self) -> None:
        for what, texts in (("video_ids", self.video_ids), ("splits", self.splits), ("categories", self.categories),
                            ("score_names", self.score_names), *self.groups.items()):  # fmt: skip
            require_texts(texts, what)
        for video_id in self.video_ids:
            check_video_id(video_id)
        if wrong := [name for name in self.groups if not is_group_name(name)]:
            raise InvalidFeatures(f"a group named {wrong[0][:200]!r}")
        columns = (self.video_ids, self.splits, self.categories, self.scores, self.boundaries, *self.groups.values())
        if len({len(column) for column in columns}) > 1:
            raise InvalidFeatures("its columns have different lengths")
        if {len(row) for row in self.scores} - {len(self.score_names)} or len({len(b) for b in self.boundaries}) > 1:
            raise InvalidFeatures("its rows have different lengths")
        for what, rows in (("scores", self.scores), ("boundaries", self.boundaries)):
            _require_numbers((value for row in rows for value in row), what, -LARGEST, LARGEST)


def labels_bytes(labels: Labels) -> bytes:
    return json_bytes(
        {
            "video_ids": labels.video_ids, "splits": labels.splits, "categories": labels.categories,
            "score_names": labels.score_names, "scores": null_for_nan(labels.scores),
            "boundaries": null_for_nan(labels.boundaries), "groups": {k: list(v) for k, v in labels.groups.items()},
        }
    )  # fmt: skip


def labels_from(data: bytes, where: str) -> Labels:
    """Raises `NotAStore`."""
    found = build(_Labels, read_json(data, where, NotAStore), where, NotAStore)
    num_videos = len(found.video_ids)
    num_boundaries = len(found.boundaries[0]) if num_videos else 0
    try:
        return Labels(
            found.video_ids, found.splits, found.categories, found.score_names,
            np.array(found.scores, float).reshape(num_videos, len(found.score_names)),
            np.array(found.boundaries, float).reshape(num_videos, num_boundaries), dict(found.groups),
        )  # fmt: skip
    except InvalidFeatures as error:
        raise NotAStore(f"{where}: {error}") from error


@dataclass(frozen=True)
class VideoRow:
    """A video of a stream on a remote."""

    record: VideoRecord
    features_sha256: str
    num_clips: int
    piece: Piece | None
    """None for a video without clips."""

    @property
    def identity(self) -> str:
        """Equal for equal content, wherever the bytes are. A text, because nan differs from itself."""
        return f"{self.record!r} {self.features_sha256} {self.num_clips} {self.piece.sha256 if self.piece else ''}"


@dataclass(frozen=True)
class _Rows:
    columns: dict[str, tuple]
    features_sha256: tuple
    num_clips: tuple
    packs: tuple[str, ...]
    pack: tuple
    offset: tuple
    sha256: tuple

    def __post_init__(self) -> None:
        own = {"num_clips": self.num_clips, "pack": self.pack, "offset": self.offset}
        if (
            len({len(column) for column in (*own.values(), self.features_sha256, self.sha256, *self.columns.values())})
            > 1
        ):
            raise InvalidFeatures("its columns have different lengths")
        for required in ("video_id", "status"):
            if required not in self.columns:
                raise InvalidFeatures(f"the column {required} is missing")
        for name, values in self.columns.items():
            if name in TEXT_FIELDS:
                require_texts(values, name)
            elif name in NUMBER_FIELDS:
                _require_numbers(values, name, -LARGEST, LARGEST)
        require_texts((*self.features_sha256, *self.sha256), "sha256")
        _require_numbers(self.num_clips, "num_clips", 0, MOST_CLIPS, whole=True)
        _require_numbers(self.pack, "pack", -1, len(self.packs) - 1, whole=True)
        _require_numbers(self.offset, "offset", 0, 1 << 40, whole=True)
        for name in self.packs:
            check_sha256(name)


def rows_bytes(rows: Sequence[VideoRow]) -> bytes:
    columns: dict[str, list] = {name: [getattr(row.record, name) for row in rows] for name in TEXT_FIELDS}
    for name in NUMBER_FIELDS:
        columns[name] = null_for_nan(np.array([getattr(row.record, name) for row in rows], float))
    packs = list(dict.fromkeys(row.piece.pack for row in rows if row.piece))
    place = {pack: index for index, pack in enumerate(packs)}
    return json_bytes(
        {
            "columns": columns, "features_sha256": [row.features_sha256 for row in rows],
            "num_clips": [row.num_clips for row in rows], "packs": packs,
            "pack": [place[row.piece.pack] if row.piece else -1 for row in rows],
            "offset": [row.piece.offset if row.piece else 0 for row in rows],
            "sha256": [row.piece.sha256 if row.piece else "" for row in rows],
        }
    )  # fmt: skip


def rows_from(data: bytes, where: str) -> list[VideoRow]:
    """Raises `NotAStore`."""
    found = build(_Rows, read_json(data, where, NotAStore), where, NotAStore)
    try:
        rows = [_row(found, index) for index in range(len(found.num_clips))]
    except LongtakeError as error:
        raise NotAStore(f"{where}: {error}") from error
    if len({row.record.video_id for row in rows}) < len(rows):
        raise NotAStore(f"{where}: a video is in it twice")
    return rows


def _row(found: _Rows, index: int) -> VideoRow:
    # Columns of later releases are left out.
    values: dict[str, Any] = {
        name: float("nan") if column[index] is None else column[index]
        for name, column in found.columns.items()
        if name in (*TEXT_FIELDS, *NUMBER_FIELDS)
    }
    record = VideoRecord(**values)
    count = found.num_clips[index]
    require_clips_if_ok(record, count)
    if (found.pack[index] >= 0) != (count > 0):
        raise InvalidFeatures(f"{record.video_id}: {count} clips, but no pack that holds them")
    piece = Piece(found.packs[found.pack[index]], found.offset[index], found.sha256[index]) if count else None
    return VideoRow(record, found.features_sha256[index], count, piece)


def require_clips_if_ok(record: VideoRecord, num_clips: int) -> None:
    if (record.status == OK) != (num_clips > 0):
        raise InvalidFeatures(f"{record.video_id}: status {record.status}, but {num_clips} clips")


def columns_of(rows: Sequence[VideoRow]) -> Mapping[str, VideoRow]:
    """video_id -> its row."""
    return {row.record.video_id: row for row in rows}
