"""Whole commands on a CPU by torch and by OpenVINO, on the same videos: python benchmarks/runtimes.py [--backbone i3d] [--rounds 2] [--alone] [--json FILE]

In turns: `extract run` as a command of its own for each runtime and precision, decoding alone, and the network alone on a batch. Converted
networks are on disk before the first round, as they are for every command but the first; what converting takes is a row of its own. With
--compile, the network compiled by torch.compile as well. Idle, the default takes eleven minutes on two cores. With --alone, networks alone, and
the rate of a product of matrices, which says about what the processor allows.

Weights are random, which costs the same time. Without --videos, some are made: 25 frames a second of 1280x720, SIMULATED.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import click
import extraction
import torch
import torch.utils.flop_counter
from extraction import Bench, clock, make_videos, write_manifest
from measured import WITHOUT_BFLOAT16, Machine, Ratio, Result, Row, Table, has_bfloat16, ratios
from safetensors.torch import save_file

from longtake.allocator import large_arrays_kept
from longtake.extract.backbones import build, get_spec
from longtake.extract.backbones.openvino_run import settings
from longtake.extract.backbones.to_openvino import example_clips
from longtake.extract.plan.options import RunOptions
from longtake.extract.plan.plan import Plan, make_plan
from longtake.extract.plan.settle import Extractor
from longtake.manifests.table import read_manifest

PUBLISHED = {"i3d": 0.50}
"""Our float32 by torch over the most used extractor of I3D, whole commands on three videos of 16 s of 1280x720, measured before: 0.58, and 0.86 of
that since large arrays are kept. That extractor is not on PyPI, so its share is what this benchmark's ratio times this gives."""
AIMS = {("i3d", "float32"): 0.30, ("i3d", "bfloat16"): 0.20, ("vst", "float32"): 0.32, ("vst", "bfloat16"): 0.18}
"""Of OpenVINO: I3D's of that extractor's time, Video Swin-B's of our float32 by torch."""
LIMIT = """The operations of a network are those of its convolutions and products, as torch counts them. They say how near a network is to what the processor allows."""
VIDEOS = {"i3d": 3, "vst": 1}
TORCH = ("torch", "float32")
MATRIX = 4096
"""Rows and columns of the matrices that are multiplied."""


@dataclass(frozen=True)
class Way:
    runtime: str
    precision: str

    def __str__(self) -> str:
        return f"{'OpenVINO' if self.runtime == 'openvino' else self.runtime}, {self.precision}"


@dataclass(frozen=True)
class World:
    """The files of one backbone's commands."""

    folder: Path
    backbone: str
    manifest: Path
    videos: Path
    weights: Path

    def command(self, way: Way, number: int) -> None:
        out = self.folder / f"{self.backbone}-{way.runtime}-{way.precision}-{number}.h5"
        call = [
            sys.executable, "-m", "longtake.extract.cli", "run", "--manifest", self.manifest, "--videos", self.videos, "--backbone", self.backbone,
            "--weights", self.weights, "--runtime", way.runtime, "--precision", way.precision, "--device", "cpu", "--out", out, "--quiet",
        ]  # fmt: skip
        done = subprocess.run(call, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)

    def plan(self, way: Way) -> Plan:
        options = RunOptions(
            (self.backbone,), weights=(str(self.weights),), runtime=way.runtime, precision=way.precision, device="cpu"
        )
        return make_plan(read_manifest(self.manifest), self.videos, self.folder / "none.h5", options)


@large_arrays_kept()
def of_one(world: World, ways: list[Way], rounds: int, compiled: bool, alone_only: bool) -> Table:
    spec = get_spec(world.backbone)
    converting, extractors = {}, {}
    for way in ways:
        seconds = clock(lambda way=way: extractors.update({way: world.plan(way)}))
        if way.runtime == "openvino":
            converting[way] = seconds
    plans = dict(extractors)
    alone: dict[str, Extractor] = {str(way): plan.extractors[0] for way, plan in plans.items()}
    networks = {name: one.backbone.forward for name, one in alone.items()}
    if compiled:
        network = build(spec)
        network.load_weights(dict(next(iter(plans.values())).extractors[0].backbone.state_dict()))
        network.compile()
        networks["torch, float32, --compile"] = network.forward
    first = next(iter(plans.values())).extractors[0]
    batch = example_clips(spec, first.batch_size, first.rule.length)
    for network_ in networks.values():
        network_(batch)
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        networks[str(Way(*TORCH))](batch)
    billions = counter.get_total_flops() / 1e9
    whole: dict[Way, list[float]] = {way: [] for way in ways if not alone_only}
    model: dict[str, list[float]] = {name: [] for name in networks}
    decode: list[float] = []
    bench = Bench(next(iter(plans.values())), world.folder)
    for number in range(rounds):
        for way, values in whole.items():
            values.append(clock(lambda way=way, number=number: world.command(way, number)))
        if not alone_only:
            decode.append(clock(bench.decode))
        for name, forward in networks.items():
            model[name].append(clock(lambda forward=forward: forward(batch)))
    rows = [Row(f"whole command, {way}", "s", tuple(values)) for way, values in whole.items()]
    rows += [Row("decoding alone", "s", tuple(decode))] if decode else []
    rows += [
        Row(
            f"network alone, {name}", "s", tuple(values),
            f"a batch of {first.batch_size} clips, {billions / median(values):,.0f} GFLOP/s",
        )
        for name, values in model.items()
    ]  # fmt: skip
    rows += [
        Row(f"converting, {way}", "s", (value,), "once; 1 s or less where it is on disk")
        for way, value in converting.items()
    ]
    return Table(spec.title, tuple(rows), tuple(compared(world.backbone, whole)))


