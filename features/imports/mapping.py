"""What a user says of features in files that no layout describes, and the videos that are found by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from longtake.errors import listed
from longtake.features.errors import InvalidFeatures
from longtake.features.imports.axes import clips_of, parse_axes
from longtake.features.imports.layouts import SourceVideo
from longtake.features.imports.seconds import spans
from longtake.manifests.table import check_video_id


@dataclass(frozen=True)
class Mapped:
    """What the user says of files that no layout describes."""

    layout: str = "files"
    ids: str = ""
    """A pattern of paths inside SOURCE with `{id}`; for tables the column of ids."""
    features: str = ""
    """A name inside the files; a pattern with `{id}` where one file has many videos; columns of tables."""
    seconds: str = ""
    """A name inside the files, or a file next to each, with `{id}`. Of a name that ends in `_ms` or `_ms.npy`: milliseconds."""
    axes_text: str | None = None
    """As `axes.parse_axes` reads them."""
    clip_length: int | None = None
    clip_stride: int | None = None
    fps: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """Column of a manifest -> name inside the files, or column of a table."""

    @cached_property
    def axes(self) -> tuple[str, ...] | None:
        return None if self.axes_text is None else parse_axes(self.axes_text)

    @property
    def origin(self) -> str:
        """What decides the numbers, for the recipe."""
        said = [
            f"features {self.features}" if self.features else "",
            f"axes {','.join(self.axes)}" if self.axes else "",
        ]
        return "; ".join([f"imported: {self.layout}", *filter(None, said)])

    def pooled(self, array: object) -> object:
        return clips_of(array, self.axes) if isinstance(array, np.ndarray) else array

    def spans(self, times: object, num_clips: int, name: str, fps: float | None = None) -> np.ndarray:
        values = np.asarray(times)
        if values.dtype.kind not in "fiu":
            raise InvalidFeatures(f"{name} is {values.dtype}, not times")
        is_ms = Path(name).stem.lower().endswith(("_ms", "_msec"))
        return spans(
            values / 1000 if is_ms else values, num_clips,
            clip_length=self.clip_length, clip_stride=self.clip_stride, fps=self.fps or fps,
        )  # fmt: skip


@dataclass(frozen=True)
class Found:
    videos: dict[str, SourceVideo]
    labels: dict[str, dict[str, str]]
    """Video id -> column of a manifest -> text: labels in the files and in their paths."""
    faults: tuple[str, ...] = ()


class Unique:
    """Videos by id, with every clash and every invalid id."""

    def __init__(self) -> None:
        self.videos: dict[str, SourceVideo] = {}
        self._clashes: list[str] = []

    def add(self, video_id: str, video: SourceVideo, where: str) -> None:
        try:
            check_video_id(video_id)
        except ValueError as error:
            self._clashes.append(f"{where}: {error}")
            return
        if video_id in self.videos:
            self._clashes.append(f"{video_id} is {self.videos[video_id].where} and {where}")
            return
        self.videos[video_id] = video

    def finish(self, ids: str) -> dict[str, SourceVideo]:
        if self._clashes:
            raise InvalidFeatures(
                f"--ids {ids!r} does not give each video an id of its own: choose one kind of files, such as '**/{{id}}_rgb.npy', or add folders "
                f"to the id, such as '{{id}}/{{id}}.npy':{listed(self._clashes)}"
            )
        return self.videos


def named(name: str, read: Callable[[], object]) -> object:
    try:
        return read()
    except InvalidFeatures as error:
        raise InvalidFeatures(str(error) if name in str(error) else f"{name}: {error}") from error


def label_text(value: object) -> str:
    """A label as manifests write it; a missing one is empty."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
