"""The leaderboard of a bench: figures with intervals, ranks and costs, from the predictions of its cells.

Every figure has the interval of `longtake.train.uncertainty`, and ranks are compared over the same resamples of the test videos. A row has no
rank where it cannot be compared with the others: other videos, other features, or a part of the columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from longtake.train.bench.cells import Cell, Done, plan, read_done, read_reason
from longtake.train.bench.file import Bench, DatasetEntry, SplitEntry
from longtake.train.bench.jobs import jobs_of, same_stamp, why_other
from longtake.train.bench.sources import Source
from longtake.train.errors import DataError
from longtake.train.heads import get_head
from longtake.train.protocol.options import are_pooled, fold_rule
from longtake.train.protocol.rows import AVERAGE
from longtake.train.resampling import Draws, Key, ScoredVideos, over_folds
from longtake.train.runs.board import DONE_STATE, NOT_RUN, Figure, Row, Table
from longtake.train.runs.compare import published_lines
from longtake.train.runs.scored import scored_tests
from longtake.train.runs.tables import read_predictions
from longtake.train.uncertainty import ALL, Standing, few_note, paired, spreads

assert ALL == (AVERAGE, "")
POOLED = "correlations are over the scores of all folds, where guessing the mean of the training videos has -1"


@dataclass(frozen=True)
class _Read:
    """All that is done of a row."""

    name: str
    head: str
    backbone: str
    done: Sequence[Done]
    tests: Sequence[ScoredVideos]
    marks: Sequence[str]
    other: str
    """Why it is not compared with the others."""


def tables(bench: Bench, out: Path, sources: Mapping[str, Source], joined: Sequence[Path] = ()) -> tuple[Table, ...]:
    """A table for every dataset and split. `joined` are folders of other benches, whose cells on the same labels are taken in."""
    found = []
    planned = plan(bench, sources)
    for dataset, source in sources.items():
        for split in bench.splits.values():
            mine = [cell for cell in planned if (cell.dataset, cell.split) == (dataset, split.name)]
            found.append(_table(bench, source, split, mine, out, joined))
    return tuple(found)


def _table(
    bench: Bench, source: Source, split: SplitEntry, cells: Sequence[Cell], out: Path, joined: Sequence[Path]
) -> Table:
    names = dict.fromkeys((cell.head, cell.backbone) for cell in cells)
    read: list[_Read] = []
    empty: list[Row] = []
    for head, backbone in names:
        folders = [out / cell.folder for cell in cells if (cell.head, cell.backbone) == (head, backbone)]
        done = [(folder, one) for folder in folders if (one := read_done(folder))]
        if done:
            read.append(_read(head, done, source, bench, split))
        else:
            empty.append(_empty(head, bench.heads[head].head, backbone, folders[0]))
    for folder in joined:
        read += _joined(folder, source, bench, split)
    videos = {(test.key, video) for one in read for test in one.tests for video in test.video_ids}
    num_videos = max((len({v for k, v in videos if k == key}) for key, _ in videos), default=0)
    few = few_note(num_videos) if num_videos else ""
    columns, rows = _rows(read, bench.metrics, ranks=not few)
    return Table(
        source.entry.name, split.name, described(split), source.labels,
        num_videos, columns, bench.metrics, (*rows, *empty), few, tuple(published_lines(source.entry.dataset)), _leaks(read),
    )  # fmt: skip


def _leaks(read: Sequence[_Read]) -> tuple[str, ...]:
    """Of all rows that are compared: their videos and splits are the same."""
    compared = [one for one in read if not one.other]
    found = dict.fromkeys(line for one in compared for done in one.done for line in done.leaks or ())
    unknown = [one.name for one in compared if any(done.leaks is None for done in one.done)]
    if unknown:
        found[f"not audited for leaks, since an earlier version trained them: {', '.join(unknown)}"] = None
    return tuple(found)


def described(split: SplitEntry) -> str:
    rule = fold_rule(split.folds, split.group or None)
    about = split.about or (
        f"{rule} cross-validation inside the training videos" if rule else "the dataset's own split"
    )
    return f"{about}; {POOLED}" if are_pooled(split.folds) else about


def _empty(name: str, head: str, backbone: str, folder: Path) -> Row:
    found = read_reason(folder)
    if found is None:
        return Row(name, head, backbone, NOT_RUN)
    return Row(name, head, backbone, found.kind, found.reason)


def _read(
    name: str, done: Sequence[tuple[Path, Done]], source: Source, bench: Bench, split: SplitEntry, origin: str = ""
) -> _Read:
    first = done[0][1]
    head = str(first.entry.get("head", name))
    tests = [test for folder, one in done for test in _tests(folder, one, source.groups, source.entry)]
    other = ""
    stream = source.streams.get(first.cell.backbone)
    if not origin:
        # A cell that is kept from another state of the file or the store.
        asked = jobs_of(
            bench, {source.entry.name: source}, [one.cell for _, one in done], Path(), "", "", keep_heads=True
        )
        other = next(filter(None, (why_other(one, job) for (_, one), job in zip(done, asked))), "")
    elif stream is not None and stream.recipe_id != first.stamp.recipe_id:
        other = f"features of another recipe, {first.stamp.recipe_id}"
    elif split.group and first.stamp.groups != source.groups_id(split):
        other = "other groups, so other folds"
    elif any(not same_stamp(one.stamp, first.stamp) or one.entry != first.entry for _, one in done):
        other = "its seeds are of other settings or features"
    marks = [*([other] if other else []), *_marks(first, len(done), bench)]
    return _Read(
        f"{name} ({origin})" if origin else name,
        head,
        first.cell.backbone,
        [one for _, one in done],
        tests,
        marks,
        other,
    )


def _marks(done: Done, num_seeds: int, bench: Bench) -> Iterator[str]:
    if done.random_weights:
        yield "RANDOM weights"
    if done.epochs is not None and done.preset_epochs is not None and done.epochs < done.preset_epochs:
        yield f"{done.epochs} epochs, its preset has {done.preset_epochs}"
    if done.num_inner_models:
        yield f"settings chosen by inner folds: {done.num_inner_models / done.num_models:g} more models for each"
    if done.epochs is not None and num_seeds < bench.seeds:
        yield f"{num_seeds} of {bench.seeds} seeds"


def _tests(
    folder: Path, done: Done, groups: Mapping[str, Mapping[str, str]], entry: DatasetEntry
) -> list[ScoredVideos]:
    units = {(unit.category, unit.score): unit.label_range for unit in done.units}
    drawn, inside = (groups.get(name, {}) for name in (entry.resample, entry.within))
    return scored_tests(
        read_predictions(folder),
        units,
        lambda row: drawn.get(row.video_id, ""),
        lambda row: inside.get(row.video_id, ""),
        are_pooled(done.split["folds"]),
    )


def _joined(folder: Path, source: Source, bench: Bench, split: SplitEntry) -> list[_Read]:
    """Rows of another bench's folder for the same dataset and split. Those on other labels are refused."""
    rows: dict[tuple[str, str], list[tuple[Path, Done]]] = {}
    mine = {"folds": split.folds, "group": split.group}
    for path in sorted(folder.glob("*/bench.json")):
        done = read_done(path.parent)
        if done and done.stamp.dataset == source.entry.dataset and done.split == mine:
            if done.stamp.labels != source.labels:
                raise DataError(
                    f"{path.parent} has learnt from other labels of {source.entry.dataset}, {done.stamp.labels}, than this bench, "
                    f"{source.labels}: its results are not comparable"
                )
            rows.setdefault((done.cell.head, done.cell.backbone), []).append((path.parent, done))
    return [_read(head, done, source, bench, split, folder.name) for (head, _), done in rows.items()]