def products(ways: list[Way], rounds: int) -> Table:
    """Of matrices, by each runtime and precision."""
    values = torch.randn(MATRIX, MATRIX, generator=torch.Generator().manual_seed(0))
    layer = torch.nn.Linear(MATRIX, MATRIX, bias=False).eval()
    runs: dict[str, Callable[[], object]] = {}
    with torch.no_grad():
        for way in ways:
            if way.runtime == "openvino":
                import openvino

                model = openvino.convert_model(torch.export.export(layer, (values,), strict=False))
                compiled = openvino.Core().compile_model(model, "CPU", settings(way.precision))
                runs[str(way)] = partial(compiled, [values.numpy()])
            else:
                left, right = (one.to(getattr(torch, way.precision)) for one in (values, layer.weight.T))
                runs[str(way)] = partial(torch.matmul, left, right)
        for run in runs.values():
            run()
        seconds = {name: [clock(run) for _ in range(3 * rounds)] for name, run in runs.items()}
    rows = [
        Row(name, "GFLOP/s", tuple(2e-9 * MATRIX**3 / one for one in sorted(taken))) for name, taken in seconds.items()
    ]
    return Table(f"A product of matrices, {MATRIX} x {MATRIX}", tuple(rows), ())


def compared(backbone: str, whole: dict[Way, list[float]]) -> list[Ratio]:
    """Each way over torch in float32, with the aim where there is one."""
    if not whole:
        return []
    base = whole[Way(*TORCH)]
    share = PUBLISHED.get(backbone, 1.0)
    found = []
    for way, values in whole.items():
        if (way.runtime, way.precision) == TORCH:
            continue
        aim = AIMS.get((backbone, way.precision)) if way.runtime == "openvino" else None
        found.append(
            ratios(
                f"{backbone}: {way} / torch, float32",
                values,
                base,
                at_most=None if aim is None else round(aim / share, 3),
            )
        )
    return found


@click.command()
@click.option("--backbone", "backbones", multiple=True, help="May be repeated.  [default: i3d, vst]")
@click.option("--videos", type=click.Path(path_type=Path, exists=True), help="Folder of videos of your own.")
@click.option("--num-videos", type=int, help="Of the simulated ones.  [default: 3 for i3d, 1 for others]")
@click.option("--seconds", default=16.0, show_default=True, help="Of each simulated one.")
@click.option("--rounds", default=1, show_default=True)
@click.option("--compile", "compiled", is_flag=True, help="Also the network alone by torch.compile.")
@click.option("--alone", is_flag=True, help="Networks alone, and a product of matrices; no commands.")
@click.option("--cache", type=click.Path(path_type=Path), help="Keep converted networks there, for the next call.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    backbones: tuple[str, ...], videos: Path | None, num_videos: int | None, seconds: float, rounds: int, compiled: bool, alone: bool,
    cache: Path | None, json_path: Path | None,
) -> None:  # fmt: skip
    extraction.SIZE = (1280, 720)
    ways = [Way("torch", "float32"), Way("openvino", "float32")]
    if has_bfloat16():
        ways += [Way("torch", "bfloat16"), Way("openvino", "bfloat16")]
    names = backbones or tuple(VIDEOS)
    tables = [products(ways, rounds)] if alone else []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["LONGTAKE_CACHE"] = str((cache or folder / "cache").absolute())
        for name in names:
            own = videos or folder / f"videos-{name}"
            if videos is None:
                make_videos(own, num_videos or VIDEOS.get(name, 1), seconds)
            files = sorted(path.name for path in own.iterdir() if path.is_file())
            network = build(name)
            network.init_random(0)
            weights = folder / f"{name}.safetensors"
            save_file({key: value.clone().contiguous() for key, value in network.state_dict().items()}, weights)
            del network
            manifest = write_manifest(folder / f"{name}.csv", files)
            tables.append(of_one(World(folder, name, manifest, own, weights), ways, rounds, compiled, alone))
            words = "".join(f" --backbone {one}" for one in backbones) + " --compile" * compiled + " --alone" * alone
            words += f" --num-videos {num_videos}" * bool(num_videos) + f" --seconds {seconds:g}" * (seconds != 16)
            result = Result(
                "Extraction",
                f"{'Networks' if alone else 'Commands'} by torch and by OpenVINO on a CPU: {', '.join(names)}"
                + ("" if has_bfloat16() else WITHOUT_BFLOAT16),
                f"python benchmarks/runtimes.py{words} --rounds {rounds}",
                Machine.this(threads=torch.get_num_threads()),
                tuple(tables),
                simulated="Weights are random" + ", videos SIMULATED (1280x720, 25 a second)" * (videos is None),
                notes=(LIMIT if alone else
                    f"Whole commands, start included. Targets of I3D are {AIMS['i3d', 'float32']:g} and {AIMS['i3d', 'bfloat16']:g} of the time of the most "
                    f"used extractor, of which torch in float32 took {PUBLISHED['i3d']:g}.",
                ),
            )  # fmt: skip
            if json_path:
                result.write(json_path)
        click.echo(result.markdown())


if __name__ == "__main__":
    main()
