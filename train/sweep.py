"""Many runs from one command: heads x backbones x categories x seeds, each cell a run of its own, resumable, in one table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
from tabulate import tabulate

from features.store import open_store
from features.writer import write_whole
from manifests.errors import LongtakeError
from train.checkpoint import unit_name
from train.errors import DataError, TrainError
from train.metrics import fisher_mean
from train.protocol import Options, prepare, require_splits
from train.report import finite
from train.run import fit
from train.summary import AVERAGE

DONE = "done.json"
"""Of a cell that is finished; written last."""


@dataclass(frozen=True)
class Cell:
    head: str
    backbone: str
    category: str
    seed: int

    @property
    def folder(self) -> str:
        parts = [unit_name(self.head, self.backbone.replace("@", "-")), unit_name(self.category, "")]
        return "-".join([*filter(None, parts), f"seed{self.seed}"])


@dataclass(frozen=True)
class Outcome:
    cell: Cell
    error: str | None
    """None when the cell is done."""


@dataclass(frozen=True)
class Line:
    """A head and backbone on one category and score, over seeds."""

    head: str
    backbone: str
    category: str
    score: str
    num_seeds: int
    spearman: float
    """Fisher's mean over folds and seeds."""
    deviation: float
    """Over seeds; nan for a single one."""
    mse: float


def cells_of(
    store_path: Path | str,
    heads: Sequence[str],
    backbones: Sequence[str],
    categories: Sequence[str],
    seeds: int,
    choices: dict[str, object],
) -> list[Cell]:
    """Every cell, checked before any is trained. Raises a `LongtakeError` for one that cannot be."""
    with open_store(store_path) as store:
        backbones = backbones or [stream.name for stream in store.streams if stream.header.modality != "audio"]
        for head, backbone in product(heads, backbones):
            options, settings = _split(choices)
            experiment = prepare(
                store,
                Options(head=head, backbone=backbone, categories=tuple(categories), **options, overrides=settings),
            )
            require_splits(experiment)
            found = list(dict.fromkeys(unit.category for unit in experiment.units))
    return [Cell(*values) for values in product(heads, backbones, found, range(seeds))]


def _split(choices: dict[str, object]) -> tuple[dict[str, object], tuple[tuple[str, object], ...]]:
    known = Options.__dataclass_fields__
    settings = tuple(sorted((name, value) for name, value in choices.items() if name not in known))
    return {name: value for name, value in choices.items() if name in known}, settings


def not_done(out: Path, cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if not (out / cell.folder / DONE).exists()]


def run_sweep(
    out: Path, store_path: Path | str, cells: Sequence[Cell], choices: dict[str, object], executor: Executor | None
) -> Iterator[Outcome]:
    """Train every cell that is not done, here or by the executor; a cell that fails does not stop the others.

    Raises `TrainError` when `out` holds a sweep of other settings, whose cells would not compare with these.
    """
    out.mkdir(parents=True, exist_ok=True)
    same = {"features": str(store_path), "choices": choices}
    stamp = out / "sweep.json"
    text = json.dumps(finite(same), indent=2, default=str) + "\n"
    if stamp.exists() and stamp.read_text(encoding="utf-8") != text:
        raise TrainError(
            f"{out} holds a sweep with other settings: {' '.join(stamp.read_text().split())}. Take another --out"
        )
    write_whole(stamp, text)
    waiting = not_done(out, cells)
    where = out.absolute(), store_path if "://" in str(store_path) else Path(store_path).absolute()
    if executor is None:
        for cell in waiting:
            yield run_cell(*where, cell, choices)
        return
    futures = {executor.submit(run_cell, *where, cell, choices): cell for cell in waiting}
    for future in as_completed(futures):
        try:
            yield future.result()
        except Exception as error:  # whatever ended a worker's process is this cell's outcome, not the sweep's end
            yield Outcome(futures[future], f"{type(error).__name__}: {error}")


