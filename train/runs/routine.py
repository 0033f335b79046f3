"""The page of a scored video file: facts from its predictions and the run, its video and pictures from the file."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from longtake.errors import printable
from longtake.files import write_whole
from longtake.train.errors import DataError
from longtake.train.extras import from_extract
from longtake.train.pages import words
from longtake.train.pages.facts import Interval, KnownRoutine, Picture, Routine, RoutineScore
from longtake.train.pages.routine import routine_page
from longtake.train.runs.prediction import Prediction
from longtake.train.runs.records import CONFIG, read_config
from longtake.train.runs.tables import PREDICTIONS, by_video, read_predictions, tested_as

MOST_INSIDE = 24_000_000
"""Bytes of a video that is kept inside its page; a larger one is in a folder next to it."""
PICTURE_LINES = 240
"""Of the shorter side of the pictures of moments."""


def write_page(out: Path, run_folder: Path, videos: Mapping[Path, Sequence[Prediction]]) -> None:
    """Write the page of a scored video file, or of two. Videos too large for the page go to a folder next to it, named as the page with
    `_files` at its end. Raises a `LongtakeError` where a video cannot be read or a file cannot be written."""
    make_playable = from_extract("playable", "a page with a video")
    routines = []
    try:
        with TemporaryDirectory() as folder:
            for number, (video, predictions) in enumerate(videos.items(), 1):
                copy = Path(folder) / f"{number}.mp4"
                kind = make_playable(video, copy, MOST_INSIDE)
                content, address = b"", ""
                if copy.stat().st_size <= MOST_INSIDE:
                    content = copy.read_bytes()
                else:
                    kept = out.with_name(f"{out.stem}_files") / f"{number}.{kind.removeprefix('video/')}"
                    kept.parent.mkdir(exist_ok=True)
                    shutil.move(copy, kept)
                    address = f"{quote(kept.parent.name)}/{kept.name}"
                routines.append(
                    routine_of(
                        video.stem,
                        predictions,
                        run_folder,
                        video_bytes=content,
                        video=address,
                        video_type=kind,
                        pictures=_pictures(video, predictions),
                    )
                )
        title = " and ".join(printable(video.stem) for video in videos)
        write_whole(out, routine_page(title, routines))
    except OSError as error:
        raise DataError(f"cannot write the page {out}: {error.strerror or error}") from error


def _pictures(video: Path, predictions: Sequence[Prediction]) -> list[Picture]:
    """Of the strongest moments of the first score that has some."""
    one = next((one for one in predictions if one.timeline.shares), None)
    if one is None or not one.timeline.times_known:
        return []
    clips = words.moments(RoutineScore(one.name, None, shares=one.timeline.shares))
    middles = [(one.timeline.start_seconds[clip] + one.timeline.end_seconds[clip]) / 2 for clip in clips]
    make = from_extract("thumbnails", "pictures of videos")
    return [Picture(*pair) for pair in zip(clips, make(video.parent, video.stem, video.name, middles, PICTURE_LINES))]


def routine_of(
    name: str, predictions: Sequence[Prediction], run_folder: Path, dataset: str = "", **media: object
) -> Routine:
    """What the page says of a video of `dataset`, the first one of the run if none is given; `media` are the video and pictures of a `Routine`."""
    line = predictions[0].timeline
    config = read_config(run_folder) if (run_folder / CONFIG).exists() else None
    trained_on = config.dataset if config else ""
    known = known_routines(run_folder, dataset or trained_on.partition("+")[0], trained_on)
    made_of = {"Run": printable(str(run_folder)), "Heads": str(predictions[0].num_heads)}
    if config is not None:
        made_of |= {
            "Dataset": config.dataset_title or config.dataset,
            "Features": f"{config.features.backbone}@{config.recipe_id}",
            "Weights": config.features.weights,
        }
    return Routine(
        printable(name),
        [_score(one, known) for one in predictions],
        list(zip(line.start_seconds, line.end_seconds)) if line.times_known else len(line.start_seconds),
        head=config.head if config else "",
        random_weights=any(one.random_weights for one in predictions),
        made_of=made_of,
        **media,  # type: ignore[arg-type]
    )


def known_routines(run_folder: Path, dataset: str, trained_on: str) -> Callable[[str, str], list[KnownRoutine]]:
    """(category, score) -> the videos of `dataset` in the run that judges scored and that tested its heads; none for a run without predictions."""
    rows = list(read_predictions(run_folder)) if (run_folder / PREDICTIONS).exists() else []
    found = by_video(rows, lambda row: (row.category, row.score))

    def of(category: str, score: str) -> list[KnownRoutine]:
        keys = [key for key in found if key[1] == score and tested_as(key[0], category, dataset, trained_on)]
        return [KnownRoutine(video, *pair) for key in keys for video, pair in found[key].items()]

    return of


def _score(one: Prediction, known: Callable[[str, str], list[KnownRoutine]]) -> RoutineScore:
    bounds = one.bounds
    return RoutineScore(
        printable(one.name),
        None if math.isnan(one.predicted) else one.predicted,
        why_none=one.abstained,
        interval=Interval(bounds.low, bounds.high, bounds.level, _known(bounds.coverage)) if bounds else None,
        why_no_interval=one.unbounded,
        judges=one.judges,
        deviation=_known(one.deviation),
        num_heads=one.num_heads,
        limits=one.limits,
        known=known(one.category, one.score),
        video_id=one.video_id,
        grades=one.grades,
        shares=one.timeline.shares,
        by_grade=one.timeline.by_grade,
        notes=_notes(one),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _notes(one: Prediction) -> list[str]:
    notes = []
    if one.learnt_by:
        notes.append("The program learnt from this very routine, so its score says nothing about new ones.")
    if one.unmatched:
        notes.append("No routine of its kind is known: it is compared with any.")
    return notes
