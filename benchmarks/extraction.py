"""How fast a backbone could go here, how fast decoding could, and what a run reaches.

python benchmarks/extraction.py [--backbone i3d --backbone clip] [--videos FOLDER] [--fps 3]

In turns, --rounds times each: `decode`, the decoder alone, one file after the other on all threads, frames resized; `stub`, a run whose network computes nothing; `model`, the network alone on
as many batches with the same threads; `loop`, a plain loop over decoder and model, one after the other; `run`, all that `extract run` does once its
networks are built, parts and store included. The limit of a run is the larger of decode and model. Several backbones are also run together, from one decode.
Weights are random, which costs the same time. Without --videos, some are made: 25 frames a second of 640x360, SIMULATED.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import click
import numpy as np
import torch
from measured import Machine, Ratio, Result, Row, Table, ratios

from longtake.allocator import large_arrays_kept
from longtake.extract.backbones.frozen import Backbone
from longtake.extract.clips import Clip, plan_clips
from longtake.extract.decode import get_decoder
from longtake.extract.errors import ExtractError
from longtake.extract.executors.local import publish, run_locally
from longtake.extract.plan.options import RunOptions
from longtake.extract.plan.plan import Job, Plan, make_plan
from longtake.extract.plan.settle import Extractor
from longtake.extract.preprocessing import FrameRule
from longtake.manifests.table import read_manifest

SIZE, FPS = (640, 360), 25
OVER_SUM, OVER_DECODE, TOGETHER, BUSY = 1.05, 1.10, 1.03, 0.9


def write_video(path: Path, seconds: float, seed: int) -> None:
    """A textured scene that drifts, with noise: about 1.4 Mb/s."""
    rng = np.random.default_rng(seed)
    width, height = SIZE
    coarse = rng.integers(0, 255, (height // 8, width // 4, 3), dtype=np.uint8)
    scene = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "fast", "crf": "24"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(round(seconds * FPS)):
            left = int((np.sin(number / 90) + 1) / 2 * (scene.shape[1] - width))
            picture = scene[:, left : left + width] // 2 + rng.integers(0, 24, (height, width, 1), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")))
        container.mux(stream.encode(None))


class Nothing:
    """A network that costs nothing."""

    def __init__(self, dim: int) -> None:
        self._dim, self.device = dim, torch.device("cpu")

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(clips), self._dim)


class Timed:
    """A backbone that adds up how long its device was busy, and remembers the shape of a batch."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone, self.device = backbone, torch.device(backbone.device)
        self.batches, self.example = 0, None
        self._seconds, self._events = 0.0, []

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        self.batches += 1
        self.example = torch.zeros_like(clips)
        if self.device.type != "cuda":
            began = time.perf_counter()
            features = self.backbone.forward(clips)
            self._seconds += time.perf_counter() - began
            return features
        # Waiting for the device here would keep it from being busy.
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        features = self.backbone.forward(clips)
        end.record()
        self._events.append((begin, end))
        return features

    def busy_seconds(self) -> float:
        """Since the last call."""
        if self._events:
            torch.cuda.synchronize(self.device)
        found = self._seconds + sum(begin.elapsed_time(end) for begin, end in self._events) / 1000
        self._seconds, self._events = 0.0, []
        return found