def column_name(key: Key) -> str:
    return " ".join(part for part in key if part)


def _rows(read: Sequence[_Read], metrics: Sequence[str], ranks: bool) -> tuple[tuple[str, ...], list[Row]]:
    """Names of the columns, and rows by rank; without `ranks`, where there are too few test videos, in the order of the file."""
    keys = list(dict.fromkeys(test.key for one in read for test in one.tests))
    if not keys:
        return (), []
    ranked = _comparable(read, keys) if ranks else []
    standings: dict[str, Standing] = {}
    if len(ranked) > 1:
        # By place: rows of two joined benches can have the same name.
        found = paired({str(read.index(one)): _measured(one.tests, metrics[0]) for one in ranked}, metrics[0])
        of_all = found[ALL if len(keys) > 1 else keys[0]]
        standings = {standing.method: standing for standing in of_all}
    rows = [
        _row(one, keys, metrics, standings.get(str(place)), ranks and len(read) > 1) for place, one in enumerate(read)
    ]
    rows.sort(key=lambda row: (row.rank is None, row.rank or 0))
    columns = [*map(column_name, keys), *([AVERAGE] if len(keys) > 1 else [])]
    return tuple(columns), rows


def _measured(tests: Sequence[ScoredVideos], metric: str) -> Sequence[ScoredVideos]:
    """The tests that a figure is of, as in the tables of `train heads`."""
    return over_folds(tests) if metric == "within_group" else tests


def _comparable(read: Sequence[_Read], keys: Sequence[Key]) -> list[_Read]:
    """The rows that were tested on the same videos as most, on all columns."""
    sets: dict[frozenset[tuple[Key, str, str]], list[_Read]] = {}
    for one in read:
        if not one.other and {test.key for test in one.tests} == set(keys):
            tested = frozenset((test.key, test.fold, video) for test in one.tests for video in test.video_ids)
            sets.setdefault(tested, []).append(one)
    return max(sets.values(), key=len, default=[])


def _row(one: _Read, keys: Sequence[Key], metrics: Sequence[str], standing: Standing | None, many: bool) -> Row:
    draws = Draws.of(one.tests)
    figures: dict[str, dict[str, Figure]] = {}
    for metric in metrics:
        for key, spread in spreads(_measured(one.tests, metric), metric, draws).items():
            limits = spread.interval
            figures.setdefault(column_name(key), {})[metric] = Figure(spread.point, limits.low, limits.high)
    marks = list(one.marks)
    own = {test.key for test in one.tests}
    if len(own) < len(keys):
        # Never in the column of the average over all.
        figures.pop(AVERAGE, None)
        marks.append(f"{len(own)} of {len(keys)} columns, so no average")
    # The median over seeds: one of them may have been trained next to other work, or been stopped for a while.
    seconds = float(np.median([done.seconds_per_model for done in one.done]))
    if standing is None and not one.other and len(own) == len(keys) and many:
        marks.append("no rank: it was tested on other videos than most rows")
    return Row(
        one.name,
        one.head,
        one.backbone,
        DONE_STATE,
        num_seeds=len(one.done),
        figures=figures,
        rank=standing.rank if standing else None,
        rank_low=standing.rank_low if standing else None,
        rank_high=standing.rank_high if standing else None,
        seconds_per_model=seconds,
        parameters=None if get_head(one.head).closed_form else one.done[0].parameters,
        recipe_id=one.done[0].stamp.recipe_id,
        marks=tuple(marks),
    )
