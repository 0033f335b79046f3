"""Figures for papers, from the folders of runs: `train figure`, and `Run.plot`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from longtake.errors import printable, there_are
from longtake.features.store import open_store
from longtake.train.engine.names import CONTROL, unit_name
from longtake.train.errors import DataError, SettingsError, require_one_of
from longtake.train.protocol.options import UNIFIED
from longtake.train.runs.board import BOARD
from longtake.train.runs.compare import Line, line_of, method_names
from longtake.train.runs.epochs import read_curves
from longtake.train.runs.evaluate import load_run
from longtake.train.runs.patterns import own_categories
from longtake.train.runs.plots import draw
from longtake.train.runs.plots.board import board_rows
from longtake.train.runs.plots.embed import METHODS, POINTS, cloud, spaces
from longtake.train.runs.plots.style import WIDTHS, paper_style, require_format, write_figure
from longtake.train.runs.predict_store import predict_run
from longtake.train.runs.records import RunConfig, RunMetrics, is_simulated, read_run
from longtake.train.runs.tables import by_video, few_mark, read_predictions, shown_interval
from longtake.train.uncertainty import Interval

Key = tuple[str, str]
"""Category and score."""
KINDS = ("scatter", "attention", "curves", "embedding", "leaderboard")
METRICS = {"spearman": "Spearman's ρ", "mse": "mean squared error"}
MOST_PANELS = 12
LONGEST_ID = 24
"""Characters of a video's id in a title, for each column of a page."""
NEEDS = {
    "store": ("attention", "embedding"),
    "videos": ("attention",),
    "method": ("embedding",),
    "points": ("embedding",),
    "metric": ("leaderboard",),
}
"""Choice -> the kinds of figures that it is for."""


@dataclass(frozen=True)
class Choices:
    """What a figure shows; None and empty: all there is, or the usual."""

    store: Path | str | None = None
    category: str | None = None
    score: str | None = None
    videos: tuple[str, ...] = ()
    points: str | None = None
    method: str | None = None
    metric: str | None = None
    columns: int = 1

    def require(self, kind: str) -> None:
        """Raises `SettingsError` for a choice that this kind of figure does not have."""
        require_one_of("the kind of a figure", kind, KINDS)
        if self.columns not in WIDTHS:
            raise SettingsError(f"a figure is 1 or 2 columns wide, got {self.columns}")
        for name, kinds in NEEDS.items():
            if getattr(self, name) and kind not in kinds:
                option = {"store": "features", "videos": "video"}.get(name, name)
                raise SettingsError(f"--{option} is for figures of {' and '.join(kinds)}, and this one is {kind}")
        require_one_of("points", self.points or POINTS[0], POINTS)
        require_one_of("method", self.method or METHODS[0], METHODS)
        require_one_of("metric", self.metric or "spearman", METRICS)

    def chosen(self, keys: Sequence[Key], run: Path) -> list[Key]:
        """Raises `DataError` where none is left."""
        found = [key for key in keys if self.category in (None, key[0]) and self.score in (None, key[1])]
        if not found:
            asked = " ".join(filter(None, (self.category, self.score)))
            names = [" ".join(filter(None, key)) for key in keys]
            raise DataError(f"{run} has no predictions of {asked or 'any category'}{there_are(asked, names)}")
        return found


