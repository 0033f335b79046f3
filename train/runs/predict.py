"""`longtake.predict` and `train predict`: score the videos of a store, or video files, and show them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from longtake.errors import LongtakeError
from longtake.features.store import open_store
from longtake.train.errors import DataError
from longtake.train.extras import from_extract
from longtake.train.runs.evaluate import checkpoints
from longtake.train.runs.predict_files import find_files, predict_files
from longtake.train.runs.predict_store import predict_run
from longtake.train.runs.prediction import Failure, Prediction, Predictions
from longtake.train.runs.routine import write_page


def predict(
    run: Path | str,
    *,
    features: Path | str | None = None,
    video: Path | str | Sequence[Path | str] | None = None,
    category: str | None = None,
    only: Sequence[str] = (),
    weights: Sequence[str] = (),
    device: str = "auto",
    runtime: str = "auto",
    accept: Sequence[str] = (),
    overlay: Path | str | None = None,
    html: Path | str | None = None,
    compare: Path | str | None = None,
    level: float | None = None,
    abstain_above: float | None = None,
    memory: str | int | None = None,
) -> Predictions:
    """Scores in judges' units by the heads of a run's folder, of the videos of a store or of video files.

    `video` names files, folders and patterns; those that cannot be scored are the `failures` of the result. `category` names the heads for
    videos without a category, `accept` fields of the recipe that may differ; `weights`, `device` and `runtime` are the backbone's, as
    `extract run` takes them. `overlay` is a file to write the video to, with attention and score, `html` one for its page, and `compare` another video on that page;
    of several videos, `overlay` and `html` are folders. `level` of intervals is 0.9 by default; scores whose interval is wider than
    `abstain_above` are nan. Raises a `LongtakeError` where nothing can be scored, or `level` or `abstain_above` are given and the run has too few
    test videos. `memory`, such as `2GB`: features of a store that take more are read from the disk; by default half of what is free.
    """
    how: dict[str, Any] = {"accept": accept, "level": level, "abstain_above": abstain_above, "memory": memory}
    if features is None and video is not None:
        if only:
            raise DataError("only= goes with features=: it names videos of a store")
        if compare is not None and html is None:
            raise DataError("compare= goes with html=: it puts another video on the page")
        checkpoints(Path(run))
        named = [video] if isinstance(video, (str, Path)) else video
        files = find_files([Path(one) for one in named])
        other = None if compare is None else _one_of(Path(compare))
        overlays, pages = _outputs(overlay, files, ".mp4"), _outputs(html, files, ".html")
        wanted = list(dict.fromkeys([*files, *([other] if other else [])]))
        scored, failures = predict_files(
            Path(run), wanted, category, weights, device, runtime, running=bool(overlays), **how
        )
        if other is not None and other not in scored:
            raise DataError(next(f"{other} {one.message}" for one in failures if one.video == str(other)))
        for file in [file for file in files if file in scored]:
            try:
                if overlays:
                    draw(file, overlays[file], scored[file])
                if pages:
                    both = [file] if other is None else [file, other]
                    write_page(pages[file], Path(run), {one: scored[one] for one in both})
            except LongtakeError as error:
                if len(files) == 1:
                    raise
                failures.append(Failure(str(file), f"has a score, but not all of its files: {error}"))
        found = Predictions(one for file in files for one in scored.get(file, ()))
        found.failures = tuple(failures)
        return found
    if features is None or video is not None:
        raise DataError("name what to score with either features= or video=")
    with open_store(features) as store:
        return Predictions(predict_run(Path(run), store, only, category, **how))


def _one_of(compare: Path) -> Path:
    found = find_files([compare])
    if len(found) > 1:
        raise DataError(f"a page compares with one video, and {compare} names {len(found)}")
    return found[0]


def _outputs(out: Path | str | None, files: Sequence[Path], ending: str) -> dict[Path, Path]:
    """Where the overlay or page of each video is written: `out`, or files in this folder for several videos. Raises `DataError` now, and not
    after all was computed."""
    if out is None:
        return {}
    out = Path(out)
    if len(files) == 1 and not out.is_dir():
        if not out.parent.is_dir():
            raise DataError(f"cannot write {out}: there is no folder {out.parent}")
        if ending == ".html" and out.suffix.lower() not in (".html", ".htm"):
            raise DataError(f"{out} would be a page: name a file that ends in .html")
        return {files[0]: out}
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{len(files)} videos need a folder to write to, and {out} is none: {error.strerror}"
        ) from error
    if ending == ".mp4" and any(file.parent.resolve() == out.resolve() for file in files):
        raise DataError(f"overlays would be among the videos of {out}, and in the place of some: name another folder")
    paths = {file: out / f"{file.stem}{ending}" for file in files}
    if len(set(paths.values())) < len(paths):
        paths = {file: out / f"{number}-{file.stem}{ending}" for number, file in enumerate(files, 1)}
    return paths


def draw(video: Path, out: Path, predictions: Sequence[Prediction]) -> None:
    """Write `out`, the video with the attention of each clip and the score so far; of predictions with `running`."""
    draw_overlay, track = (from_extract(name, "drawing on a video") for name in ("draw_overlay", "track"))
    tracks = []
    for one in predictions:
        line, ends = one.timeline, one.bounds
        expected = f", expected {ends.low:.2f} to {ends.high:.2f}" if ends else ""
        tracks.append(
            track(
                one.name,
                line.start_seconds,
                line.end_seconds,
                line.shares,
                () if one.abstained else line.running,
                "no score for this video" if one.abstained else f"whole: {one.predicted:.2f}{expected}",
                one.limits,
                (ends.low, ends.high) if ends else None,
                "random weights: these numbers mean nothing" if one.random_weights else "",
            )
        )
    draw_overlay(video, out, tracks)
