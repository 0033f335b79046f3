"""How long a published protocol takes: python benchmarks/protocol.py [--dataset rg] [--text FEATURES.npy] [--out FOLDER]

SIMULATED features in the size of a dataset (videos and window of its own table and card, 1024-wide pictures, 768-wide sound), its
real labels, all heads by their published settings, one model per category. Text features are the file that --text names, in the
layout of MLAVL's release, or random. A call that is interrupted goes on when it is made again. The rank correlations say nothing but that
every head learns: quality is planted along one direction.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
from tabulate import tabulate

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.imports.importer import import_text
from longtake.features.labels import labels_of
from longtake.features.store import write_store
from longtake.features.types import FeatureHeader, TextFeatures, TextHeader, VideoFeatures, VideoRecord
from longtake.manifests.table import find_manifest
from longtake.train.cli import main as train

PROMPTS = "mlavl"
STREAMS = {"planted-pictures": ("video", 1024), "planted-sound": ("audio", 768)}
_SCORES = ("--text", PROMPTS, "--set", "grade_group=visual_grades", "--set", "score_texts=interpolated")
HEADS: dict[str, tuple[str, ...]] = {
    "ridge": (),
    "kernel": (),
    "gdlt": (),
    "gslm": _SCORES,
    "pgt": (),
    "avcf": ("--audio", "planted-sound"),
    "sca": ("--text", PROMPTS, "--set", "grade_group=visual_grades"),
}
CLOSED_FORM = ("ridge", "kernel")


def write_dataset(path: Path, dataset: str, text: Path | None) -> None:
    manifest = find_manifest(dataset)
    labels, num_clips = labels_of(manifest), manifest.card.window_clips
    rng = np.random.default_rng(0)
    best = np.nanmax(labels.scores, axis=0)
    streams = []
    for name, (modality, dim) in STREAMS.items():
        header = FeatureHeader(name, modality, dim, "simulated", None, False, 32, 32, "centre", None)
        direction = rng.normal(size=dim) / np.sqrt(dim)
        times = np.arange(num_clips, dtype=float)
        items = []
        for row, video_id in enumerate(labels.video_ids):
            quality = labels.scores[row, 0] / best[0]
            clips = rng.normal(size=(num_clips, dim)) + 8 * quality * direction
            video = VideoFeatures(VideoRecord(video_id), clips.astype(np.float32), times, times + 1)
            items.append(StreamItem(video.record, num_clips, lambda video=video: video))
        streams.append(StreamPlan(header, np.dtype(np.float32), items))
    texts = [_random_texts(manifest.card, rng)] if PROMPTS in manifest.card.prompts and not text else []
    write_store(path, dataset=manifest.name, card=manifest.card, labels=labels, streams=streams, texts=texts)
    if text:
        import_text(text, path, manifest.card, PROMPTS, encoder="vifi-clip", weights="as released with MLAVL")


def _random_texts(card, rng: np.random.Generator) -> TextFeatures:
    groups = card.prompts[PROMPTS].groups
    texts = [(group, text) for group, entries in groups.items() for text in entries]
    header = TextHeader("random", 512, "random:0", None, weights_random=True)
    features = rng.normal(size=(len(texts), 512)).astype(np.float32) / 2
    return TextFeatures(PROMPTS, header, tuple(t for _, t in texts), tuple(g for g, _ in texts), features)


@click.command()
@click.option("--dataset", default="rg", show_default=True)
@click.option("--text", type=click.Path(path_type=Path, exists=True), help="Text features of the prompt set mlavl.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/protocol"), show_default=True)
@click.option("--head", "heads", multiple=True, type=click.Choice(list(HEADS)), help="May be repeated. Default: all.")
@click.option("--parallel", default="auto", show_default=True, help="As of `train heads`.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="For trained heads; may be repeated.")
def main(
    dataset: str, text: Path | None, out: Path, heads: tuple[str, ...], parallel: str, settings: tuple[str, ...]
) -> None:
    store = out / f"{dataset}.h5"
    if not store.exists():
        out.mkdir(parents=True, exist_ok=True)
        write_dataset(store, dataset, text)
    rows = []
    for head in heads or HEADS:
        run = out / head
        call = ["heads", "--features", str(store), "--backbone", "planted-pictures", "--head", head, "--out", str(run)]
        call += ["--resume", "--parallel", parallel, "--no-floor", "--evaluate-every", "1000", *HEADS[head]]
        if head not in CLOSED_FORM:
            call += [part for setting in settings for part in ("--set", setting)]
        train(call, standalone_mode=False)
        metrics = json.loads((run / "metrics.json").read_text())
        config = json.loads((run / "config.json").read_text())
        epochs = {c: s["train"]["epochs"] for c, s in config["settings"].items()}
        closed = head in CLOSED_FORM
        total = sum(
            m["seconds_per_epoch"] * (1 if closed else epochs[m["category"] or "all"]) for m in metrics["models"]
        )
        average = metrics["table"][-1]
        rows.append(
            [head, len(metrics["models"]), "" if closed else sum(epochs.values()), f"{average['seconds_per_epoch']:.2f}",
             f"{total / 60:.1f}", f"{average['spearman']:.3f}"]
        )  # fmt: skip
    headers = ["head", "models", "epochs", "s per epoch", "minutes of training", "planted rho"]
    click.echo(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
