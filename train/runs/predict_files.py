"""Scores of video files: found, checked, extracted by the recipe of the run in one go, and scored."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from longtake.errors import LongtakeError, there_are
from longtake.features.store import open_store
from longtake.features.types import FeatureHeader
from longtake.files import is_url
from longtake.train.engine.checkpoint import load_checkpoint
from longtake.train.engine.head_config import HeadConfig
from longtake.train.errors import DataError
from longtake.train.extras import from_extract
from longtake.train.runs.evaluate import checkpoints
from longtake.train.runs.predict_store import predict_run
from longtake.train.runs.prediction import Failure, Prediction


def find_files(named: Sequence[Path]) -> list[Path]:
    """Files, all videos of folders, and what patterns such as `videos/*.mp4` match; each file once. Raises `DataError` where a name leads to none."""
    found: dict[Path, None] = {}
    for one in named:
        if one.is_dir():
            files = from_extract("videos_in", "finding videos in a folder")(one)
        elif one.exists():
            files = [one]
        else:
            files = [path for path in map(Path, sorted(glob.glob(str(one), recursive=True))) if path.is_file()]
        if not files:
            raise DataError(_why_none(one))
        found |= dict.fromkeys(files)
    return list(found)


def _why_none(named: Path) -> str:
    address = str(named).replace(":/", "://", 1)
    if is_url(address):
        return f"--video takes files on this machine, got the address {address}: download it first"
    if named.is_dir():
        return f"the folder {named} has no video in it"
    return f"no file matches {named}" if glob.has_magic(str(named)) else f"no video at {named}"


def predict_files(
    run_folder: Path, videos: Sequence[Path], category: str | None = None, weights: Sequence[str] = (), device: str = "auto",
    runtime: str = "auto", *, accept: Sequence[str] = (), **how: Any,
) -> tuple[dict[Path, list[Prediction]], list[Failure]]:  # fmt: skip
    """The scores of video files, whose features are made by the recipe of the run and then forgotten, and those that failed.

    `category` may be left out where the run has heads for one only; `how` is for `predict_run`. Raises a `LongtakeError` where nothing can be
    scored: first for the run, then for the category, the extract extra, and weights.
    """
    configs = [load_checkpoint(path)[1] for path in checkpoints(run_folder)]
    category = _category(run_folder, configs, category, videos)
    extract_like = from_extract("extract_like", "scoring a video file")
    config = configs[0]
    streams = (config.feature_header, config.audio_header, *config.stream_headers.values())
    headers = [FeatureHeader.from_json(text) for text in streams if text]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "video.h5"
        dataset = config.dataset.partition("+")[0]
        ids, failed = extract_like(
            headers, videos, path, dataset=dataset, weights=weights, device=device, runtime=runtime
        )
        failures = [Failure(str(video), message) for video, message in failed.items()]
        with open_store(path) as store:
            found = predict_run(run_folder, store, category=category, accept=accept, **how)
    scored: dict[Path, list[Prediction]] = {}
    for video, video_id in ids.items():
        mine = [one for one in found if one.video_id == video_id]
        if mine:
            scored[video] = [replace(one, learnt_by=None) for one in mine]
        else:
            failures.append(Failure(str(video), "lacks some features that the heads need, such as those of its sound"))
    if not scored:
        raise DataError("\n".join(f"{one.video} {one.message}" for one in failures))
    return scored, failures


def _category(run_folder: Path, configs: Sequence[HeadConfig], category: str | None, files: Sequence[Path]) -> str:
    names = list(dict.fromkeys(name for c in configs for name, _ in c.tested_on(c.dataset.partition("+")[0])))
    if category is None:
        if len(names) > 1:
            what = files[0] if len(files) == 1 else f"{len(files)} videos"
            raise DataError(f"which heads are for {what}? Say --category, one of {', '.join(names)}")
        return names[0]
    if category not in names:
        raise DataError(f"{run_folder} has no heads for category {category!r}{there_are(category, sorted(names))}")
    return category


def predict_video(run_folder: Path, video: Path, *choices: Any, **how: Any) -> list[Prediction]:
    """As `predict_files`, of one. Raises a `LongtakeError` where it cannot be scored."""
    scored, failures = predict_files(run_folder, [video], *choices, **how)
    if failures:
        raise LongtakeError(f"{failures[0].video} {failures[0].message}")
    return next(iter(scored.values()))
