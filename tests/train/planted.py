"""Planted features, SIMULATED: noise in which a few directions hold the quality of a performance. A head that learns finds it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.features.types import FeatureHeader, TextFeatures, TextHeader, VideoFeatures, VideoRecord

GRADES, SCORES, TEXT_DIM = 4, 11, 32


def planted_texts(rng: np.random.Generator) -> TextFeatures:
    """11 score and 4 grade texts, random directions of length about 10, as text features are."""
    groups = ("scores",) * SCORES + ("grades",) * GRADES
    header = TextHeader("planted", TEXT_DIM, "random:0", None, weights_random=True)
    features = rng.normal(size=(len(groups), TEXT_DIM)).astype(np.float32) * 2
    return TextFeatures("qgvl", header, tuple(f"{g} {i}" for i, g in enumerate(groups)), groups, features)


def planted_store(
    path: Path, *, num_train: int = 96, num_test: int = 48, categories: tuple[str, ...] = ("A",), dim: int = 32,
    num_clips: tuple[int, int] = (12, 24), noise: float = 1.0, with_text: bool = True, seed: int = 0,
    splits: bool = True, weights: str = "planted", dataset: str = "planted", scores: tuple[str, ...] = ("total",), top: float = 25,
    world: int | None = None, difficulties: tuple[float, ...] = (), judges: int = 0, groups: dict[str, int] | None = None,
) -> Path:  # fmt: skip
    """Quality q in [0, 1] moves clips by 4q - 2 along three directions; a third of the clips say nothing. Every score is `top * q`.
    Stores of one `world` have the same directions. With difficulties, each video has one, which its clips do not show and which
    multiplies its score; judges see the quality from 0 to 10, each with an error of his own. `groups`, such as 7 skaters, take turns.

    Every video is also shifted as a whole along all other directions, which means nothing: without that, quality would be
    the only thing in which videos differ, and even a head trained on shuffled labels would rank by it, or against it.
    """
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(np.random.default_rng(seed if world is None else world).normal(size=(dim, dim)))[0].T
    directions, nuisance = basis[:3], basis[3:]
    header = FeatureHeader("planted", "video", dim, weights, None, weights.startswith("random"), 16, 16, "pad", 25.0)
    ids, split_of, category_of, qualities, items = [], [], [], [], []
    for category in categories:
        for number in range(num_train + num_test):
            video_id = f"{re.sub(r'[^ -~]|[./<>|:]', '_', category)}_{number:03d}"
            quality = rng.uniform()
            length = int(rng.integers(*num_clips))
            table = rng.normal(size=(length, dim)) * noise
            speaks = rng.uniform(size=(length, 1)) > 1 / 3
            table += speaks * (4 * quality - 2) * directions.sum(0) + 0.7 * rng.normal(size=len(nuisance)) @ nuisance
            times = np.arange(length, dtype=float)
            video = VideoFeatures(VideoRecord(video_id), table.astype(np.float32), times, times + 1)
            items.append(StreamItem(video.record, length, lambda video=video: video))
            ids.append(video_id)
            split_of.append(("train" if number < num_train else "test") if splits else "")
            category_of.append(category)
            qualities.append(quality)
    columns = {name: top * np.array(qualities) for name in scores}
    if difficulties:
        columns["difficulty"] = rng.choice(difficulties, len(ids))
        columns |= {name: columns[name] * columns["difficulty"] for name in scores}
    for judge in range(judges):
        seen = 10 * np.array(qualities) + 0.5 * rng.normal(size=len(ids))
        columns[f"judge{judge + 1}"] = np.clip(np.round(2 * seen) / 2, 0, 10)
    labels = Labels(
        tuple(ids),
        tuple(split_of),
        tuple(category_of),
        tuple(columns),
        np.array([*columns.values()]).reshape(len(columns), len(ids)).T,
        groups={name: tuple(f"{name}{n % of}" for n in range(len(ids))) for name, of in (groups or {}).items()},
    )
    plan = StreamPlan(header, np.dtype(np.float32), items)
    write_store(
        path,
        dataset=dataset,
        card=None,
        labels=labels,
        streams=[plan],
        texts=[planted_texts(rng)] if with_text else [],
    )
    return path


def write_random(path, *, videos, clips, dim, card=None, more_clips_of_b=0):
    """Noise; every second video of `more_clips_of_b` clips more, of category B."""
    rng = np.random.default_rng(0)
    header = FeatureHeader("noise", "video", dim, "none", None, False, 16, 16, "pad", None)
    longest = clips + more_clips_of_b
    block, times = rng.normal(size=(longest, dim)).astype(np.float16), np.arange(float(longest))
    ids = tuple(f"v{number}" for number in range(videos))
    items = []
    for number, name in enumerate(ids):
        parts = [part[: (clips, longest)[number % 2]] for part in (block, times, times + 1)]
        items.append(StreamItem(VideoRecord(name), len(parts[0]), partial(VideoFeatures, VideoRecord(name), *parts)))
    splits = tuple("test" if number % 5 == 0 else "train" for number in range(videos))
    categories = tuple("AB"[number % 2] for number in range(videos))
    labels = Labels(ids, splits, categories, ("total",), rng.uniform(0, 10, size=(videos, 1)))
    plan = StreamPlan(header, np.dtype(np.float16), items)
    write_store(path, dataset="noise", card=card, labels=labels, streams=[plan])


def with_headers(path: Path, source: Path, change: Callable[[FeatureHeader], list[FeatureHeader]]) -> Path:
    """The one stream of a store once for each header that `change` makes of its own."""
    with open_store(source) as store:
        stream = store.stream()
        videos = [stream.read(video_id) for video_id in stream.videos.video_ids]
        items = [StreamItem(video.record, len(video.features), lambda video=video: video) for video in videos]
        plans = [StreamPlan(header, np.dtype(np.float32), items) for header in change(stream.header)]
        write_store(path, dataset=store.dataset, card=None, labels=store.labels, streams=plans, texts=list(store.texts))
    return path
