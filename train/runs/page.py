"""A run as one self-contained HTML page: what it predicts, how it learnt, where it looked, and everything it was made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata

from longtake.errors import LongtakeError, printable, there_are
from longtake.features.store import Store
from longtake.train.engine.names import CONTROL, unit_name
from longtake.train.errors import DataError, TrainError
from longtake.train.extras import from_extract
from longtake.train.pages.environment import data_address, render
from longtake.train.pages.facts import KnownRoutine
from longtake.train.pages.strips import Strip, clock, strip
from longtake.train.pages.table import html_table, labelled
from longtake.train.protocol.options import UNIFIED, are_pooled
from longtake.train.runs import figures
from longtake.train.runs.compare import format_lines, line_of, published_lines
from longtake.train.runs.epochs import Curves, read_curves
from longtake.train.runs.evaluate import load_run
from longtake.train.runs.meaning import meaning
from longtake.train.runs.patterns import own_categories, patterns_of
from longtake.train.runs.predict_store import predict_run
from longtake.train.runs.prediction import Prediction
from longtake.train.runs.records import is_simulated, number, read_run
from longtake.train.runs.tables import (
    RANDOM_NOTE,
    by_video,
    few_mark,
    format_table,
    notes,
    read_predictions,
    undefined_note,
)
from longtake.train.runs.tensorboard import logged_models, read_log

TEMPLATE = Path(__file__).with_name("page.html")
WORST = 10
"""Videos of the list of largest errors, for each category and score."""
STRONGEST = 4
"""Clips of a video that are shown as pictures."""


@dataclass(frozen=True)
class Scored:
    """A test video by all heads that were not trained on it."""

    video_id: str
    true: float
    predicted: float
    """Mean over seeds."""
    true_rank: float
    predicted_rank: float
    """1 is the highest score; ties share their mean."""

    @property
    def error(self) -> float:
        return self.predicted - self.true


@dataclass
class Looked:
    """Where the grades looked in one video, as a strip for each and pictures of its strongest clips."""

    video_id: str
    why: str
    strip: Strip
    pictures: list[tuple[str, str]] = field(default_factory=list)
    """(caption, address of the picture, which holds the picture itself)"""


@dataclass
class Section:
    """A category and score."""

    key: tuple[str, str]
    scored: list[Scored]
    figures: list[str]
    looked: list[Looked] = field(default_factory=list)

    @property
    def name(self) -> str:
        return printable(" ".join(filter(None, self.key)))

    @property
    def worst(self) -> list[Scored]:
        return sorted(self.scored, key=lambda one: -abs(one.error))[:WORST]


def make_page(
    run: Path, store: Store | None = None, videos: Path | None = None, show: Sequence[str] = ()
) -> tuple[str, list[str]]:
    """The page, and what is missing from it and why.

    With the run's store it also shows where grades looked, in a few videos and those of `show`, and their patterns; with
    the videos, pictures of the strongest clips. Raises `DataError` for a folder that is not a run, `CheckpointError` for another recipe's store.
    """
    metrics, config = read_run(run)
    dataset, line = line_of(run)
    sections = {section.key: section for section in _sections(run)}
    missing: list[str] = []
    _add_curves(run, sections, missing)
    if store is not None:
        own = own_categories(run, store, sections)
        _add_patterns(run, store, sections, own)
        _add_looks(run, store, videos, show, {key: sections[key] for key in own}, own, missing)
    papers = published_lines(dataset)
    known = [
        [KnownRoutine(one.video_id, one.true, one.predicted) for one in section.scored] for section in sections.values()
    ]
    page = render(
        TEMPLATE,
        meaning=meaning(metrics.head, metrics.rows, known),
        labelled=labelled,
        html_table=html_table,
        run=run.resolve().name,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        dataset=dataset,
        metrics=metrics,
        config=config,
        made_of={"settings": config.settings, "features": config.features.to_dict()},
        table=format_table(metrics.rows, "html"),
        simulated=is_simulated(config),
        random_note=RANDOM_NOTE if metrics.random_weights else "",
        undefined=undefined_note(
            [number(model.test.spearman) for model in metrics.models if not model.control],
            are_pooled(config.options.folds),
        ),
        sections=sections.values(),
        notes=notes(metrics.rows, metrics.group),
        unfinished=metrics.unfinished,
        comparison=format_lines([*papers, line], "html") if papers else "",
        models=sum(not model.control for model in metrics.models),
    )
    return page, missing


def _sections(run: Path) -> Iterator[Section]:
    """From predictions.csv, in its order, with predicted against true scores."""
    for key, videos in by_video(read_predictions(run), lambda row: (row.category, row.score)).items():
        true, predicted = np.array(list(videos.values())).T
        ranks = rankdata(-true), rankdata(-predicted)
        columns = zip(videos, *(column.tolist() for column in (true, predicted, *ranks)))
        section = Section(key, [Scored(*values) for values in columns], [])
        title = f"{section.name}, {few_mark(len(true)) or f'n={len(true)}'}"
        section.figures.append(figures.scatter(title, true, predicted, "judges' units"))
        yield section


def _add_curves(run: Path, sections: dict[tuple[str, str], Section], missing: list[str]) -> None:
    """Loss and test correlation of every model."""
    curves = {name: found for name, found in _curves(run, missing).items() if not name.endswith(CONTROL)}
    for (category, score), section in sections.items():
        # One model may serve all categories of a score, or all datasets.
        for unit in (unit_name(category, score), unit_name("", score), UNIFIED):
            mine = {name: found for name, found in curves.items() if name.startswith(f"{unit}-seed")}
            if mine:
                break
        for title, kind in (("loss", "loss"), ("test Spearman", "test_spearman")):
            lines = {
                name.removeprefix(f"{unit}-"): points for name in sorted(mine) if (points := getattr(mine[name], kind))
            }
            if lines:
                section.figures.append(figures.curves(f"{section.name}: {title}", title, lines))


def _curves(run: Path, missing: list[str]) -> dict[str, Curves]:
    """By model. Epochs that version 0.1 trained are in TensorBoard logs alone."""
    found = read_curves(run)
    logged = [name for name in logged_models(run) if 1 not in found.get(name, Curves()).loss]
    try:
        for name in logged:
            earlier, later = read_log(run, name), found.get(name, Curves())
            found[name] = Curves(earlier.loss | later.loss, earlier.test_spearman | later.test_spearman)
    except TrainError as error:
        missing.append(str(error))
    return found


def _grade_names(count: int) -> list[str]:
    names = [f"grade {index + 1}" for index in range(count)]
    names[0] += ", worst"
    names[-1] += ", best"
    return names


@torch.no_grad()
def _add_patterns(
    run: Path, store: Store, sections: dict[tuple[str, str], Section], own: dict[tuple[str, str], str]
) -> None:
    """The grade patterns of the test videos, for the first head of each category and score."""
    seen: set[tuple[str, str]] = set()
    for head, config, maker in load_run(run, store):
        tested = {(category, scale.name) for category, scale in config.tested_on(store.dataset)}
        for key, category in own.items():
            if (category, key[1]) not in tested or key in seen:
                continue
            seen.add(key)
            section = sections[key]
            patterns = patterns_of(head, config, maker, [one.video_id for one in section.scored])
            if patterns is None:
                continue
            count = patterns.shape[1]
            flat = patterns.reshape(-1, patterns.shape[2])
            flat = flat - flat.mean(axis=0)
            left, values, _ = np.linalg.svd(flat, full_matrices=False)
            explained = float((values[:2] ** 2).sum() / max((values**2).sum(), 1e-12))
            grades = np.tile(np.arange(count), len(patterns))
            points = left[:, :2] * values[:2]
            title = f"{section.name}: grades of {config.file_name}"
            section.figures.append(figures.embedding(title, points, grades, _grade_names(count), explained))


def _add_looks(
    run: Path, store: Store, videos: Path | None, show: Sequence[str], sections: dict[tuple[str, str], Section],
    own: dict[tuple[str, str], str], missing: list[str],
) -> None:  # fmt: skip
    tested = [one.video_id for section in sections.values() for one in section.scored]
    for video_id in show:
        if video_id not in tested:
            raise DataError(f"{run} has no test video {video_id}{there_are(video_id, dict.fromkeys(tested))}")
    of_sections = {key: _chosen(section.scored, show) for key, section in sections.items()}
    now = dict(zip(store.labels.video_ids, store.labels.categories))
    # Heads of a category score all that is chosen of its sections at once: each call reads the store.
    found = {}
    for category in dict.fromkeys(own.values()):
        asked = dict.fromkeys(v for key, chosen in of_sections.items() if own[key] == category for v in chosen)
        for video_id in [v for v in asked if category and now.get(v, "") not in ("", category)]:
            missing.append(f"{video_id} is of {now[video_id]} in {store.path} by now, and its attention is not shown")
            del asked[video_id]
        for one in predict_run(run, store, list(asked), category or None):
            found[one.category, one.score, one.video_id] = one
    for key, section in sections.items():
        for video_id, why in of_sections[key].items():
            scored = found.get((own[key], key[1], video_id))
            if scored is None or not scored.timeline.by_grade:
                continue
            line = scored.timeline
            times = list(zip(line.start_seconds, line.end_seconds)) if line.times_known else []
            names = _grade_names(len(line.by_grade))
            looked = Looked(video_id, why, strip(names, line.by_grade, times, f"Attention of the grades in {video_id}"))
            if videos is not None and not times:
                missing.append(f"no pictures of {video_id}: the times of its clips are unknown")
            elif videos is not None:
                try:
                    looked.pictures = _pictures(scored, store, videos)
                except (LongtakeError, OSError) as error:
                    missing.append(f"no pictures of {video_id}: {error}")
            section.looked.append(looked)


def _chosen(scored: Sequence[Scored], show: Sequence[str]) -> dict[str, str]:
    """Videos whose attention is worth a look, and those asked for -> why."""
    by_score = sorted(scored, key=lambda one: one.true)
    chosen = {by_score[-1].video_id: "highest score", by_score[0].video_id: "lowest score"}
    chosen.setdefault(max(scored, key=lambda one: abs(one.error)).video_id, "largest error")
    return chosen | {one.video_id: "asked for" for one in scored if one.video_id in show and one.video_id not in chosen}


def _pictures(one: Prediction, store: Store, folder: Path) -> list[tuple[str, str]]:
    line = one.timeline
    shares = np.array(line.shares)
    strongest = np.sort(np.argsort(-shares, kind="stable")[:STRONGEST])
    middles = [(line.start_seconds[i] + line.end_seconds[i]) / 2 for i in strongest]
    record = next(r for stream in store.streams for r in stream.records if r.video_id == one.video_id)
    make = from_extract("thumbnails", "pictures of videos")
    pictures = make(folder, one.video_id, record.source_name, middles)
    return [
        (f"{clock(line.start_seconds[i])} to {clock(line.end_seconds[i])}, {shares[i]:.0%}", data_address(picture, "image/jpeg"))
        for i, picture in zip(strongest, pictures)
    ]  # fmt: skip
