"""Everything that needs a GPU, in one command of at most eight minutes: python benchmarks/gpu.py [--json FILE]

It runs the tests marked `gpu`, then measures each backbone (model ceiling, decode ceiling, what a run reaches, the share of it in which the GPU
was busy, and a plain loop; see benchmarks/extraction.py) and a training step of some heads. What the time does not allow is named. Weights are
random, videos SIMULATED. The exit status is 1 where tests
failed or were stopped. Without a GPU it says so and exits with 0; `--device cpu --small` runs the same code in a minute.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import click
import torch
from extraction import Bench, make_videos, measure_each, write_manifest
from heads import Trained, make_batch, make_head
from measured import Machine, Result, Row, Table

from longtake.errors import LongtakeError
from longtake.extract.backbones import TABLE, get_spec
from longtake.extract.plan.options import RunOptions
from longtake.extract.plan.plan import make_plan
from longtake.extract.preprocessing import FrameRule
from longtake.manifests.table import read_manifest
from longtake.train.engine.settings import BFLOAT16, FLOAT32, TrainSettings

ROOT = Path(__file__).resolve().parents[1]
TESTS = ("tests/test_gpu.py", "tests/extract/pipeline/test_device.py")
HEADS = ("gdlt", "gslm", "avcf", "qtd", "tsa", "pamfn")
LAST_SECONDS = 45.0
"""No backbone is begun with less than this left."""
SHARE_OF_TESTS = 0.5
"""Of the time, at most."""
NO_TESTS = 5
"""pytest's status where none is left to run."""


def run_tests(seconds: float) -> tuple[Table, bool]:
    """What they took, and whether all of them passed."""
    call = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "gpu",
        "-rs",
        "--color=no",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        *TESTS,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    passed = False
    try:
        done = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds)
        said = (done.stdout.strip().splitlines() or [done.stderr.strip()])[-1]
        passed = done.returncode in (0, NO_TESTS)
        if not passed:
            click.echo(done.stdout, err=True)
    except subprocess.TimeoutExpired:
        said = f"stopped after {seconds:.0f} s"
    row = Row("pytest -m gpu", "s", (time.perf_counter() - began,), said.strip("= "))
    return Table("Tests marked `gpu`", (row,)), passed


def measure_backbone(name: str, precision: str, folder: Path, device: str, small: bool) -> Table:
    videos = folder / "videos"
    make_videos(videos, 1 if small else 4, 1.0 if small else 20.0)
    names = sorted(path.name for path in videos.iterdir())
    manifest = read_manifest(write_manifest(folder / "gpu.csv", names))
    spec = get_spec(name)
    batch_size = None if small or device == "cpu" else 8 * spec.batch_size
    options = RunOptions(
        (name,), weights=("random",), device=device, precision=precision, runtime="torch", workers=1 if small else 4, batch_size=batch_size,
        fps=2.0 if small else None,
    )  # fmt: skip
    plan = make_plan(manifest, videos, folder / "none.h5", options)
    (table,) = measure_each(Bench(plan, folder), plan.extractors[0], rounds=1)
    return replace(table, title=f"{table.title}, {precision}")


def moved(value: object, device: torch.device) -> object:
    """A batch with its tensors on the device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: moved(one, device) for key, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: moved(getattr(value, f.name), device) for f in fields(value) if f.init})
    return value


def measure_heads(names: tuple[str, ...], device: torch.device, small: bool) -> Table:
    rows = []
    size, clips, dim = (2, 8, 64) if small else (32, 68, 1024)
    for name in names:
        for precision in (FLOAT32, BFLOAT16):
            torch.manual_seed(0)
            head = make_head(name, dim).to(device)
            batch = moved(make_batch(head.batch_needs, size, clips, dim), device)
            trained = Trained(head, batch, TrainSettings(optimizer="adam", lr=1e-4, precision=precision))
            values = []
            for number in range(2 if small else 12):
                began = time.perf_counter()
                trained.step()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                if number:  # the first one prepares kernels
                    values.append(1000 * (time.perf_counter() - began))
            rows.append(Row(f"{name}, {precision}", "ms", tuple(values)))
    return Table(f"A training step, {size} videos of {clips} clips of {dim} values", tuple(rows))


@click.command()
@click.option("--device", default="cuda", show_default=True)
@click.option("--small", is_flag=True, help="One small backbone and head, to see that all of this runs.")
@click.option("--minutes", default=8.0, show_default=True, help="Begin nothing that would not end in them.")
@click.option("--tests/--no-tests", default=True, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(device: str, small: bool, minutes: float, tests: bool, json_path: Path | None) -> None:
    if device.startswith("cuda") and not torch.cuda.is_available():
        return click.echo(
            "skipped: torch sees no GPU on this machine; --device cpu --small runs the same code without one"
        )
    end = time.monotonic() + 60 * minutes
    there = torch.device(device)
    pictures = [name for name in TABLE if isinstance(get_spec(name).frames, FrameRule)]
    precisions = (FLOAT32,) if small else (BFLOAT16, FLOAT32)
    wanted = [(name, precision) for precision in precisions for name in (["efficientnet-lite0"] if small else pictures)]
    tables, notes = [], []

    def tell() -> None:
        words = f" --device {device}" * (device != "cuda") + " --small" * small + " --no-tests" * (not tests)
        result = Result(
            "Extraction", f"On {'a GPU' if there.type == 'cuda' else device}", f"python benchmarks/gpu.py{words}",
            Machine.this(threads=torch.get_num_threads(), accelerator=torch.cuda.get_device_name(there) if there.type == "cuda" else ""),
            tuple(tables), simulated="Weights are random, videos and features SIMULATED", notes=tuple(notes),
        )  # fmt: skip
        if json_path:
            result.write(json_path)

    def add(table: Table) -> None:
        tables.append(table)
        click.echo(Result("Extraction", "", "", Machine.this(), (table,)).markdown())
        tell()  # what was measured is kept, also when this is stopped

    passed = True
    if tests:
        table, passed = run_tests(60 * minutes * SHARE_OF_TESTS)
        add(table)
    add(measure_heads(("i3d-mlp",) if small else HEADS, there, small))
    with tempfile.TemporaryDirectory() as folder:
        for name, precision in wanted:
            if end - time.monotonic() < LAST_SECONDS and not small:
                notes.append(f"{name} in {precision} was not measured: the time was over.")
                continue
            try:
                add(measure_backbone(name, precision, Path(folder), device, small))
            except (LongtakeError, torch.OutOfMemoryError) as error:
                notes.append(f"{name} in {precision} was not measured: {str(error).splitlines()[0]}")
    if notes:
        tell()
    for note in notes:
        click.echo(note)
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