def run_cell(out: Path, store_path: Path | str, cell: Cell, choices: dict[str, object]) -> Outcome:
    """One run, in a process that may be on another machine."""
    folder = out / cell.folder
    try:
        categories = (cell.category,) if cell.category else ()
        run = fit(
            store_path, out=folder, resume=True, head=cell.head, backbone=cell.backbone, categories=categories, first_seed=cell.seed,
            **{"floor": False, "evaluate_every": 1_000_000, **choices},
        )  # fmt: skip
    except (LongtakeError, OSError) as error:
        return Outcome(cell, str(error))
    done = {"cell": asdict(cell), "random_weights": run.random_weights}
    write_whole(folder / DONE, json.dumps(done) + "\n")
    return Outcome(cell, None)


def read_sweep(out: Path) -> tuple[list[Line], bool]:
    """The lines of all cells that are done, averages over categories and scores included, and whether any weights were random."""
    models: dict[tuple[str, str, str, str], dict[int, list[tuple[float, float, int]]]] = {}
    random_weights = False
    for path in sorted(out.glob(f"*/{DONE}")):
        try:
            done = json.loads(path.read_text(encoding="utf-8"))
            cell = Cell(**done["cell"])
            random_weights |= bool(done["random_weights"])
            for model in json.loads((path.parent / "metrics.json").read_text(encoding="utf-8"))["models"]:
                if not model["control"]:
                    key = cell.head, cell.backbone, model["category"], model["score"]
                    test = model["test"]["spearman"], model["test"]["mse"], model["test"]["num_videos"]
                    models.setdefault(key, {}).setdefault(model["seed"], []).append(test)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path.parent} is not a cell of a sweep: {error!r}") from error
    lines = [_line(key, seeds) for key, seeds in models.items()]
    for head, backbone in dict.fromkeys((line.head, line.backbone) for line in lines):
        mine = [line for line in lines if (line.head, line.backbone) == (head, backbone)]
        if len(mine) > 1:
            by_seed: dict[int, list[tuple[float, float, int]]] = {}
            for line in mine:
                for seed, values in models[head, backbone, line.category, line.score].items():
                    by_seed.setdefault(seed, []).extend(values)
            lines.append(_line((head, backbone, AVERAGE, ""), by_seed))
    return lines, random_weights


def _line(key: tuple[str, str, str, str], seeds: dict[int, list[tuple[float, float, int]]]) -> Line:
    by_seed = [
        fisher_mean((rho for rho, _, _ in values), (count for _, _, count in values)) for values in seeds.values()
    ]
    return Line(
        *key,
        num_seeds=len(seeds),
        spearman=fisher_mean(by_seed, (np.mean([count for _, _, count in values]) for values in seeds.values())),
        deviation=float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else float("nan"),
        mse=float(np.mean([mse for values in seeds.values() for _, mse, _ in values])),
    )


def format_sweep(lines: Sequence[Line], form: str = "simple") -> str:
    """Heads and backbones down, categories and scores across: rank correlation, with its deviation over seeds, and MSE."""
    columns = list(dict.fromkeys((line.category, line.score) for line in lines))
    columns.sort(key=lambda key: key[0] == AVERAGE)
    table = []
    for head, backbone in dict.fromkeys((line.head, line.backbone) for line in lines):
        mine = {(line.category, line.score): line for line in lines if (line.head, line.backbone) == (head, backbone)}
        table.append([head, backbone, *(_cell(mine.get(key)) for key in columns)])
    names = [" ".join(filter(None, key)) + " rho / MSE" for key in columns]
    return tabulate(table, headers=["head", "features", *names], tablefmt=form, disable_numparse=True)


def _cell(line: Line | None) -> str:
    if line is None:
        return ""
    spread = f" ± {line.deviation:.3f}" if np.isfinite(line.deviation) else ""
    return f"{line.spearman:.3f}{spread} / {line.mse:.2f}"
