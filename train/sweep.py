"""Many runs from one command: heads x backbones x categories x seeds, each cell a run of its own, resumable, in one table."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from longtake.errors import LongtakeError, LongtakeWarning
from longtake.features.store import Store, open_store
from longtake.files import require_regular, write_whole
from longtake.terminal import finite
from longtake.train.errors import SettingsError, TrainError
from longtake.train.protocol.checks import require_trainable, warnings_of
from longtake.train.protocol.experiment import Experiment, prepare
from longtake.train.protocol.options import Options
from longtake.train.protocol.settings import settings_kinds
from longtake.train.runs import compare
from longtake.train.runs.cells import run_cells
from longtake.train.runs.fit import fit, options_of
from longtake.train.runs.records import CONFIG, RunConfig, read_config
from longtake.train.runs.resumed import same_settings, with_recorded_settings
from longtake.train.runs.sweeps import DONE as DONE
from longtake.train.runs.sweeps import Cell as Cell
from longtake.train.runs.sweeps import Done as Done
from longtake.train.runs.sweeps import Line as Line
from longtake.train.runs.sweeps import read_sweep as read_sweep
from longtake.train.runs.tables import few_notes, interval_note


@dataclass(frozen=True)
class Outcome:
    cell: Cell
    error: str | None
    """None when the cell is done."""


def cells_of(
    store_path: Path | str, heads: Sequence[str], backbones: Sequence[str], categories: Sequence[str], seeds: int,
    choices: dict[str, Any],
) -> list[Cell]:  # fmt: skip
    """Every cell, checked before any is trained; warns once of what all of them meet. Raises a `LongtakeError` for one that cannot be."""
    found_warnings: list[str] = []
    cells: list[Cell] = []
    with open_store(store_path) as store:
        backbones = backbones or [stream.name for stream in store.streams if stream.header.modality != "audio"]
        for head, backbone in product(heads, backbones):
            experiment = _prepare(store, head, backbone, categories, choices)
            require_trainable(experiment)
            found_warnings += warnings_of(experiment)
            found = dict.fromkeys(unit.category for unit in experiment.units)
            cells += [Cell(head, backbone, category, seed) for category, seed in product(found, range(seeds))]
    for line in dict.fromkeys(found_warnings):
        warnings.warn(line, LongtakeWarning, stacklevel=2)
    return cells


def _prepare(store: Store, head: str, backbone: str, categories: Sequence[str], choices: dict[str, Any]) -> Experiment:
    choices = {**choices, "head": head, "backbone": backbone, "categories": tuple(categories)}
    return prepare(store, options_of(choices))


def require_settings(settings: Mapping[str, object], heads: Sequence[str], options: Mapping[str, str]) -> None:
    """Raises `SettingsError` where one of the settings is a choice of `longtake.Options` and none that a head has. `options`: such a choice
    -> how the command takes it."""
    kinds = [kind for head in heads for kind in settings_kinds(head).values()]
    known = {field.name for kind in kinds for field in fields(kind)}
    for name, value in settings.items():
        if name in Options.__dataclass_fields__ and name not in known:
            remedy = f"use {options[name]}" if name in options else "`train sweep` has no option for it"
            raise SettingsError(f"--set {name}={value}: {name} is a run option, not a head setting; {remedy}")


def require_same_data(out: Path, store_path: Path | str, choices: dict[str, Any]) -> None:
    """Raises `TrainError` where a cell in `out`, finished or begun, learnt from other data than the store holds now, or by other settings or folds:
    it would not compare with the others."""
    begun: dict[tuple[str, str, bool], list[tuple[str, RunConfig, Path]]] = {}
    for path in sorted(out.glob(f"*/{CONFIG}")):
        known = read_config(path.parent)
        backbone = known.options.backbone
        category = "".join(known.options.categories)
        # Other runs may be in the folder of the sweep.
        if backbone and Cell(known.head, backbone, category, known.options.first_seed).folder == path.parent.name:
            key = known.head, backbone, bool(category)
            begun.setdefault(key, []).append((category, known, path.parent))
    with open_store(store_path) as store:
        for (head, backbone, _), cells in begun.items():
            categories = {category for category, *_ in cells} - {""}
            now, why = {}, "features, labels, texts, or the ranges and windows of this release are others"
            try:
                now = _experiments(store, head, backbone, categories, choices)
            except LongtakeError as error:
                why = str(error)
            for category, known, folder in cells:
                mine = now.get(category)
                if mine is None or mine.data_id != known.data_id:
                    raise TrainError(f"{folder} learnt from another state of {store_path}: {why}. {COMPARED}")
                there = with_recorded_settings(folder, mine)
                if there.run_id != known.run_id or not same_settings(there, mine):
                    raise TrainError(
                        f"{folder} was trained by another version of its preset, or other groups. {COMPARED}"
                    )


COMPARED = "The cells of a sweep are compared and averaged. Take another --out"


def _experiments(
    store: Store, head: str, backbone: str, categories: set[str], choices: dict[str, Any]
) -> dict[str, Experiment]:
    """Category -> what its cells train. Raises a `LongtakeError` where the store no longer has what they learnt from."""
    choices = {"evaluate_every": evaluate_every(choices), **choices, "device": "cpu"}
    experiment = _prepare(store, head, backbone, sorted(categories), choices)
    return {
        category: replace(experiment, units=tuple(u for u in experiment.units if u.category == category))
        for category in {unit.category for unit in experiment.units}
    }


def evaluate_every(choices: Mapping[str, Any]) -> int:
    """The sweep's table has the last epoch alone. Videos that were held out choose among all."""
    return 1 if float(choices.get("settings", {}).get("validation", 0)) else 1_000_000


