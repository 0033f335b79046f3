"""The demo dataset: simulated ribbon routines whose score is known because it is computed, not judged.

Everything here is SIMULATED: a drawn gymnast performs elements to synthesised music. Four hidden parameters decide
what is seen and heard, and the same four decide the score by the one rule of this dataset:

    score_total = 5 * amplitude + 3 * smoothness + 2 * timing - 1 * falls,   clipped to 0-10

`amplitude`, `smoothness` and `timing` lie in 0-1 and are drawn in whole hundredths, so the score is exact to 0.01.

- amplitude: how high legs and leaps go, how far the throw flies, how large the ribbon's figures are;
- smoothness: flowing motion (1) or motion in bursts, with trembling and a knotted ribbon (0);
- timing: each element begins on its beat (1) or up to 0.45 of a beat beside it (0), seen and heard as a foot tap;
- falls: 0 to 3 times the gymnast drops to the floor for 1.2 s, with a thud.

The three qualities share a hidden skill (pairwise correlation near 0.6), and falls are likelier with less of it.
Order of elements, key of the music, colours and camera vary without any bearing on the score.
"""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from longtake.extract.errors import ExtractError
from longtake.processes import end_with_starter

DURATION_SECONDS = 20.0
FPS = 25
WIDTH, HEIGHT = 320, 240
SAMPLE_RATE_HZ = 44100
RENDER_VERSION = 3
"""Raised whenever the same plan gives other pictures or sounds, so that old files are not mixed with new ones."""

SHIPPED_VIDEOS = 128
"""manifests/demo.csv is the plan of so many, with seed 0."""

KINDS = ("steps", "leap", "pirouette", "balance", "kicks", "spirals", "eights", "throw")
BEATS_PER_ELEMENT = 4
FALL_SECONDS = 1.2
FALL_AT = 0.35
"""Fraction of an element at which its fall begins; early enough for the fall to end within the element."""
LATEST_BEATS = 0.45
TEST_SHARE = 0.3


@dataclass(frozen=True)
class Category:
    """What the routines of one category share."""

    bpm: int
    intro_beats: int
    """Beats before the first element."""
    num_elements: int


CATEGORIES = {"Adagio": Category(84, 1, 6), "Allegro": Category(126, 2, 9)}


@dataclass(frozen=True)
class Element:
    """One element of a routine."""

    kind: str
    jitter: float
    """In -1..1; times `LATEST_BEATS * (1 - timing)` the number of beats it begins too late (below 0: too early)."""
    falls: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS or not -1 <= self.jitter <= 1:
            raise ValueError(f"no element {self.kind!r} with jitter {self.jitter}; kinds are {', '.join(KINDS)}")


@dataclass(frozen=True)
class Routine:
    """One video, before it is drawn: everything that decides its pixels, its samples and its score."""

    video_id: str
    category: str
    split: str
    amplitude: float
    smoothness: float
    timing: float
    elements: tuple[Element, ...]
    nuisance_seed: int
    """Decides colours, camera, musical key and the noise of trembling; says nothing about the score."""
    duration_seconds: float = DURATION_SECONDS
    """A shorter duration cuts the end off; the score stays that of the whole routine."""

    def __post_init__(self) -> None:
        if self.category not in CATEGORIES:
            raise ValueError(f"{self.video_id}: category {self.category!r} is not one of {', '.join(CATEGORIES)}")
        for name in ("amplitude", "smoothness", "timing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{self.video_id}: {name} must lie in 0-1, got {getattr(self, name)}")
        if not 0.2 <= self.duration_seconds <= DURATION_SECONDS:
            raise ValueError(f"{self.video_id}: a routine lasts 0.2 to 20 seconds, got {self.duration_seconds}")

    @property
    def num_falls(self) -> int:
        return sum(element.falls for element in self.elements)

    @property
    def score(self) -> float:
        """Judges' units, 0-10, a whole number of hundredths. The rule is in the docstring of this module."""
        quality = 5 * round(100 * self.amplitude) + 3 * round(100 * self.smoothness) + 2 * round(100 * self.timing)
        return min(max(quality - 100 * self.num_falls, 0), 1000) / 100

    @property
    def beat_seconds(self) -> float:
        return 60 / CATEGORIES[self.category].bpm

    def beats_seconds(self) -> np.ndarray:
        """When the music beats, `(beats,)`; the first beat is at 0."""
        return np.arange(0, self.duration_seconds, self.beat_seconds)

    def starts_seconds(self) -> tuple[float, ...]:
        """When each element begins: on its beat, or beside it as far as `timing` is poor."""
        intro, slack = CATEGORIES[self.category].intro_beats, LATEST_BEATS * (1 - self.timing)
        return tuple(
            self.beat_seconds * (intro + BEATS_PER_ELEMENT * index + slack * element.jitter)
            for index, element in enumerate(self.elements)
        )

    def falls_seconds(self) -> tuple[float, ...]:
        """When each fall begins; the gymnast stands again `FALL_SECONDS` later."""
        into = FALL_AT * BEATS_PER_ELEMENT * self.beat_seconds
        return tuple(start + into for start, element in zip(self.starts_seconds(), self.elements) if element.falls)


