"""Layouts of features and labels in circulation. Each reads its files as one array per video, and label files as a manifest."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from longtake.errors import ManifestError
from longtake.features.errors import FeaturesError, InvalidFeatures
from longtake.features.imports.annotations import finediving_labels, logo_labels
from longtake.features.imports.safe_pickle import read_array, read_values
from longtake.files import require_regular
from longtake.manifests.author_labels import read_labels
from longtake.manifests.card import Card
from longtake.manifests.sheet import read_text
from longtake.manifests.table import SCORE_PREFIX, Manifest, RowChecker, write_manifest


@dataclass(frozen=True)
class SourceVideo:
    """One video in files of a layout."""

    path: Path
    read: Callable[[], object]
    """The array `(clips, dim)`, if the file is valid; the importer checks it."""
    seconds: Callable[[int], np.ndarray] | None = None
    """Number of clips -> start and end of each, `(clips, 2)`, where the files have times. Raises `InvalidFeatures`."""
    where: str = ""
    """The place in the files, for messages."""


@dataclass(frozen=True)
class Layout:
    about: str
    pattern: str
    """Pattern of the files in the folder, if the user gives none."""
    videos: Callable[[Sequence[Path]], dict[str, SourceVideo]]
    labels: Callable[[Sequence[Path], Card], Manifest] = read_labels


def find_videos(layout: str, source: Path, pattern: str | None) -> dict[str, SourceVideo]:
    """The videos of a folder or of one file. Raises `FeaturesError` if there are none."""
    chosen = LAYOUTS[layout]
    if not source.exists():
        raise FeaturesError(f"there is no file or folder {source}")
    files = _files(source, pattern or chosen.pattern) if source.is_dir() else [source]
    if not files:
        raise FeaturesError(f"{source} holds no file {pattern or chosen.pattern}; layout {layout} is {chosen.about}")
    return chosen.videos(files)


def write_label_table(layout: str, files: Sequence[Path], card: Card, out: Path) -> tuple[int, dict[str, int]]:
    """Write the authors' label files as a manifest at `out`; returns the number of videos, in all and by split.

    Raises `FeaturesError` if `out` exists, `ManifestError` with all faults of the labels.
    """
    if out.exists():
        raise FeaturesError(f"{out} exists; choose another name, or remove it first")
    manifest = LAYOUTS[layout].labels(files, card)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(out, manifest)
    return len(manifest.rows), {name: sum(row.split == name for row in manifest.rows) for name in card.splits}


def _files(folder: Path, pattern: str) -> list[Path]:
    """Files by the rule of Python 3.11 for `**`: it matches whole folders and must not be the last part. Python 3.13 accepts it anywhere."""
    parts = Path(pattern).parts
    if not parts or Path(pattern).is_absolute() or parts[-1] == "**" or any("**" in p and p != "**" for p in parts):
        raise FeaturesError(
            f"--files takes a pattern of names inside {folder}, such as '*.npy' or '**/*_rgb.npy', got {pattern!r}"
        )
    return sorted(path for path in folder.glob(pattern) if path.is_file())


def _averaged(files: Sequence[Path]) -> dict[str, SourceVideo]:
    """`(clips, n, dim)`: the n vectors of a clip are averaged. Sound already has one per clip."""

    def read(path: Path) -> np.ndarray:
        array = read_array(path)
        return array.mean(axis=1, dtype=array.dtype) if array.ndim == 3 else array

    return _one_each(files, read)


def _one_each(files: Sequence[Path], read: Callable[[Path], object] = read_array) -> dict[str, SourceVideo]:
    """The name of a file is the id of its video. Raises `InvalidFeatures` for a video in two files."""
    found: dict[str, SourceVideo] = {}
    for path in files:
        if path.stem in found:
            raise InvalidFeatures(
                f"{found[path.stem].path} and {path} are both video {path.stem}: choose one of them with --files PATTERN"
            )
        found[path.stem] = SourceVideo(path, partial(read, path))
    return found


def _dictionaries(files: Sequence[Path]) -> dict[str, SourceVideo]:
    """Each file is `{video_id: (clips, dim)}`. Raises `InvalidFeatures` for other files, and for a video in two files."""
    read = cache(_read_dictionary)
    found: dict[str, SourceVideo] = {}
    for path in files:
        for key in read(path):
            if str(key) in found:
                raise InvalidFeatures(
                    f"{path.name} and {found[str(key)].path.name} both hold video {key}: they are of different modalities "
                    f"or backbones. Take files of one kind: `features import` with --files '*_rgb_VST.npy', other commands by their names"
                )
            found[str(key)] = SourceVideo(path, partial(read(path).__getitem__, key))
    return found


def _read_dictionary(path: Path) -> dict[Any, object]:
    values = read_values(path)
    if not isinstance(values, dict):
        raise InvalidFeatures(f"{path} holds a {type(values).__name__}; a dictionary of arrays by video is expected")
    return values


SHORT_PROGRAMMES, SHORT_TRAINING, FREE_TRAINING = 729, 583, 350


def _finefs_labels(files: Sequence[Path], card: Card) -> Manifest:
    """A folder of `<number>.json`, and the published split files where they are given: files of numbers whose names begin with their split.
    Without them the split follows the published rule, over all numbers of each programme."""
    lists = [path for path in files if not path.is_dir() and not path.stem.isdecimal()]
    folders = [path for path in files if path not in lists]
    paths = sorted(path for folder in folders for path in (folder.glob("*.json") if folder.is_dir() else [folder]))
    if not paths:
        raise ManifestError(f"no .json files in {', '.join(map(str, files))}")
    checker = RowChecker(card)
    rows = []
    split_of = _finefs_splits(lists, card) if lists else dict.fromkeys(_finefs_training(), "train")
    for line, path in enumerate(paths, 1):
        try:
            facts = json.loads(require_regular(path).read_text(encoding="utf-8"))
            number = int(path.stem)
            scores = {"tes": facts["total_element_score"], "pcs": facts["total_program_component_score(factored)"]}
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            checker.add(line, f"{path.name}: {error!r}")
            continue
        category = "short" if number < SHORT_PROGRAMMES else "free"
        values = {f"{SCORE_PREFIX}{category}_{name}": str(value) for name, value in scores.items()}
        split = split_of.get(number, "" if lists else "test")
        rows.append(checker.row(line, {"video_id": path.stem, "split": split, "category": category, **values}))
    checker.finish(f"{files[0]} (a line is a file in the order of names)")
    return Manifest(card.name, tuple(rows), tuple(card.scores), card)


def _finefs_splits(files: Sequence[Path], card: Card) -> dict[int, str]:
    """Number -> split, of files that list numbers as text or as a JSON list. Raises `ManifestError`, for a number of two splits too."""
    found: dict[int, str] = {}
    for path in files:
        split = next((name for name in card.splits if path.stem.lower().startswith(name)), None)
        if split is None:
            raise ManifestError(f"the name of {path} should begin with its split: {', '.join(card.splits)}")
        words = read_text(path, "list of numbers").translate(str.maketrans("[],;", "    ")).split()
        wrong = [word for word in words if not word.isdecimal()]
        if wrong or not words:
            raise ManifestError(
                f"{path} should list the numbers of its videos, but holds {wrong[0][:80] if wrong else 'nothing'!r}"
            )
        for number in map(int, words):
            if found.setdefault(number, split) != split:
                raise ManifestError(
                    f"overlapping splits: video {number} is in {found[number]!r} and, in {path}, in {split!r}"
                )
    return found


def _finefs_training() -> set[int]:
    short, free = np.arange(SHORT_PROGRAMMES), np.arange(SHORT_PROGRAMMES, 1167)
    for numbers in (short, free):
        np.random.RandomState(42).shuffle(numbers)
    return {*short[:SHORT_TRAINING].tolist(), *free[:FREE_TRAINING].tolist()}


LAYOUTS: dict[str, Layout] = {
    "gdlt": Layout("a folder of <video_id>.npy, each (clips, dim), as the GDLT authors share them", "*.npy", _one_each),
    "pamfn": Layout(
        "<category>_<modality>_<backbone>.npy, each a dictionary {video_id: (clips, dim)}, as the PAMFN authors share them",
        "*.npy",
        _dictionaries,
    ),
    "skating-mixer": Layout(
        "a folder of <video_id>.npy, each (clips, n, dim) or (clips, dim), as the Skating-Mixer authors share FS1000",
        "*.npy",
        _averaged,
    ),
    "finefs": Layout("a folder of <number>.pkl, each a tensor (clips, dim)", "*.pkl", _one_each, _finefs_labels),
    "finediving": Layout(
        "a folder of <event>_<instance>.npy, each (clips, dim)", "*.npy", _one_each, finediving_labels
    ),
    "logo": Layout("a folder of <competition>_<number>.npy, each (clips, dim)", "*.npy", _one_each, logo_labels),
}
"""Text features are not a layout of videos; `longtake.features.imports.importer.import_text` reads them."""
