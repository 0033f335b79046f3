"""The table nobody publishes: how fast a backbone could go here, how fast decoding could, and what a run reaches.

python benchmarks/extraction.py [--backbone i3d --backbone clip] [--videos FOLDER]

In turns, --rounds times each: `decode`, a run whose network computes nothing; `model`, the network alone on as many clips, in the same batches with the
same threads; `run`, the whole. The limit of a run is the larger of decode and model. Weights are random, which costs the same time. Without --videos, the
demo's are drawn: 20 s of 320x240, SIMULATED.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
import torch
from tabulate import tabulate

from extract.backbones import get_spec
from extract.decode import get_decoder
from extract.demo import write_demo
from extract.pipeline import extract_videos
from extract.reading import Extractor, Job
from extract.run import RunOptions, choose_device, clip_rule, settle
from manifests.table import ManifestRow


class Nothing:
    """A network that costs nothing."""

    def __init__(self, dim: int) -> None:
        self._dim = dim

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(clips), self._dim)


class Timed:
    """A backbone that adds up how long it was busy, and remembers the shape of a batch."""

    def __init__(self, backbone) -> None:
        self._backbone, self.seconds, self.batches, self.example = backbone, 0.0, 0, None

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        began = time.perf_counter()
        features = self._backbone.forward(clips).cpu()
        self.seconds += time.perf_counter() - began
        self.batches += 1
        self.example = clips
        return features


def run(extractor: Extractor, folder: Path, names: list[str], workers: int) -> tuple[float, int]:
    """Seconds and clips of all videos."""
    jobs = [Job(ManifestRow(Path(name).stem, path=name), (extractor,)) for name in names]
    began, clips = time.perf_counter(), 0
    for done in extract_videos(jobs, videos_folder=folder, stems={}, decoder=get_decoder("pyav"), num_workers=workers):
        for video in done.videos.values():
            if video.record.error_message:
                raise SystemExit(f"{done.row.video_id}: {video.record.error_message}")
            clips += len(video.features)
    return time.perf_counter() - began, clips


def measure(
    name: str, folder: Path, names: list[str], rounds: int, workers: int, device: str, precision: str, fps: float | None
) -> dict[str, object]:
    spec = get_spec(name)
    options = RunOptions(device=device, precision=precision, fps=fps)
    extractor = settle(spec, clip_rule(spec, None, options), "random", options, "pyav").extractor()
    timed = Timed(extractor.backbone)
    decoding, whole = replace(extractor, backbone=Nothing(spec.dim)), replace(extractor, backbone=timed)
    run(whole, folder, names[:1], workers)
    seconds: dict[str, list[float]] = {"decode": [], "model": [], "run": []}
    busy = []
    for _ in range(rounds):
        seconds["decode"].append(run(decoding, folder, names, workers)[0])
        timed.seconds, timed.batches = 0.0, 0
        wall, clips = run(whole, folder, names, workers)
        seconds["run"].append(wall)
        busy.append(timed.seconds / wall)
        began = time.perf_counter()
        for _ in range(timed.batches):
            extractor.backbone.forward(timed.example).cpu()
        seconds["model"].append(time.perf_counter() - began)
    medians = {part: statistics.median(values) for part, values in seconds.items()}
    limit = max(medians["decode"], medians["model"])
    return {
        "backbone": name, "clips": clips, "seconds": {p: {"median": medians[p], "all": sorted(v)} for p, v in seconds.items()},
        "over_limit": medians["run"] / limit, "over_sum": medians["run"] / (medians["decode"] + medians["model"]),
        "device_busy": statistics.median(busy),
    }  # fmt: skip


@click.command()
@click.option("--backbone", "backbones", multiple=True, help="May be repeated.  [default: i3d]")
@click.option("--videos", type=click.Path(path_type=Path, exists=True), help="Folder of videos of your own.")
@click.option("--num-videos", default=4, show_default=True, help="Of the demo's.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--workers", default=1, show_default=True, help="Videos decoded at a time.")
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", default="float32", show_default=True)
@click.option("--fps", type=float, help="Frames per second to sample.  [default: the backbone's own]")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    backbones: tuple[str, ...], videos: Path | None, num_videos: int, rounds: int, workers: int, device: str, precision: str,
    fps: float | None, json_path: Path | None,
) -> None:  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        if videos is None:
            write_demo(Path(folder), seed=0, num_videos=num_videos, workers=1, on_video=lambda *_: None)
            videos = Path(folder) / "videos"
        names = sorted(path.name for path in videos.iterdir() if path.is_file())
        found = [
            measure(name, videos, names, rounds, workers, device, precision, fps) for name in backbones or ("i3d",)
        ]
    rows = []
    for one in found:
        rates = [f"{one['clips'] / one['seconds'][part]['median']:.1f}" for part in ("decode", "model", "run")]
        rows.append([one["backbone"], one["clips"], *rates, f"{one['over_limit']:.2f}", f"{one['device_busy']:.0%}"])
    headers = ["backbone", "clips", "decode, clips/s", "model", "run", "run over its limit", "model busy"]
    click.echo(tabulate(rows, headers, tablefmt="github", disable_numparse=True))
    facts = {
        "device": choose_device(device),
        "threads": torch.get_num_threads(),
        "videos": len(names),
        "backbones": found,
    }
    if json_path:
        json_path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
