"""What a frame of a segment says: the recipes and the dataset of the videos after it, or one finished video.

Everything read here may be hostile. It is compared with its types before a value is used.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash

from longtake.checks import build, read_json
from longtake.features.columns import NUMBER_FIELDS, TEXT_FIELDS
from longtake.features.errors import InvalidFeatures
from longtake.features.labels import NO_LABELS, LabelRow
from longtake.features.types import OK, FeatureHeader, VideoFeatures, VideoRecord, canonical_json, sha256_of
from longtake.manifests.table import is_group_name

DTYPES: Mapping[object, np.dtype] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2"), "float64": np.dtype("<f8")}
TIME_BYTES = 16
"""Start and end of a clip."""
MOST_NS = 1 << 62


@dataclass(frozen=True)
class Definition:
    """What the videos after it have in common."""

    dataset: str
    headers: tuple[str, ...]
    """Of the backbones, as canonical JSON."""
    score_names: tuple[str, ...]

    def to_json(self) -> bytes:
        return canonical_json(
            {"dataset": self.dataset, "headers": list(self.headers), "score_names": list(self.score_names)}
        ).encode()

    @classmethod
    def of(cls, text: bytes) -> Definition:
        """Raises `InvalidFeatures`."""
        said = build(cls, read_json(text, "a definition", InvalidFeatures), "a definition", InvalidFeatures)
        if not all(map(_is_text, (said.dataset, *said.score_names))):
            raise InvalidFeatures("a definition with a text that no store can hold")
        return said


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """The features of one backbone in the frame of a video."""

    header: FeatureHeader
    record: VideoRecord
    num_clips: int
    dtype: np.dtype
    features_sha256: str
    xxh3_64: int
    """Of the bytes of its arrays."""
    offset: int
    """Of its arrays in the file."""

    @property
    def num_bytes(self) -> int:
        return self.num_clips * (self.header.dim * self.dtype.itemsize + TIME_BYTES)

    def decode(self, data: bytearray) -> VideoFeatures | None:
        """The features and times of these bytes; None if they are not those that were written."""
        if len(data) != self.num_bytes or xxhash.xxh3_64_intdigest(data) != self.xxh3_64:
            return None
        dim, clips = self.header.dim, self.num_clips
        num_values = clips * dim * self.dtype.itemsize
        features = np.frombuffer(data, self.dtype, clips * dim).reshape(clips, dim)
        start, end = np.frombuffer(data, "<f8", 2 * clips, num_values).reshape(2, clips)
        return VideoFeatures(self.record, features, start, end)


@dataclass(frozen=True, slots=True)
class FinishedVideo:
    """One video, of one backbone or several, as a frame describes it."""

    video_id: str
    dataset: str
    score_names: tuple[str, ...]
    labels: LabelRow
    written_ns: int
    """When it was appended, in nanoseconds since 1970 by the clock of its machine: of two results of a video, the later one counts."""
    streams: tuple[StoredFeatures, ...]


def describe(
    labels: LabelRow, videos: Mapping[FeatureHeader, VideoFeatures], written_ns: int
) -> tuple[bytes, list[memoryview]]:
    """The description of a video and its arrays; a failed one has none. The order of `videos` is that of the definition.

    Raises `InvalidFeatures` for features that are not as wide as their header says."""
    records: list[dict[str, object]] = []
    streams: list[dict[str, object]] = []
    arrays: list[memoryview] = []
    for index, (header, video) in enumerate(videos.items()):
        if video.features.shape[1] != header.dim or video.features.dtype.name not in DTYPES:
            raise InvalidFeatures(
                f"{video.record.video_id}: features {header.dim} wide expected, got {video.features.dtype} of shape {video.features.shape}"
            )
        record = _plain(video.record)
        if record not in records:
            records.append(record)
        features = np.ascontiguousarray(video.features, video.features.dtype.newbyteorder("<"))
        times = np.ascontiguousarray([video.start_seconds, video.end_seconds], "<f8")
        own = [_view(features), _view(times)] if len(features) else []
        total = xxhash.xxh3_64()
        for array in own:
            total.update(array)
        streams.append(
            {
                "header": index, "record": records.index(record), "clips": len(features), "dtype": features.dtype.name,
                "sha256": sha256_of(features), "xxh3_64": total.hexdigest(),
            }
        )  # fmt: skip
        arrays += own
    row = {
        "split": labels.split, "category": labels.category, "scores": labels.scores, "boundaries": list(labels.boundaries),
        "groups": labels.groups,
    }  # fmt: skip
    text = canonical_json({"written_ns": written_ns, "labels": row, "records": records, "streams": streams})
    return text.encode(), arrays


def _view(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _plain(record: VideoRecord) -> dict[str, object]:
    """Fields that are known; nan and infinity are not in JSON."""
    texts = {name: getattr(record, name) for name in TEXT_FIELDS}
    numbers = {name: getattr(record, name) for name in NUMBER_FIELDS}
    return {name: text for name, text in texts.items() if text} | {
        name: number for name, number in numbers.items() if math.isfinite(number)
    }


def read_video(
    text: bytes, offset: int, num_bytes: int, definition: Definition, headers: Sequence[FeatureHeader]
) -> FinishedVideo:
    """The video that a frame describes, whose arrays are the `num_bytes` from `offset` on. Raises `InvalidFeatures`."""
    values = _table(read_json(text, "a video", InvalidFeatures), {"written_ns", "labels", "records", "streams"})
    records = [_record(one) for one in _list(values["records"])]
    streams = []
    begin = offset
    for one in _list(values["streams"]):
        one = _table(one, {"header", "record", "clips", "dtype", "sha256", "xxh3_64"})
        if type(one["dtype"]) is not str or one["dtype"] not in DTYPES or not _SHA256.fullmatch(str(one["sha256"])):
            raise InvalidFeatures(
                f"features of dtype {str(one['dtype'])[:40]!r} with the checksum {str(one['sha256'])[:80]!r}"
            )
        stored = StoredFeatures(
            headers[_index(one["header"], len(headers))], records[_index(one["record"], len(records))],
            _index(one["clips"], num_bytes // TIME_BYTES + 1), DTYPES[one["dtype"]], one["sha256"], _hex(one["xxh3_64"]), begin,
        )  # fmt: skip
        if (stored.record.status == OK) != (stored.num_clips > 0):
            raise InvalidFeatures(f"{stored.num_clips} clips of a video whose status is {stored.record.status!r}")
        begin += stored.num_bytes
        streams.append(stored)
    # The frame is filled up to a multiple of 8 bytes.
    if not streams or not 0 <= offset + num_bytes - begin < 8:
        raise InvalidFeatures(f"{len(streams)} streams of {begin - offset} bytes in a frame of {num_bytes}")
    if len({one.record.video_id for one in streams}) != 1 or len({one.header.recipe_id for one in streams}) != len(
        streams
    ):
        raise InvalidFeatures("a frame of several videos, or of one recipe twice")
    return FinishedVideo(
        streams[0].record.video_id, definition.dataset, definition.score_names, _labels(values["labels"]),
        _index(values["written_ns"], MOST_NS), tuple(streams),
    )  # fmt: skip


def _table(values: Any, names: set[str]) -> dict[str, Any]:
    if not isinstance(values, dict) or values.keys() != names:
        raise InvalidFeatures(f"a table of {', '.join(sorted(names))} expected")
    return values


def _list(values: object) -> list[Any]:
    if not isinstance(values, list):
        raise InvalidFeatures("a list expected")
    return values


def _index(value: object, limit: int) -> int:
    if type(value) is not int or not 0 <= value < limit:
        raise InvalidFeatures(f"a number from 0 to {limit - 1} expected")
    return value


def _hex(value: object) -> int:
    try:
        return int(str(value)[:16], 16)
    except ValueError as error:
        raise InvalidFeatures("a checksum expected") from error


_SHA256 = re.compile("[0-9a-f]{64}")


def _is_text(value: object) -> bool:
    """Whether a store can hold it: JSON can have NUL, and halves of letters."""
    if type(value) is not str or "\0" in value:
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def _is_number(value: Any) -> bool:
    return type(value) in (float, int) and abs(value) <= sys.float_info.max


_TEXTS, _NUMBERS = frozenset(TEXT_FIELDS), frozenset(NUMBER_FIELDS)


def _record(values: object) -> VideoRecord:
    if not isinstance(values, dict) or "video_id" not in values:
        raise InvalidFeatures("the row of a video expected")
    known: dict[str, Any] = {}
    for name, value in values.items():
        if name in _TEXTS and _is_text(value):
            known[name] = value
        elif name in _NUMBERS and _is_number(value):
            known[name] = float(value)
        else:
            raise InvalidFeatures(f"a value of {str(name)[:80]!r} that does not belong there")
    try:
        return VideoRecord(**known)
    except ValueError as error:
        raise InvalidFeatures(str(error)) from error


def _labels(values: object) -> LabelRow:
    row = _table(values, {"split", "category", "scores", "boundaries", "groups"})
    scores, groups, boundaries = row["scores"], row["groups"], _list(row["boundaries"])
    texts = [row["split"], row["category"], *(groups.values() if isinstance(groups, Mapping) else [None])]
    numbers = [*boundaries, *(scores.values() if isinstance(scores, Mapping) else [None])]
    if not (all(map(_is_text, texts)) and all(map(_is_number, numbers)) and all(map(is_group_name, groups))):
        raise InvalidFeatures("labels with a value that does not belong there")
    if any(one >= other for one, other in zip(boundaries, boundaries[1:])):
        raise InvalidFeatures("boundaries of stages that do not ascend")
    found = LabelRow(row["split"], row["category"], scores, tuple(boundaries), groups)
    return NO_LABELS if found == NO_LABELS else found  # One for all of a part, which are in memory together.
