"""The demo dataset: which routines it has, its tables, and its folder of videos."""

from __future__ import annotations

import csv
import io
import json
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np

from longtake.extract.demo.render import RENDER_VERSION, render_routine
from longtake.extract.demo.routine import CATEGORIES, DURATION_SECONDS, KINDS, Element, Routine
from longtake.extract.errors import ExtractError
from longtake.files import require_regular, write_whole
from longtake.processes import end_with_starter

SHIPPED_VIDEOS = 128
"""Number of videos in manifests/demo.csv, planned with seed 0."""
TEST_SHARE = 0.3

T = TypeVar("T")


class _Draws:
    """Random numbers from the raw stream of PCG64, the only stream that NumPy promises never to change."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) * 2.0**-53)

    def below(self, bound: int) -> int:
        return int(self.uniform() * bound)

    def shuffled(self, items: Iterable[T]) -> list[T]:
        shuffled = list(items)
        for last in range(len(shuffled) - 1, 0, -1):
            other = self.below(last + 1)
            shuffled[last], shuffled[other] = shuffled[other], shuffled[last]
        return shuffled


def plan_demo(
    seed: int = 0, num_videos: int = SHIPPED_VIDEOS, *, duration_seconds: float = 20.0
) -> tuple[Routine, ...]:
    """The routines of the demo dataset, half of them per category, 30 % of each category for testing.

    With seed 0, up to `SHIPPED_VIDEOS` routines are a subset of the shipped ones; any other plan has its own ids. So an id identifies a
    routine, and `--dataset demo` never gives a video another one's score. Skill is stratified within each split of a whole plan, so the
    scores of its test videos span the range too. A shorter duration cuts the videos and keeps the scores, for trials. Pure: the same
    arguments give the same routines on every machine. Raises `ExtractError` for arguments out of range.
    """
    if seed < 0 or num_videos < 4:
        raise ExtractError(f"the demo needs a seed of 0 or more and at least 4 videos, got {seed} and {num_videos}")
    if not 0.2 <= duration_seconds <= DURATION_SECONDS:
        raise ExtractError(f"a demo video lasts 0.2 to {DURATION_SECONDS:g} seconds, asked for {duration_seconds}")
    ships = seed == 0 and num_videos <= SHIPPED_VIDEOS
    named = "" if ships else f"s{seed}n{num_videos}_"
    routines = []
    for order, category in enumerate(CATEGORIES):
        left = _by_split(num_videos, order)
        sizes = _by_split(SHIPPED_VIDEOS if ships else num_videos, order)
        draws = _Draws(seed, order)
        places = [(split, stratum, strata) for split, strata in sizes.items() for stratum in range(strata)]
        for number, (split, stratum, strata) in enumerate(draws.shuffled(places), start=1):
            skill = (stratum + draws.uniform()) / strata
            routine = _plan_routine(draws, f"{category.lower()}_{named}{number:03d}", category, split, skill)
            if left[split]:
                left[split] -= 1
                routines.append(replace(routine, duration_seconds=duration_seconds))
    return tuple(routines)


def _by_split(num_videos: int, order: int) -> dict[str, int]:
    """Number of routines of a category per split, by its position among the categories."""
    count = (num_videos + 1 - order) // 2
    num_test = max(1, int(TEST_SHARE * count + 0.5))
    return {"train": count - num_test, "test": num_test}


def _plan_routine(draws: _Draws, video_id: str, category: str, split: str, skill: float) -> Routine:
    def quality() -> float:
        # Weights 0.55 and 0.45 give two qualities the correlation 0.55**2 / (0.55**2 + 0.45**2) = 0.6.
        spread = 1.25 * (0.55 * skill + 0.45 * draws.uniform() - 0.5) + 0.5
        return round(100 * min(max(spread, 0.0), 1.0)) / 100

    amplitude, smoothness, timing = quality(), quality(), quality()
    num_elements = CATEGORIES[category].num_elements
    num_falls = sum(draws.uniform() < 0.55 * (1 - skill) for _ in range(3))
    falling = set(draws.shuffled(range(num_elements))[:num_falls])
    kinds = (draws.shuffled(KINDS) + draws.shuffled(KINDS))[:num_elements]
    elements = []
    for index, kind in enumerate(kinds):
        sign = 1 if draws.uniform() < 0.75 else -1
        elements.append(Element(kind, sign * draws.uniform(0.6, 1.0), index in falling))
    return Routine(
        video_id, category, split, amplitude, smoothness, timing, tuple(elements), nuisance_seed=draws.below(2**31)
    )


def tables(routines: Sequence[Routine]) -> tuple[str, str]:
    """The routines as a manifest (CSV), what a model may know; and with the parameters behind their scores (CSV), for checking results."""
    manifest, truth = io.StringIO(), io.StringIO()
    known = ("video_id", "split", "category", "score_total")
    to_manifest, to_truth = (csv.writer(text, lineterminator="\n") for text in (manifest, truth))
    to_manifest.writerow(known)
    to_truth.writerow((*known, "amplitude", "smoothness", "timing", "falls", "elements"))
    for r in routines:
        row = (r.video_id, r.split, r.category, f"{r.score:.2f}")
        to_manifest.writerow(row)
        elements = " ".join(element.kind + "!" * element.falls for element in r.elements)
        hidden = (f"{r.amplitude:.2f}", f"{r.smoothness:.2f}", f"{r.timing:.2f}", r.num_falls)
        to_truth.writerow((*row, *hidden, elements))
    return manifest.getvalue(), truth.getvalue()


def write_demo(
    folder: Path | str,
    *,
    seed: int = 0,
    num_videos: int = 128,
    duration_seconds: float = DURATION_SECONDS,
    workers: int = 1,
    on_video: Callable[[Routine, Path], None] | None = None,
) -> Path:
    """Render the demo into `folder`: `videos/<id>.mp4`, `demo.csv`, which is the manifest it returns, and `truth.csv`.

    Existing videos are kept, so an interrupted run can be repeated. `on_video` is called in this process after each video, kept or
    made. Raises `ExtractError` when the folder holds the videos of another plan.
    """
    routines = plan_demo(seed, num_videos, duration_seconds=duration_seconds)
    folder = Path(folder)
    videos = folder / "videos"
    plan = {"seed": seed, "num_videos": num_videos, "duration_seconds": duration_seconds}
    _claim(folder, {"simulated": True, **plan, "render_version": RENDER_VERSION})
    manifest = folder / "demo.csv"
    for path, text in zip((manifest, folder / "truth.csv"), tables(routines)):
        write_whole(path, text)
    report = on_video or (lambda routine, path: None)

    missing = []
    for routine in routines:
        path = videos / f"{routine.video_id}.mp4"
        if path.exists():
            report(routine, path)
        else:
            missing.append((routine, path))
    if workers <= 1:
        for routine, path in missing:
            report(routine, render_routine(routine, path))
        return manifest
    # Spawned, not forked: a caller may hold threads (torch, HDF5) that do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin) as pool:
        tasks = {pool.submit(render_routine, routine, path): routine for routine, path in missing}
        try:
            for task in as_completed(tasks):
                routine = tasks[task]
                report(routine, task.result())
        finally:  # after Ctrl-C or a failure, drop the routines that are still queued
            pool.shutdown(cancel_futures=True)
    return manifest


def _begin() -> None:
    """Set up a worker process. It ignores Ctrl-C: the parent stops giving it work."""
    import cv2

    end_with_starter()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _claim(folder: Path, plan: Mapping[str, object]) -> None:
    """Mark the folder as holding this plan; refuse one with other videos."""
    marker = folder / "demo.json"
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    if marker.exists():
        try:
            found = dict(json.loads(require_regular(marker).read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            found = {}
        others = [f"{key} is {found.get(key)}, asked for {plan[key]}" for key in plan if found.get(key) != plan[key]]
        if others:
            raise ExtractError(f"{folder} holds another demo ({'; '.join(others)}). Name another folder, or remove it")
    elif any((folder / "videos").glob("*.mp4")):
        raise ExtractError(f"{folder / 'videos'} holds videos that `extract demo` did not make; name another folder")
    else:
        write_whole(marker, json.dumps(plan) + "\n")
