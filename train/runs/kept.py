"""Predictions that `train predict --keep` writes into a run's folder, so that pages show them without torch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, make_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from longtake.checks import build
from longtake.files import write_whole
from longtake.terminal import finite
from longtake.train.errors import DataError
from longtake.train.runs.prediction import Prediction
from longtake.train.runs.records import only_known, read_values

KEPT = "scored.json"
MOST_BYTES = 1 << 26
DIGITS = 5
"""Of what is kept; attention of a clip is a share."""


@dataclass(frozen=True)
class KeptPredictions:
    dataset: str
    """Of the store that the videos are of."""
    predictions: tuple[Prediction, ...]


def keep_predictions(run_folder: Path, dataset: str, predictions: Sequence[Prediction]) -> Path:
    """Write the predictions into the run's folder, in the place of those that were kept before."""
    values = {"dataset": dataset, "predictions": [_rounded(asdict(one)) for one in predictions]}
    path = run_folder / KEPT
    write_whole(path, json.dumps(finite(values)) + "\n")
    return path


def read_kept(run_folder: Path) -> KeptPredictions:
    """Raises `DataError` where nothing was kept or the file is damaged."""
    path = run_folder / KEPT
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path} has more than {MOST_BYTES} bytes, which no kept predictions have")
    except OSError:
        pass  # Said below.
    kind = _nullable(KeptPredictions)
    values = only_known(kind, read_values(path, f"{run_folder} has no kept predictions: train predict --keep"))
    made: KeptPredictions = _with_nan(KeptPredictions, build(kind, values, str(path), DataError))
    for one in made.predictions:
        if one.limits is not None and len(one.limits) != 2:
            raise DataError(f"{path} is not valid: limits of {one.video_id} must be two numbers")
        if len(one.timeline.start_seconds) != len(one.timeline.end_seconds):
            raise DataError(f"{path} is not valid: clips of {one.video_id} without a start or an end")
    return made


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else value
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, (list, tuple)) else value


@cache
def _nullable(kind: Any) -> Any:
    """The type as JSON has it: null for nan, and lists of any length."""
    if kind is float:
        return float | None
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        described = []
        for one in fields(kind):
            default = MISSING if one.default is MISSING else one.default
            described.append((one.name, _nullable(hints[one.name]), field(default=default)))
        return make_dataclass("Stored", described, frozen=True)
    if get_origin(kind) is tuple:
        return tuple[_nullable(get_args(kind)[0]), ...]  # type: ignore[misc]
    if get_origin(kind) in (Union, UnionType):
        return Union[tuple(_nullable(one) for one in get_args(kind))]  # noqa: UP007
    return kind


def _with_nan(kind: Any, value: Any) -> Any:
    """The inverse, for a value that has been checked."""
    if value is None:
        return math.nan if kind is float else None
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{one.name: _with_nan(hints[one.name], getattr(value, one.name)) for one in fields(kind)})  # type: ignore[operator]
    if get_origin(kind) is tuple:
        return tuple(_with_nan(get_args(kind)[0], one) for one in value)
    if get_origin(kind) in (Union, UnionType):
        (inner,) = [one for one in get_args(kind) if one is not type(None)]
        return _with_nan(inner, value)
    return value
