"""Make the fixtures in v0_1/: stores and runs of version 0.1, and what its commands print for them.

Run this only with the code of 0.1, commit 1211ed0. The fixtures prove that later releases read what 0.1 wrote; made by later code, they
would only prove that it reads its own files. Check out that commit, copy this file and readings.py into its tests/compat/, and run

    python -m tests.compat.make_v0_1

The imports below are those of 0.1 and stay so. In readings.py, the commands of 0.1 are `features.cli:main` and `train.cli:main`.

All data is SIMULATED: noise with a planted direction, random text features, and scores drawn at random.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from features.convert import convert
from features.parts import parts_folder, write_part
from features.store import Storage, StreamItem, StreamPlan, write_store
from features.types import FAILED, FeatureHeader, Labels, TextFeatures, TextHeader, VideoFeatures, VideoRecord
from manifests.card import Card, ScoreType, find_card
from manifests.prompts import PromptSet
from tests.calls import invoke
from tests.compat.readings import EXPECTED, FINISHED, FIXTURES, HDF5, OTHER, READINGS, ZARR, copy_fixtures
from tests.compat.readings import heads as call_of
from tests.compat.readings import train as train_command

DIM, SOUND_DIM, TEXT_DIM = 12, 6, 8
NUM_TRAIN, NUM_TEST = 7, 4
LOGGED = "gslm"
"""The run that keeps its TensorBoard log, from which its page draws learning curves."""
STOP_AFTER = 5 + 5 + 3
"""Epochs of all models. Two models are finished; the third has saved its second epoch and loses its third."""


def header(backbone: str, modality: str, dim: int) -> FeatureHeader:
    preprocessing = {"note": "SIMULATED", "short_side": 256, "mean": [0.5, 0.5, 0.5]}
    return FeatureHeader(
        backbone, modality, dim, "simulated", None, False, 16, 16, "pad", 6.25, preprocessing, "none: SIMULATED"
    )


VIDEO, SOUND = header("planted", "video", DIM), header("sound", "audio", SOUND_DIM)


TEXTS = {
    "qgvl": {"scores": 5, "grades": 4},
    "mlavl": {"visual_actions": 2, "audio_actions": 2, "audio_visual_grades": 4, "visual_grades": 4},
}
PROMPTS = {
    name: PromptSet(
        name, "SIMULATED", {group: tuple(f"SIMULATED {group} {n}" for n in range(count)) for group, count in counts.items()}
    )
    for name, counts in TEXTS.items()
}  # fmt: skip


def card() -> Card:
    scores = {
        "total": ScoreType("total", "Total (simulated)", 0.0, 10.0),
        "artistry": ScoreType("artistry", "Artistry (simulated)", 0.0, 5.0),
    }
    return replace(
        find_card("demo"), name="simulated", title="SIMULATED fixtures of version 0.1", scores=scores,
        source="SIMULATED: made by tests/compat/make_v0_1.py", prompts=PROMPTS,
    )  # fmt: skip


def texts(rng: np.random.Generator) -> list[TextFeatures]:
    about, found = TextHeader("simulated", TEXT_DIM, "simulated", None, False), []
    for name, prompts in PROMPTS.items():
        groups = tuple(group for group, texts in prompts.groups.items() for _ in texts)
        values = 2 * rng.normal(size=(len(groups), TEXT_DIM)).astype(np.float32)
        found.append(TextFeatures(name, about, prompts.texts, groups, values))
    return found


class Videos:
    """Videos of one dataset, one of which failed. Quality moves the clips along one direction."""

    def __init__(self, seed: int, categories: tuple[str, ...]) -> None:
        rng = np.random.default_rng(seed)
        direction = np.random.default_rng(0).normal(size=DIM)
        failed = VideoRecord(
            "broken", FAILED, "decode", "InvalidDataError", "SIMULATED failure", source_name="broken.mp4"
        )
        self.videos, self.sounds = [VideoFeatures.failure(failed, DIM)], []
        rows = [("broken", "train", categories[0], 5.0, np.nan, np.nan)]
        for category in categories:
            for number in range(NUM_TRAIN + NUM_TEST):
                video_id = f"{category or 'video'}_{number:02d}"
                quality, count = rng.uniform(), int(rng.integers(5, 9))
                clips = rng.normal(size=(count, DIM)) + (2 * quality - 1) * direction
                sound = rng.normal(size=(count, SOUND_DIM)) + quality
                start = 2.56 * np.arange(count)
                about = VideoRecord(
                    video_id, source_name=f"{video_id}.mp4", duration_seconds=2.56 * count, fps=25.0,
                    finished_utc="2024-01-01T00:00:00+00:00", decoder="simulated",
                )  # fmt: skip
                made = [VideoFeatures(about, v.astype(np.float32), start, start + 2.56) for v in (clips, sound)]
                self.videos.append(made[0])
                self.sounds.append(made[1])
                split = "train" if number < NUM_TRAIN else "test"
                rows.append((video_id, split, category, 10 * quality, 5 * quality**2, 1.28 * count))
        ids, splits, named, *numbers = zip(*rows)
        total, artistry, boundary = np.round(np.array(numbers), 2)
        scores = np.stack([total, artistry], 1)
        self.labels = Labels(ids, splits, named, ("total", "artistry"), scores, boundary[:, None])


def plan(about: FeatureHeader, videos: list[VideoFeatures]) -> StreamPlan:
    items = [StreamItem(one.record, len(one.features), lambda one=one: one) for one in videos]
    return StreamPlan(about, np.dtype(np.float32), items)


def make_stores() -> None:
    Path("stores").mkdir()
    made = Videos(1, ("Adagio", "Allegro"))
    streams = [plan(VIDEO, made.videos), plan(SOUND, made.sounds)]
    rng = np.random.default_rng(5)
    write_store(
        Path(HDF5), dataset="simulated", card=card(), labels=made.labels, streams=streams, texts=texts(rng),
        storage=Storage(compression="gzip"),
    )  # fmt: skip
    convert(Path(HDF5), Path(ZARR))
    other = Videos(2, ("",))
    *packed, waiting = range(len(other.labels))
    write_store(
        Path(OTHER), dataset="other", card=None, labels=other.labels.subset(packed),
        streams=[plan(VIDEO, [other.videos[row] for row in packed])],
    )  # fmt: skip
    write_part(Path(OTHER), "other", other.labels.subset([waiting]), {VIDEO: other.videos[waiting]})


def interrupt() -> None:
    """Stop a run midway, as Ctrl-C does. Its state is saved after every epoch."""
    resume, progress = importlib.import_module("train.resume"), importlib.import_module("train.progress")
    resume.EVERY_SECONDS = 0.0
    epochs, epoch = [], progress.EpochProgress.epoch

    def stop(self: object, *arguments: object) -> None:
        epoch(self, *arguments)
        epochs.append(arguments)
        if len(epochs) == STOP_AFTER:
            raise KeyboardInterrupt

    progress.EpochProgress.epoch = stop
    try:
        invoke(train_command, *call_of("interrupted"), status=130)
    finally:
        progress.EpochProgress.epoch = epoch


def main() -> None:
    if FIXTURES.exists():
        sys.exit(f"{FIXTURES} exists: it is made once, by the code of 0.1")
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        make_stores()
        for run in FINISHED:
            invoke(train_command, *call_of(run))
        interrupt()
        for run in Path("runs").iterdir():
            for name in (".lock", "README.md"):
                (run / name).unlink(missing_ok=True)
            if run.name != LOGGED:
                shutil.rmtree(run / "tensorboard", ignore_errors=True)
        assert list(parts_folder(Path(OTHER)).iterdir())
        shutil.make_archive(ZARR, "xztar", ZARR)
        shutil.rmtree(ZARR)
        for name in ("stores", "runs"):
            shutil.copytree(name, FIXTURES / name)
    expected = {}
    for name, read in READINGS.items():
        with TemporaryDirectory() as folder:
            os.chdir(copy_fixtures(Path(folder)))
            expected[name] = read()
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(found)}" for name, found in expected.items())
    EXPECTED.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
