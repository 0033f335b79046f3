"""Label files that hold annotations by key, as the authors of FineDiving and LOGO give them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from longtake.errors import LongtakeWarning, ManifestError
from longtake.features.errors import InvalidFeatures
from longtake.features.imports.safe_pickle import is_plain_key, read_values
from longtake.manifests.card import Card
from longtake.manifests.table import GROUP_PREFIX, SCORE_PREFIX, Manifest, RowChecker, boundary_column

FINEDIVING_DIVES = {"train": 2251, "test": 749}
"""Published numbers (Xu et al., CVPR 2022)."""


def _annotations(files: Sequence[Path], card: Card) -> tuple[dict[tuple, Any], dict[tuple, str]]:
    """Facts and split of each video. Files are dictionaries of facts, which are joined if they are named, and lists of keys, whose file
    names begin with the name of the split."""
    annotations: dict[tuple, Any] = {}
    splits: dict[tuple, str] = {}
    for path in files:
        try:
            values = read_values(path)
        except InvalidFeatures as error:
            raise ManifestError(str(error)) from error
        if isinstance(values, dict):
            for key, facts in values.items():
                known = annotations.get(key)
                has_both = isinstance(facts, dict) and isinstance(known, dict)
                annotations[key] = {**(known or {}), **facts} if has_both else facts
        elif isinstance(values, (list, tuple)):
            split = next((name for name in card.splits if path.stem.lower().startswith(name)), None)
            if split is None:
                raise ManifestError(f"the name of {path} should begin with its split: {', '.join(card.splits)}")
            for key in values:
                if not isinstance(key, (tuple, list)) or not is_plain_key(tuple(key)):
                    raise ManifestError(f"{path}: {key!r:.80} is not a key of an annotation, such as ('event', 1)")
                splits[tuple(key)] = split
        else:
            raise ManifestError(f"{path} holds a {type(values).__name__}; a dictionary or a list of keys is expected")
    if annotations and splits and not splits.keys() & annotations.keys():
        raise ManifestError(
            f"no key of the splits, such as {next(iter(splits))!r}, is one of the annotations, such as {next(iter(annotations))!r}"
        )
    return annotations, splits


def _annotated(
    files: Sequence[Path], card: Card, names: Sequence[str], expected: str, read: Callable[[Any], dict[str, str]]
) -> Manifest:
    """A video for each annotation, whose id joins the two parts of its key, an event and a number. `read` makes category, scores and boundaries of its facts."""
    annotations, splits = _annotations(files, card)
    checker = RowChecker(card)
    rows = []
    for line, (key, facts) in enumerate(annotations.items(), 1):
        try:
            (event, number), values = key, read(facts)
        except (TypeError, ValueError, IndexError, KeyError) as error:
            checker.add(line, f"{key!r:.80}: {expected} expected ({error})")
            continue
        rows.append(
            checker.row(
                line,
                {
                    "video_id": f"{event}_{number}",
                    "split": splits.get(key, ""),
                    f"{GROUP_PREFIX}event": str(event),
                    **values,
                },
            )
        )
    checker.finish("the annotations (a line is an entry)")
    if not rows:
        raise ManifestError(f"no annotations among {', '.join(map(str, files))}; {card.where_labels}")
    return Manifest(card.name, tuple(rows), tuple(names), card)


def _text(field: object) -> str:
    """A field of an annotation. Raises `TypeError` for anything but text or a number."""
    if not isinstance(field, str | int | float):
        raise TypeError(f"{type(field).__name__} where text or a number belongs")
    return str(field)


def logo_labels(files: Sequence[Path], card: Card) -> Manifest:
    """`anno_dict.pkl`, `(competition, number) -> (event, score, ...)`, and the lists of the splits, which are recognised by their content.

    The name of the file of a list begins with its split.
    """

    def read(facts: Any) -> dict[str, str]:
        return {"category": _text(facts[0]), f"{SCORE_PREFIX}total": repr(float(facts[1]))}

    return _annotated(files, card, ["total"], "(competition, number) -> (event, score, ...)", read)


def finediving_labels(files: Sequence[Path], card: Card) -> Manifest:
    """Annotations, `(event, instance) -> facts`, in one file or several, and the lists of the splits, recognised by their content as above.

    Facts are a list, as in `fine-grained_annotation_aqa.pkl`, or named, as in the coarse and the fine-grained file. Boundaries are the
    starts of the second and of the last step, as in the published code of TSA.
    """
    if not card.labels.fps:
        raise ManifestError(f"the card of {card.name} does not have the frame rate of its labels: [labels] fps")

    def read(facts: Any) -> dict[str, str]:
        if not isinstance(facts, dict):
            # The names of the authors' README.
            number, score, difficulty, _, steps = facts[:5]
            facts = {"action_type": number, "dive_score": score, "difficulty": difficulty, "frames_labels": steps}
        values = {
            "category": _text(facts["action_type"]).upper(),
            f"{SCORE_PREFIX}total": repr(float(facts["dive_score"])),
            f"{SCORE_PREFIX}difficulty": repr(float(facts["difficulty"])),
        }
        steps = np.asarray(facts["frames_labels"])
        if steps.ndim != 1 or not len(steps):
            raise ValueError("frames_labels is not one row of labels")
        begins = [int(np.argmax(steps == step)) for step in dict.fromkeys(steps.tolist())]
        for number, frame in enumerate(dict.fromkeys([begins[1], begins[-1]] if len(begins) > 1 else []), 1):
            values[boundary_column(number)] = repr(frame / card.labels.fps)
        return values

    made = _annotated(files, card, ["total", "difficulty"], "dive number, score, difficulty and labels of frames", read)
    _compare_with_published(made)
    return made


def _compare_with_published(made: Manifest) -> None:
    """Warn where the splits do not have the published numbers of dives, such as of a part of the files or of another release."""
    found = {name: sum(row.split == name for row in made.rows) for name in FINEDIVING_DIVES}
    if found != FINEDIVING_DIVES or len(made.rows) != sum(FINEDIVING_DIVES.values()):
        said, published = (
            " and ".join(f"{count} {name}" for name, count in counts.items()) for counts in (found, FINEDIVING_DIVES)
        )
        message = (
            f"the label files have {len(made.rows)} dives, {said}; the published dataset has {sum(FINEDIVING_DIVES.values())}, {published}. "
            "Results are not comparable with published ones unless all annotations and both lists of splits are given"
        )
        warnings.warn(message, LongtakeWarning, stacklevel=3)