class _Draws:
    """Random numbers from the raw stream of PCG64, the only stream that NumPy promises never to change."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) * 2.0**-53)

    def below(self, bound: int) -> int:
        return int(self.uniform() * bound)

    def shuffled(self, items: Sequence) -> list:
        items = list(items)
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]
        return items


def plan_demo(
    seed: int = 0, num_videos: int = SHIPPED_VIDEOS, *, duration_seconds: float = 20.0
) -> tuple[Routine, ...]:
    """The routines of the demo dataset, half of them per category, 30 % of each category for testing.

    Fewer of seed 0 than ship are some of those; any other plan has ids of its own. So an id says which routine it is, and
    `--dataset demo` never gives a video the score of another. Skill is stratified within each split of a whole plan, so that the scores of its
    test videos span the range too. A shorter duration cuts the videos and leaves the scores: it is for trying things out. Pure: the same
    arguments give the same routines on every machine. Raises `ExtractError` for arguments that make no dataset.
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
    """How many of them a category has, by its place among the categories."""
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


def manifest_text(routines: Sequence[Routine]) -> str:
    """The routines as a manifest (CSV): what a model may know."""
    return _csv_text(
        ("video_id", "split", "category", "score_total"),
        [(r.video_id, r.split, r.category, f"{r.score:.2f}") for r in routines],
    )


def truth_text(routines: Sequence[Routine]) -> str:
    """The routines with the parameters behind their scores (CSV): for looking at results, not for training."""
    header = ("video_id", "split", "category", "score_total", "amplitude", "smoothness", "timing", "falls", "elements")
    rows = []
    for r in routines:
        hidden = (f"{r.amplitude:.2f}", f"{r.smoothness:.2f}", f"{r.timing:.2f}", r.num_falls)
        elements = " ".join(element.kind + "!" * element.falls for element in r.elements)
        rows.append((r.video_id, r.split, r.category, f"{r.score:.2f}", *hidden, elements))
    return _csv_text(header, rows)


def _csv_text(header: Sequence[str], rows: Sequence[Sequence]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def render_routine(routine: Routine, path: Path | str) -> Path:
    """Draw, play and encode one routine: H.264 320x240 at 25 fps and AAC mono at 44.1 kHz, in mp4.

    Written beside `path` and renamed into place, so a file that exists is whole. Byte-identical for the same routine
    on the same machine and library versions.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        _encode(routine, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _encode(routine: Routine, path: Path) -> None:
    try:
        import av
        import cv2
    except ImportError as error:
        raise ExtractError(f"drawing the demo needs {error.name}: pip install 'longtake[extract]'") from error

    from longtake.extract.demo.scene import draw_frames
    from longtake.extract.demo.sound import play

    sound = play(routine)
    options = {"fflags": "+bitexact", "movflags": "+faststart"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        video = container.add_stream("libx264", rate=FPS, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p")
        # For equal bytes. One thread: with several, x264's rate control may depend on scheduling. No macroblock tree: with
        # it, about one file in a hundred came out differently from the same pictures.
        video.codec_context.options = {
            "preset": "veryfast", "crf": "23", "threads": "1", "g": str(2 * FPS), "x264-params": "mbtree=0"
        }  # fmt: skip
        audio = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono", bit_rate=64000)
        for stream in (video, audio):
            stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for index, picture in enumerate(draw_frames(routine)):
            frame = av.VideoFrame.from_ndarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), format="yuv420p")
            frame.pts = index
            container.mux(video.encode(frame))
            if index % FPS == 0:  # a second of sound per second of picture keeps the muxer's queue short
                first = index // FPS * SAMPLE_RATE_HZ
                _encode_sound(container, audio, sound[first : first + SAMPLE_RATE_HZ], first)
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def _encode_sound(container, stream, samples: np.ndarray, first: int) -> None:
    import av

    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
    frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, first
    container.mux(stream.encode(frame))


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

    Videos that are already there are kept, so an interrupted run can be repeated. `on_video` is called in this process
    after each video, kept or made. Raises `ExtractError` when the folder holds the videos of another plan.
    """
    routines = plan_demo(seed, num_videos, duration_seconds=duration_seconds)
    folder = Path(folder)
    videos = folder / "videos"
    plan = {"seed": seed, "num_videos": num_videos, "duration_seconds": duration_seconds}
    _claim(folder, {"simulated": True, **plan, "render_version": RENDER_VERSION})
    (folder / "truth.csv").write_text(truth_text(routines), encoding="utf-8", newline="")
    manifest = folder / "demo.csv"
    manifest.write_text(manifest_text(routines), encoding="utf-8", newline="")
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
        finally:  # after Ctrl-C or a failure, do not go on with the routines that are still queued
            pool.shutdown(cancel_futures=True)
    return manifest


def _begin() -> None:
    """In a process: Ctrl-C is for the one that started it, which gives it nothing more."""
    import cv2

    end_with_starter()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _claim(folder: Path, plan: dict) -> None:
    """Mark the folder as holding this plan; refuse one that holds anything else's videos."""
    marker = folder / "demo.json"
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    if marker.exists():
        try:
            found = dict(json.loads(marker.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            found = {}
        others = [f"{key} is {found.get(key)}, asked for {plan[key]}" for key in plan if found.get(key) != plan[key]]
        if others:
            raise ExtractError(f"{folder} holds another demo ({'; '.join(others)}). Name another folder, or remove it")
    elif any((folder / "videos").glob("*.mp4")):
        raise ExtractError(f"{folder / 'videos'} holds videos that `extract demo` did not make; name another folder")
    else:
        partial = folder / ".demo.json.partial"
        partial.write_text(json.dumps(plan) + "\n", encoding="utf-8")
        os.replace(partial, marker)