def not_done(out: Path, cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if not (out / cell.folder / DONE).exists()]


def run_sweep(
    out: Path, store_path: Path | str, cells: Sequence[Cell], choices: dict[str, Any], executor: Executor | None
) -> Iterator[Outcome]:
    """Train every cell that is not done, here or by the executor; a cell that fails does not stop the others.

    Raises `TrainError` when `out` holds a sweep of other settings or of other data, whose cells would not compare with these.
    """
    out.mkdir(parents=True, exist_ok=True)
    settings = choices.get("settings", {})
    # Where features are read from changes no number.
    chosen = {name: value for name, value in choices.items() if name not in ("settings", "memory")}
    # Beside the choices, but for a setting that has the name of one.
    chosen |= {f"set {n}" if n in Options.__dataclass_fields__ else n: value for n, value in settings.items()}
    same = {"features": str(store_path), "choices": chosen}
    stamp = out / "sweep.json"
    text = json.dumps(finite(same), indent=2, default=str) + "\n"
    if stamp.exists() and (there := require_regular(stamp).read_text(encoding="utf-8")) != text:
        both = f"{' '.join(there.split())} there, {' '.join(text.split())} asked for"
        raise TrainError(f"{out} holds a sweep with other settings: {both}. Take another --out")
    require_same_data(out, store_path, choices)
    write_whole(stamp, text)
    waiting = not_done(out, cells)
    where = out.absolute(), store_path if "://" in str(store_path) else Path(store_path).absolute()
    yield from run_cells(waiting, partial(run_cell, *where, choices=choices), Outcome, executor)


def run_cell(out: Path, store_path: Path | str, cell: Cell, *, choices: dict[str, Any]) -> Outcome:
    """One run, in a process that may be on another machine."""
    folder = out / cell.folder
    try:
        categories = (cell.category,) if cell.category else ()
        # Of what all cells meet, `cells_of` has warned.
        with warnings.catch_warnings(action="ignore", category=LongtakeWarning):
            run = fit(
                store_path, out=folder, resume=True, head=cell.head, backbone=cell.backbone, categories=categories, first_seed=cell.seed,
                **{"floor": False, "evaluate_every": evaluate_every(choices), **choices},
            )  # fmt: skip
    except (LongtakeError, OSError) as error:
        return Outcome(cell, str(error))
    write_whole(folder / DONE, json.dumps(asdict(Done(cell, run.random_weights))) + "\n")
    return Outcome(cell, None)


def format_sweep(lines: Sequence[Line], form: str = "text", with_intervals: bool = True) -> str:
    """Heads and backbones down, categories and scores across: rank correlation, with its deviation over seeds, and MSE, with their intervals."""
    rows: dict[tuple[str, str], compare.Line] = {}
    for line in lines:
        row = rows.setdefault((line.head, line.backbone), compare.Line(line.head, line.backbone, ""))
        for figures, value in ((row.spearman, line.spearman), (row.deviation, line.deviation), (row.mse, line.mse)):
            if np.isfinite(value):
                figures[line.category, line.score] = value
        for ends, interval in ((row.spearman_interval, line.spearman_interval), (row.mse_interval, line.mse_interval)):
            if interval:
                ends[line.category, line.score] = interval
        row.num_videos[line.category, line.score] = line.num_videos
    return compare.format_lines(list(rows.values()), form, "head", with_intervals)


def notes_of(lines: Sequence[Line], with_intervals: bool = True) -> list[str]:
    """What a reader of the table must know: what brackets are, and where the test videos are too few."""
    over = dict.fromkeys(line.intervals_over for line in lines if line.spearman_interval or line.mse_interval)
    brackets = [interval_note("" if name == "videos" else name) for name in over] if with_intervals else []
    return [*brackets, *few_notes(line.num_videos for line in lines)]