def clock(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@dataclass(frozen=True)
class Bench:
    """A plan, what its parts cost alone, and what it costs as a whole."""

    plan: Plan
    folder: Path

    def paths(self) -> list[Path]:
        return [self.plan.videos_folder / job.row.path for job in self.plan.jobs]

    def decode(self) -> None:
        for path in self.paths():
            _, pictures = self._read(path, self.plan.extractors)
            for _ in pictures:
                pass

    def _read(self, path: Path, extractors: tuple[Extractor, ...]) -> tuple[dict[Extractor, list[Clip]], Iterator]:
        decoder = get_decoder(self.plan.options.decoder)
        info = decoder.probe(path)
        clips = {extractor: plan_clips(info.timeline, extractor.rule) for extractor in extractors}
        wanted: dict[FrameRule, set[int]] = {}
        for extractor, planned in clips.items():
            wanted.setdefault(extractor.spec.frames, set()).update(frame for clip in planned for frame in clip.frames)
        return clips, decoder.pictures(info, wanted, num_threads=0)

    def loop(self, extractor: Extractor) -> None:
        """As one writes it, with torch: a video after the other, all of its frames, then batch after batch."""
        network = getattr(extractor.backbone, "in_torch", extractor.backbone)
        for path in self.paths():
            planned, pictures = self._read(path, (extractor,))
            frames = {index: found[extractor.spec.frames] for index, found in pictures}
            clips = planned[extractor]
            for first in range(0, len(clips), extractor.batch_size):
                batch = clips[first : first + extractor.batch_size]
                stacked = np.stack([np.stack([frames[frame] for frame in clip.frames]) for clip in batch])
                network.forward(torch.from_numpy(stacked)).cpu()

    @large_arrays_kept()
    def model(self, timed: list[Timed]) -> None:
        for one in timed:
            for _ in range(one.batches):
                features = one.backbone.forward(one.example)
            features.cpu()

    def run(self, backbones: dict[str, Backbone]) -> int:
        """With the extractors named, each with that backbone; how many clips it gave."""
        chosen = {e.spec.name: replace(e, backbone=backbones[e.spec.name]) for e in self.plan.extractors
                  if e.spec.name in backbones}  # fmt: skip
        jobs = tuple(Job(job.row, tuple(chosen.values())) for job in self.plan.jobs)
        clips = 0
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            plan = replace(self.plan, jobs=jobs, out=Path(out) / "store.h5")
            for done in run_locally(plan):
                if done.failure:
                    raise SystemExit(f"{done.video_id}: {done.failure.error_message}")
                clips += done.num_clips
            publish(plan)
        return clips


def measure_each(bench: Bench, extractor: Extractor, rounds: int) -> Iterator[Table]:
    """After each round what is known then, so that a long one that is stopped keeps something."""
    timed = Timed(extractor.backbone)
    name, alone = extractor.spec.name, replace(bench.plan, extractors=(extractor,))
    bench = replace(bench, plan=alone)
    clips = bench.run({name: timed})
    batches = timed.batches
    timed.busy_seconds()
    seconds: dict[str, list[float]] = {part: [] for part in ("decode", "stub", "model", "loop", "run")}
    busy = []
    for _ in range(rounds):
        seconds["decode"].append(clock(bench.decode))
        seconds["stub"].append(clock(lambda: bench.run({name: Nothing(extractor.spec.dim)})))
        timed.batches = batches
        seconds["model"].append(clock(lambda: bench.model([timed])))
        seconds["loop"].append(clock(lambda: bench.loop(extractor)))
        seconds["run"].append(clock(lambda: bench.run({name: timed})))
        busy.append(timed.busy_seconds() / seconds["run"][-1])
        arrays = {part: np.array(values) for part, values in seconds.items()}
        rates = {"decode": "decode ceiling", "model": "model ceiling", "run": "reached", "loop": "a plain loop"}
        rows = [Row(label, "clips/s", tuple(clips / arrays[part])) for part, label in rates.items()]
        rows += [Row(part, "s", tuple(values)) for part, values in seconds.items()]
        larger = np.maximum(arrays["decode"], arrays["model"])
        yield Table(
            f"{extractor.spec.title}: {clips} clips in {batches} batches of {extractor.batch_size}",
            tuple(rows),
            (
                ratios(f"{name}: run / (model + decode)", arrays["run"], arrays["model"] + arrays["decode"], at_most=OVER_SUM, headline=True),
                _over_decode(seconds["stub"], seconds["decode"]),
                ratios(f"{name}: run / the larger of model and decode", arrays["run"], larger),
                ratios(f"{name}: run / a plain loop", arrays["run"], arrays["loop"]),
                Ratio(f"{name}: share of the run in which the device was busy", tuple(busy), at_least=BUSY if timed.device.type == "cuda" else None),
            ),
        )  # fmt: skip


def measure_stub(bench: Bench, extractor: Extractor, rounds: int) -> Iterator[Table]:
    """What a run costs beyond its decoder, with every frame that the backbone asks for and no network at all."""
    bench = replace(bench, plan=replace(bench.plan, extractors=(extractor,)))
    nothing = {extractor.spec.name: Nothing(extractor.spec.dim)}
    clips = bench.run(nothing)
    seconds: dict[str, list[float]] = {"decode": [], "stub": []}
    for _ in range(rounds):
        seconds["decode"].append(clock(bench.decode))
        seconds["stub"].append(clock(lambda: bench.run(nothing)))
        yield Table(
            f"{clips} clips of {extractor.spec.title}'s size, no network",
            tuple(Row(part, "s", tuple(values)) for part, values in seconds.items()),
            (_over_decode(seconds["stub"], seconds["decode"]),),
        )


def _over_decode(stub: list[float], decode: list[float]) -> Ratio:
    return ratios("a run with a stub backbone / decode", stub, decode, at_most=OVER_DECODE, headline=True)


def measure_together(bench: Bench, rounds: int) -> Iterator[Table]:
    timed = {e.spec.name: Timed(e.backbone) for e in bench.plan.extractors}
    clips = bench.run(timed)
    batches = {name: one.batches for name, one in timed.items()}
    seconds: dict[str, list[float]] = {"decode": [], **{f"model {name}": [] for name in timed}, "run": []}
    for _ in range(rounds):
        seconds["decode"].append(clock(bench.decode))
        for name, one in timed.items():
            one.batches = batches[name]
            seconds[f"model {name}"].append(clock(lambda one=one: bench.model([one])))
        seconds["run"].append(clock(lambda: bench.run(timed)))
        total = np.sum([values for part, values in seconds.items() if part != "run"], axis=0)
        yield Table(
            f"{', '.join(timed)} in one run: {clips} clips",
            tuple(Row(part, "s", tuple(values)) for part, values in seconds.items()),
            (
                ratios(f"{len(timed)} backbones in one run / (their models + one decode)", seconds["run"], total, at_most=TOGETHER, headline=True),
            ),
        )  # fmt: skip


def make_videos(folder: Path, num_videos: int, seconds: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(num_videos):
        path = folder / f"simulated-{seconds:g}s-{number}.mp4"
        if not path.exists():
            write_video(path, seconds, number)


def write_manifest(path: Path, names: list[str]) -> Path:
    lines = [f"v{number},{name}" for number, name in enumerate(names)]
    path.write_text("\n".join(["video_id,path", *lines]) + "\n", encoding="utf-8")
    return path


@click.command()
@click.option("--backbone", "backbones", multiple=True, help="May be repeated.  [default: i3d]")
@click.option("--videos", type=click.Path(path_type=Path, exists=True), help="Folder of videos of your own.")
@click.option(
    "--made-in", type=click.Path(path_type=Path), help="Keep the simulated ones in this folder, for the next call."
)
@click.option("--num-videos", default=4, show_default=True, help="Of the simulated ones.")
@click.option("--seconds", default=60.0, show_default=True, help="Of each simulated one.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--workers", default=1, show_default=True, help="Videos decoded at a time.")
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", default="float32", show_default=True)
@click.option("--runtime", default="auto", show_default=True)
@click.option("--compile", is_flag=True, help="As extract run --compile.")
@click.option("--fps", type=float, help="Frames per second to sample.  [default: the backbone's own]")
@click.option("--batch-size", type=int, help="Clips or frames per step.  [default: the backbone's own]")
@click.option("--each/--no-each", default=True, show_default=True, help="Also each of several backbones by itself.")
@click.option("--model/--no-model", default=True, show_default=True, help="Else only what needs no network.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    backbones: tuple[str, ...], videos: Path | None, made_in: Path | None, num_videos: int, seconds: float, rounds: int, workers: int, each: bool,
    model: bool, json_path: Path | None, **options: object,
) -> None:  # fmt: skip
    backbones = backbones or ("i3d",)
    if not (model or each) and len(backbones) > 1:
        raise click.UsageError("without networks there is nothing to measure together: take --model or --each")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made = videos is None
        if made:
            videos = made_in or folder / "videos"
            make_videos(videos, num_videos, seconds)
        names = sorted(path.name for path in videos.iterdir() if path.is_file())
        manifest = read_manifest(write_manifest(folder / "bench.csv", names[:num_videos] if made else names))
        settings = RunOptions(backbones=backbones, weights=("random",), workers=workers, **options)
        plan = make_plan(manifest, videos, folder / "none.h5", settings)
        deaf = [e for e in plan.extractors if isinstance(e.spec.frames, FrameRule)]
        if len(deaf) != len(plan.extractors):
            raise ExtractError("this benchmark decodes pictures; leave out the backbones that hear")
        bench = Bench(plan, folder)
        device = torch.device(plan.extractors[0].backbone.device)
        by_itself = measure_each if model else measure_stub
        measured = [by_itself(bench, e, rounds) for e in plan.extractors] if each or len(backbones) == 1 else []
        measured += [measure_together(bench, rounds)] * (len(backbones) > 1 and model)
        words = [f"--backbone {name}" for name in backbones] + ([f"--fps {options['fps']:g}"] if options["fps"] else [])
        words += [f"--num-videos {num_videos}", f"--seconds {seconds:g}"] if made else ["--videos FOLDER"]
        words += [f"--batch-size {options['batch_size']}"] if options["batch_size"] else []
        words += ["--no-each"] * (not each) + ["--no-model"] * (not model) + ["--compile"] * bool(options["compile"])
        words += [f"--precision {options['precision']}"] * (options["precision"] != "float32")
        words += [f"--runtime {options['runtime']}"] * (options["runtime"] != "auto")
        words += [f"--workers {workers}"] * (workers != 1) + [f"--device {options['device']}"] * (
            options["device"] != "auto"
        )
        words += [f"--rounds {rounds}"]
        accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
        tables: list[Table] = []
        for growing in measured:
            tables.append(Table("", ()))
            for tables[-1] in growing:
                result = Result(
                    "Extraction",
                    f"What a run reaches: {', '.join(backbones)}" if model else "What a run costs beyond its decoder",
                    f"python benchmarks/extraction.py {' '.join(words)}",
                    Machine.this(threads=torch.get_num_threads(), accelerator=accelerator),
                    tuple(tables),
                    simulated="Weights are random" + f", videos SIMULATED ({SIZE[0]}x{SIZE[1]}, {FPS} a second)" * made,
                )
                if json_path:
                    result.write(json_path)
        click.echo(result.markdown())


if __name__ == "__main__":
    main()
