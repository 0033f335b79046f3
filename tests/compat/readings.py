"""What the commands print for the stores and runs of version 0.1 in v0_1/: recorded with the code of 0.1, compared with today's.

All reading goes through the commands. The tests of this folder take them from here, so that only this file imports them.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import click

from longtake.features.cli import main as features
from longtake.train.cli import main as train
from tests.calls import invoke

FIXTURES = Path(__file__).with_name("v0_1")
EXPECTED = FIXTURES / "expected.json"
HDF5, ZARR, OTHER = "stores/simulated.h5", "stores/simulated.zarr", "stores/other.h5"
"""The Zarr store is kept as an archive, since it is 110 small files. The last store has a part that is not packed yet, as an
interrupted extraction leaves it."""
SHOWN = ("--only", "Adagio_03", "--only", "Adagio_09")
"""A training video and a test video for `train predict`."""

PLANTED = ("--features", HDF5, "--backbone", "planted", "--parallel", "none")
RUNS = {
    "gslm": (*PLANTED, "--category", "Adagio", "--head", "gslm", "--control", "--epochs", 3, "--batch-size", 4,
             "--set", "scores=5", "--set", "decoder_layers=1", "--set", "warmup_epochs=1", "--evaluate-every", 2),
    "avcf": (*PLANTED, "--audio", "sound", "--category", "Adagio", "--head", "avcf", "--epochs", 3, "--batch-size", 4,
             "--set", "width=4", "--set", "heads=2", "--set", "fusion_layers=1", "--set", "grading_layers=1"),
    "kernel": (*PLANTED, "--category", "Adagio", "--head", "kernel", "--score", "total", "--score", "artistry",
               "--folds", 2, "--set", "landmarks=8", "--set", "penalties=5"),
    "core": (*PLANTED, "--head", "core", "--epochs", 3, "--batch-size", 4, "--set", "width=8", "--set", "depth=3",
             "--set", "voters=3"),
    "unified": (*PLANTED, "--features", OTHER, "--head", "gdlt", "--epochs", 3, "--batch-size", 4,
                "--set", "width=4", "--set", "heads=2", "--set", "decoder_layers=1"),
    "interrupted": (*PLANTED, "--category", "Adagio", "--head", "core", "--seeds", 2, "--control", "--epochs", 5,
                    "--batch-size", 4, "--set", "width=8", "--set", "depth=3", "--set", "voters=3",
                    "--set", "optimizer=adamw", "--set", "lr=0.01", "--set", "validation=0.3"),
}  # fmt: skip
"""Run -> arguments of `train heads` of 0.1. With --resume, a finished run keeps all its models."""
FINISHED = [name for name in RUNS if name != "interrupted"]
CLOCK = {"seconds_per_epoch"}
"""Measured by each training; not compared."""


def heads(run: str) -> tuple[object, ...]:
    return ("heads", *RUNS[run], "--device", "cpu", "--out", f"runs/{run}")


def said(command: click.Command, *arguments: object, status: int = 0) -> object:
    """Run a command with --json and read what it prints."""
    return lasting(json.loads(invoke(command, *arguments, "--json", status=status).stdout))


def lasting(value: object) -> object:
    """Without measured times, and with 7 digits of each float."""
    if isinstance(value, dict):
        return {name: lasting(one) for name, one in value.items() if name not in CLOCK}
    if isinstance(value, float):
        return float(f"{value:.7g}")
    return [lasting(one) for one in value] if isinstance(value, list) else value


def exported(store: str, backbone: str) -> dict[str, str]:
    """Export a stream with its labels: file -> first 16 digits of its SHA-256."""
    folder = Path(f"exported-{Path(store).name}-{backbone}")
    said(features, "export", store, folder, "--backbone", backbone)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files}


def store(path: str) -> dict[str, object]:
    return {
        "info": said(features, "info", path),
        "ls": said(features, "ls", path, "--backbone", "planted"),
        "verify": said(features, "verify", path),
    }


def scores(run: str) -> list[list[str | float]]:
    """Read predictions.csv: for each row what was scored, the true score and the predicted one."""
    with Path("runs", run, "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    what = ("video_id", "category", "score", "seed", "fold", "control")
    return [[" ".join(row[name] for name in what), float(row["true"]), float(row["predicted"])] for row in rows]


def used(run: str, store: str = HDF5, videos: tuple[str, ...] = SHOWN) -> dict[str, object]:
    """Use the heads of a run on a store, by `train evaluate` and `train predict`."""
    call = ("--run", f"runs/{run}", "--features", store)
    return {"evaluate": said(train, "evaluate", *call), "predict": said(train, "predict", *call, *videos)}


def page(run: str) -> dict[str, object]:
    """Read the page of `train report`: what is missing, the number of figures, and the numbers of its tables."""
    done = said(train, "report", f"runs/{run}", "--features", HDF5, "--out", f"{run}.html")
    text = Path(f"{run}.html").read_text(encoding="utf-8")
    cells = [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", text, re.DOTALL)]
    # Since 0.1, few test videos are marked next to a correlation.
    found = (re.fullmatch(r"([+-]?\d+\.\d+)( \(n=\d+: few\))?", cell) for cell in cells)
    numbers = [float(match[1]) for match in found if match]
    return {"missing": done["missing"], "num_figures": len(re.findall(r"<svg|<img", text)), "numbers": numbers}


def resumed(run: str) -> dict[str, object]:
    metrics = said(train, *heads(run), "--resume")
    return {"metrics": metrics, "predictions": scores(run)}


READINGS: dict[str, Callable[[], object]] = {
    "store hdf5": lambda: store(HDF5),
    "store zarr": lambda: {key: value for key, value in store(ZARR).items() if key != "ls"},
    "store other": lambda: store(OTHER),
    "diff hdf5 and zarr": lambda: said(features, "diff", HDF5, ZARR),
    "diff hdf5 and other": lambda: said(features, "diff", HDF5, OTHER, status=1)[:5],
    "values hdf5": lambda: {name: exported(HDF5, name) for name in ("planted", "sound")},
    "values zarr": lambda: {name: exported(ZARR, name) for name in ("planted", "sound")},
    "values other": lambda: {"planted": exported(OTHER, "planted")},
    **{f"used {run}": lambda run=run: used(run) for run in RUNS},
    "used gslm zarr": lambda: used("gslm", ZARR),
    "used unified other": lambda: used("unified", OTHER, ("--only", "video_09")),
    "compare": lambda: said(train, "compare", "runs/gslm", "runs/core", "runs/kernel"),
    "compare and test": lambda: said(train, "compare", "runs/gslm", "runs/avcf", "--test"),
    # The command lists them by age, which a checkout does not keep.
    "list runs": lambda: sorted(said(train, "list", "runs", "--runs", "runs"), key=lambda row: row["run"]),
    **{f"page {run}": lambda run=run: page(run) for run in (*FINISHED, "interrupted")},
    **{f"resume {run}": lambda run=run: resumed(run) for run in RUNS},
}
"""Name -> one reading. The working directory must be a copy of the fixtures."""


def copy_fixtures(folder: Path) -> Path:
    """Copy stores and runs into a folder, so that commands write nothing into the repository."""
    for name in ("stores", "runs"):
        shutil.copytree(FIXTURES / name, folder / name)
    shutil.unpack_archive(folder / f"{ZARR}.tar.xz", folder / ZARR, filter="data")
    return folder
