"""Do heads with the published settings learn from about 27 videos? python benchmarks/jigsaws.py [--scale X ...] [--task NAME ...] [--json FILE]

SIMULATED features on the ids, folds and scores of JIGSAWS: 1024 values a clip, none below 0, of mean 0.35 at scale 1, as I3D gives them after its
last ReLU. The score of a video moves two hidden factors out of two dozen, the others are noise of the video and of the clip. With `--white` all 1024
values have noise of their own, and the score moves one direction. Rank correlation, Fisher's mean over four folds, for each task; `before` are the
settings of the first release (batch 32, a cosine, dropout).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from tabulate import tabulate

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import labels_of
from longtake.features.store import open_store, write_store
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord
from longtake.manifests.card import find_card
from longtake.manifests.table import find_manifest
from longtake.train.metrics import fisher_mean
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from longtake.train.protocol.run import run

DIM, CLIPS, FACTORS, MEAN = 1024, 10, 24, 0.35
HEADS = ("ridge", "i3d-mlp", "usdl", "musdl")
BEFORE = {"batch_size": 32, "final_lr_ratio": 0.01, "dropout": 0.3, "weight_decay": 1e-4}


def i3d_like(quality: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`(videos, clips, values)` of qualities of mean 0 and deviation 1."""
    # Neighbouring factors fall off as the spectrum of pooled features does; the score is in the middle of it.
    strength = 1 / np.sqrt(1 + np.arange(FACTORS))
    spread = rng.normal(size=(FACTORS, DIM)) / np.sqrt(FACTORS)
    says = np.zeros(FACTORS)
    says[[3, 7]] = 1.0
    own = rng.normal(size=(len(quality), FACTORS)) * (1 - 0.5 * says) + quality[:, None] * says
    factors = own[:, None] + 0.5 * rng.normal(size=(len(quality), CLIPS, FACTORS))
    clips = 2 * factors * strength @ spread
    clips = np.maximum(clips + 0.15 + 0.1 * rng.normal(size=clips.shape), 0)
    return clips * MEAN / clips.mean()


def white(quality: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same, of noise that is alike in all directions, and one direction that says the quality."""
    direction = rng.normal(size=DIM) / np.sqrt(DIM)
    own = rng.normal(size=(len(quality), DIM)) + 12 * quality[:, None] * direction
    return own[:, None] + 0.5 * rng.normal(size=(len(quality), CLIPS, DIM))


def write_store_of(path: Path, scale: float, seed: int, make: Callable = i3d_like) -> None:
    """A store of JIGSAWS' videos with planted features."""
    rng = np.random.default_rng(seed)
    labels = labels_of(find_manifest("jigsaws"))
    total = labels.scores[:, labels.score_names.index("total")]
    centred = (total - total.mean()) / total.std()
    times, items = np.arange(CLIPS, dtype=float), []
    for video_id, clips in zip(labels.video_ids, scale * make(centred, rng)):
        video = VideoFeatures(VideoRecord(video_id), clips.astype(np.float32), times, times + 1)
        items.append(StreamItem(video.record, CLIPS, lambda video=video: video))
    header = FeatureHeader("planted", "video", DIM, "planted", None, False, 16, 16, "drop", None)
    plan = StreamPlan(header, np.dtype(np.float32), items)
    write_store(path, dataset="jigsaws", card=find_card("jigsaws"), labels=labels, streams=[plan])


def trained(path: Path, head: str, settings: dict[str, object], tasks: tuple[str, ...]) -> dict[str, float]:
    """Task -> mean over the folds of the rank correlation after the last epoch."""
    with open_store(path) as store:
        options = Options(
            head, floor=False, evaluate_every=10_000, device="cpu", scores=("total",), categories=tasks,
            overrides=tuple(settings.items()),
        )  # fmt: skip
        found: dict[str, list[float]] = {}
        for result in run(prepare(store, options), lambda *_: None):
            found.setdefault(result.unit.category, []).append(result.fitted.test.spearman)
    return {task: fisher_mean(values) for task, values in found.items()}


@click.command()
@click.option(
    "--scale", "scales", multiple=True, type=float, default=(1.0,), show_default=True, help="Of the features."
)
@click.option("--task", "tasks", multiple=True, help="May be repeated. Default: all three.")
@click.option("--head", "heads", multiple=True, default=HEADS, show_default=True)
@click.option("--white", "is_white", is_flag=True, help="Noise that is alike in all directions.")
@click.option("--worlds", default=3, show_default=True, help="Data sets drawn; the figures are means.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures there as well.")
def main(
    scales: tuple[float, ...], tasks: tuple[str, ...], heads: tuple[str, ...], is_white: bool, worlds: int,
    json_path: Path | None,
) -> None:  # fmt: skip
    found: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for scale in scales:
            arms = {(head, "published"): [] for head in heads}
            arms |= {(head, "before"): [] for head in heads if head != "ridge"}
            for seed in range(worlds):
                path = Path(folder) / f"{scale}-{seed}.h5"
                write_store_of(path, scale, seed, white if is_white else i3d_like)
                for (head, preset), values in arms.items():
                    values.append(trained(path, head, BEFORE if preset == "before" else {}, tasks))
            for (head, preset), values in arms.items():
                means = {task: fisher_mean([one[task] for one in values]) for task in values[0]}
                found.append({"scale": scale, "head": head, "settings": preset, **means})
    click.echo(tabulate(found, headers="keys", tablefmt="github", floatfmt=".2f"))
    if json_path:
        json_path.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