@dataclass(frozen=True)
class Source:
    """A run, and its name in figures."""

    folder: Path
    name: str
    metrics: RunMetrics
    config: RunConfig
    line: Line
    scores: Mapping[Key, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    """Key -> test video -> true and predicted."""

    @property
    def marks(self) -> Iterator[str]:
        if is_simulated(self.config):
            yield "SIMULATED videos"
        if self.metrics.random_weights:
            yield "RANDOM backbone or text weights"
        if self.metrics.unfinished:
            yield self.metrics.unfinished


def plot(
    runs: Sequence[Path | str], kind: str = "scatter", *, out: Path | str | None = None, **choices: object
) -> Figure:
    """A figure of one run or several, `columns` columns of a page wide; with `out`, it is written there as PDF, SVG or PNG.

    `kind`: `scatter` (predicted against true scores of the test videos), `curves` (loss and test correlation over epochs), `attention`
    (where grades looked; needs `store`, takes `videos`), `embedding` (`points` in two dimensions by `method`, tsne or pca: clips and queries
    before and after training, or the patterns of grades; needs `store`), `leaderboard` (`metric`, spearman or mse, with 95% intervals, of runs or of the folder of a bench). `category` and `score` choose
    among those of the run. Raises a `LongtakeError` where there is nothing to draw.
    """
    unknown = choices.keys() - Choices.__dataclass_fields__.keys()
    if unknown:
        raise SettingsError(
            f"a figure has no choice {', '.join(sorted(unknown))}{there_are(min(unknown), Choices.__dataclass_fields__)}"
        )
    videos = choices.get("videos") or ()
    chosen = Choices(**{**choices, "videos": (videos,) if isinstance(videos, str) else tuple(videos)})  # type: ignore[arg-type]
    chosen.require(kind)
    if out is not None:
        require_format(Path(out))
    folders = [Path(run) for run in runs]
    if kind in ("attention", "embedding") and len(folders) > 1:
        raise SettingsError(f"a figure of {kind} is of one run, got {len(folders)}")
    with paper_style():
        figure = _KINDS[kind](folders, chosen)
    if out is not None:
        write_figure(figure, Path(out), f"{kind} of {', '.join(folder.name for folder in folders)}")
    return figure


def _sources(runs: Sequence[Path], with_scores: bool = True) -> list[Source]:
    lines = [line_of(run)[1] for run in runs]
    names = method_names(lines)
    return [
        Source(
            run, printable(name), *read_run(run), line,
            by_video(read_predictions(run), lambda row: (row.category, row.score)) if with_scores else {},
        )
        for run, name, line in zip(runs, names, lines)
    ]  # fmt: skip


def _marked(figure: Figure, sources: Sequence[Source]) -> Figure:
    draw.mark(figure, ", ".join(dict.fromkeys(mark for one in sources for mark in one.marks)))
    return figure


def _name(key: Key) -> str:
    return printable(" ".join(filter(None, key)))


def _titles(sources: Sequence[Source], keys: Mapping[Path, Sequence[Key]]) -> dict[tuple[Path, Key], str]:
    """Of panels: run, category and score, without what is the same in all of them."""
    several = len({key for found in keys.values() for key in found}) > 1
    titles = {}
    for one in sources:
        for key in keys[one.folder]:
            parts = [one.name if len(sources) > 1 else "", _name(key) if several or len(sources) == 1 else ""]
            titles[one.folder, key] = ", ".join(filter(None, parts))
    return titles


def _require_few(count: int) -> None:
    if count > MOST_PANELS:
        raise SettingsError(
            f"{count} panels do not fit in a figure, at most {MOST_PANELS} do: name a --category, a --score or fewer runs"
        )


def _scatter(runs: Sequence[Path], choices: Choices) -> Figure:
    sources = _sources(runs)
    keys = {one.folder: choices.chosen(list(one.scores), one.folder) for one in sources}
    titles = _titles(sources, keys)
    _require_few(len(titles))
    panels = []
    for one in sources:
        for key in keys[one.folder]:
            true, predicted = np.array(list(one.scores[key].values())).T
            panels.append(draw.Scatter(titles[one.folder, key], _figures(one.line, key, len(true)), true, predicted))
    return _marked(draw.scatter(panels, choices.columns), sources)


def _figures(line: Line, key: Key, num_videos: int) -> str:
    """As the run's table has them."""
    rho = line.spearman.get(key)
    interval = shown_interval(line.spearman_interval.get(key), 3)
    first = "ρ undefined" if rho is None else f"ρ {rho:.3f} {interval}".strip()
    return f"{first}\n{few_mark(num_videos) or f'n={num_videos}'}"


def _curves(runs: Sequence[Path], choices: Choices) -> Figure:
    sources = _sources(runs)
    panels: dict[str, dict[str, dict[str, list[dict[int, float]]]]] = {}
    for one in sources:
        found = {name: curve for name, curve in read_curves(one.folder).items() if not name.endswith(CONTROL)}
        if not found:
            raise DataError(
                f"{one.folder} has no learning curves: {one.metrics.head} is fitted without epochs, or epochs.csv is missing"
            )
        for category, score in choices.chosen(list(one.scores), one.folder):
            # One model may serve all categories of a score, or all datasets.
            units = (unit_name(category, score), unit_name("", score), UNIFIED)
            mine = next(
                (m for unit in units if (m := [c for n, c in found.items() if n.startswith(f"{unit}-seed")])), []
            )
            for label, lines in (("loss", [c.loss for c in mine]), ("test ρ", [c.test_spearman for c in mine])):
                if lines := [line for line in lines if line]:
                    panels.setdefault(_name((category, score)), {}).setdefault(label, {})[one.name] = lines
    _require_few(len(panels) * 2)
    return _marked(draw.curves(panels, choices.columns), sources)


def _store_of(choices: Choices, kind: str) -> Path | str:
    if not choices.store:
        raise SettingsError(f"a figure of {kind} needs the features of the run: name their store with --features")
    return choices.store


def _attention(runs: Sequence[Path], choices: Choices) -> Figure:
    with open_store(_store_of(choices, "attention")) as store:
        (one,) = _sources(runs)
        key = choices.chosen(list(one.scores), one.folder)[0]
        known = one.scores[key]
        lacking = [video_id for video_id in choices.videos if video_id not in known]
        if lacking:
            raise DataError(
                f"{one.folder} has no test video {lacking[0]} of {_name(key)}{there_are(lacking[0], known)}"
            )
        by_score = sorted(known, key=lambda video_id: known[video_id][0])
        asked = list(dict.fromkeys(choices.videos or (by_score[-1], by_score[0])))
        _require_few(len(asked))
        category = own_categories(one.folder, store, [key]).get(key)
        found = {p.video_id: p for p in predict_run(one.folder, store, asked, category or None) if p.score == key[1]}
        seconds = one.config.features.times_known
    strips = []
    for video_id in asked:
        line = found[video_id].timeline
        if not line.by_grade:
            raise DataError(
                f"{one.folder} has no attention to draw: head {one.metrics.head} has no grades that look at clips"
            )
        true, predicted = known[video_id]
        shown = (
            video_id
            if len(video_id) <= LONGEST_ID * choices.columns
            else f"{video_id[: LONGEST_ID * choices.columns - 1]}…"
        )
        title = f"{printable(shown)}: judges {true:.2f}, predicted {predicted:.2f}"
        edges = (
            np.append(line.start_seconds, line.end_seconds[-1]) if seconds else np.arange(len(line.start_seconds) + 1.0)
        )
        strips.append(draw.Strip(title, edges, np.array(line.by_grade), "seconds" if seconds else "clips"))
    return _marked(draw.attention(strips, choices.columns), [one])


def _embedding(runs: Sequence[Path], choices: Choices) -> Figure:
    method, points = choices.method or METHODS[0], choices.points or POINTS[0]
    with open_store(_store_of(choices, "embedding")) as store:
        (one,) = _sources(runs)
        keys = choices.chosen(list(one.scores), one.folder)
        own = own_categories(one.folder, store, keys)
        rows = [row for row in read_predictions(one.folder) if not row.control]
        found: dict[Key, list[draw.Cloud | draw.Space]] = {}
        for head, config, maker in load_run(one.folder, store):
            tested = {(category, scale.name) for category, scale in config.tested_on(store.dataset)}
            for key in keys:
                if key in found or (own.get(key), key[1]) not in tested:
                    continue
                mine = {
                    row.video_id
                    for row in rows
                    if (row.category, row.score) == key and row.fold in ("", str(config.fold))
                }
                shown = [video_id for video_id in one.scores[key] if video_id in mine]
                panels = (
                    spaces(head, config, maker, shown, method)
                    if points == "clips"
                    else [cloud(head, config, maker, shown, method)]
                )
                name = _name(key) if len(keys) > 1 else ""
                found[key] = [replace(panel, title=", ".join(filter(None, (name, panel.title)))) for panel in panels]
    if not found:
        raise DataError(f"{one.folder} has no head for the videos of {choices.store}")
    drawn = [panel for panels in found.values() for panel in panels]
    _require_few(len(drawn))
    return _marked(draw.embedding(drawn, choices.columns), [one])


def _leaderboard(runs: Sequence[Path], choices: Choices) -> Figure:
    metric = choices.metric or "spearman"
    benches = [run for run in runs if (run / BOARD).exists()]
    if benches:
        if len(runs) > 1:
            raise SettingsError(
                f"{benches[0]} is the folder of a bench, which is a figure of its own: name it alone, or runs"
            )
        tables, mark = board_rows(runs[0], metric, choices.category, choices.score)
        figure = draw.leaderboard(tables, METRICS[metric], choices.columns)
        draw.mark(figure, mark)
        return figure
    sources = _sources(runs, with_scores=False)
    datasets = dict.fromkeys(one.metrics.dataset for one in sources)
    if len(datasets) > 1:
        raise DataError(f"these runs are on different datasets: {', '.join(datasets)}")
    rules = {one.line.source for one in sources}
    shared = [
        key for key in getattr(sources[0].line, metric) if all(key in getattr(one.line, metric) for one in sources)
    ]
    asked = choices.category is not None or choices.score is not None
    keys = choices.chosen([key for key in shared if not asked or key[1]], runs[0])
    key = keys[0] if asked else keys[-1]
    rows = []
    for one in sources:
        limits: Interval | None = getattr(one.line, f"{metric}_interval").get(key)
        ends = (limits.low, limits.high) if limits else (np.nan, np.nan)
        few = few_mark(one.line.num_videos.get(key, 0))
        notes = [one.config.options.fold_rule if len(rules) > 1 else "", few]
        rows.append(draw.Standing(one.name, getattr(one.line, metric)[key], *ends, note=", ".join(filter(None, notes))))
    rows.sort(key=lambda row: row.value, reverse=metric == "spearman")
    label = f"{METRICS[metric]}, {_name(key)}"
    return _marked(draw.leaderboard({"": rows}, label, choices.columns), sources)


_KINDS: Mapping[str, Callable[[Sequence[Path], Choices], Figure]] = {
    "scatter": _scatter,
    "attention": _attention,
    "curves": _curves,
    "embedding": _embedding,
    "leaderboard": _leaderboard,
}
