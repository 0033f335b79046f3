"""Features in tables, by a mapping: a row for each video, whose features are a list, or a row for each clip."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from longtake.features.errors import FeaturesError, InvalidFeatures
from longtake.features.imports import row_tables
from longtake.features.imports.layouts import SourceVideo
from longtake.features.imports.mapping import Found, Mapped, Unique, label_text, named


class _Rows:
    """Rows of videos as they are read. A video with one bad row is left out as a whole: it would lack a clip."""

    def __init__(self, mapped: Mapped) -> None:
        self._mapped = mapped
        self.rows: dict[str, list[tuple[str, np.ndarray, object]]] = {}
        self.labels: dict[str, dict[str, str]] = {}
        self.paths: dict[str, Path] = {}
        self.bad: dict[str, str] = {}
        self._wide: list[str] = []
        """Columns of features, in the order of the first file."""

    def read(self, path: Path) -> None:
        mapped, split = self._mapped, row_tables.split_of(path)
        extra = [name for name in mapped.labels.values() if name != row_tables.SPLIT]
        others = (mapped.ids, *filter(None, [mapped.seconds]), *extra)
        own = [name for name in row_tables.column_names(path) if name not in others]
        self._wide = wide = row_tables.in_order(path, row_tables.choose(path, own, [mapped.features]), self._wide)
        for number, row in row_tables.rows_of(path, [*others, *wide], [mapped.ids, *extra]):
            where, video_id = f"{path.name}, row {number}", label_text(row[mapped.ids])
            first = self.paths.setdefault(video_id, path)
            if first != path and (not split or row_tables.split_of(first) != split):
                self.bad.setdefault(video_id, f"{video_id} is in {first} and in {path}")
            labels = {"split": split} if split else {}
            labels |= {
                column: split if name == row_tables.SPLIT else label_text(row[name])
                for column, name in mapped.labels.items()
            }
            if self.labels.setdefault(video_id, labels) != labels:
                self.bad.setdefault(video_id, f"{where}: {video_id} has other labels than in its first row")
            try:
                array = row_tables.array_of(path, number, [row[name] for name in wide])
            except InvalidFeatures as error:
                self.bad.setdefault(video_id, f"{video_id}: {error}")
                continue
            self.rows.setdefault(video_id, []).append((where, array, row.get(mapped.seconds)))

    def drop(self, path: Path) -> None:
        """A file that ends early: its videos may lack rows."""
        for video_id, own in self.paths.items():
            if own == path:
                self.bad.setdefault(video_id, f"{video_id}: {path.name} is damaged")


def in_tables(source: Path, mapped: Mapped) -> Found:
    """Videos of tables, whose column of ids is `mapped.ids`. Raises `FeaturesError` if no columns of features are named."""
    files = row_tables.table_files(source)
    if not mapped.features:
        names = ", ".join(row_tables.column_names(files[0])[:40])
        raise FeaturesError(f"name the columns of features with --features, such as 'f*'; there are {names}")
    table, faults = _Rows(mapped), []
    for path in files:
        try:
            table.read(path)
        except InvalidFeatures as error:
            faults.append(str(error))
            table.drop(path)
    made = Unique()
    for video_id, rows in table.rows.items():
        if video_id not in table.bad:
            made.add(video_id, _of_rows(table.paths[video_id], rows, mapped), rows[0][0])
    return Found(made.finish(mapped.ids), table.labels, (*faults, *table.bad.values()))


def _of_rows(path: Path, rows: Sequence[tuple[str, np.ndarray, object]], mapped: Mapped) -> SourceVideo:
    """A row with one list of values is a clip; an array of more axes is a video."""
    where = rows[0][0]

    def read() -> object:
        if len(rows) == 1 and rows[0][1].ndim > 1:
            return mapped.pooled(rows[0][1])
        if rows[0][1].ndim > 1:
            raise InvalidFeatures(
                f"{len(rows)} rows of one video, each with an array {rows[0][1].shape}; one row expected"
            )
        if len({array.shape for _, array, _ in rows}) > 1:
            raise InvalidFeatures("its rows have features of different shapes")
        return mapped.pooled(np.stack([array for _, array, _ in rows]))

    def seconds(num_clips: int) -> np.ndarray:
        times = rows[0][2] if rows[0][1].ndim > 1 else [time for _, _, time in rows]
        return mapped.spans(times, num_clips, mapped.seconds)

    return SourceVideo(path, partial(named, where, read), seconds if mapped.seconds else None, where)
