"""Does MVLA's plug-in help a host by what stage texts say? python benchmarks/stages.py [--seeds N] [--json FILE]

SIMULATED dives. A dive has three stages, which frames show and whose boundaries are labelled; its number says of which kind each stage is, which nothing
in the video shows. In every stage, clips hold one quality for each kind, and only that of the stage's own kind counts for the score. So who knows
what the texts say knows which quality to read. The host is trained alone, with the plug-in and each dive's own stage texts, and with the
plug-in and the texts of a dive drawn at random for each video; everything else is equal. Rank correlation on 150 held-out dives, Fisher's mean over seeds with the
standard deviation, and AIoU of the boundaries that the plug-in predicts.

--counts instead: parameters and operations of the plug-in for FineDiving's shapes, part by part.
"""

from __future__ import annotations

import json
import tempfile
from itertools import product
from pathlib import Path

import click
import numpy as np
import torch
from tabulate import tabulate
from torch.utils.flop_counter import FlopCounterMode

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.features.types import FeatureHeader, TextFeatures, TextHeader, VideoFeatures, VideoRecord
from longtake.manifests.card import Card
from longtake.train.heads.base import Batch, SecondStream
from longtake.train.heads.plugin import WithStages
from longtake.train.heads.staged import StagedSettings
from longtake.train.heads.usdl import MeanMLP, MLPSettings
from longtake.train.metrics import fisher_mean
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from longtake.train.protocol.run import run

SECONDS, FRAMES, CLIPS, CLIP_SECONDS, CLIP_STRIDE = 9.6, 48, 9, 1.6, 1.0
CLIP_DIM, TEXT_DIM = 32, 32
KINDS = (2, 4, 2)
"""Of take-offs, flights and entries."""
WEIGHTS = (0.25, 0.6, 0.15)
TEST_VIDEOS = 150
DIVES = {f"dive {a}{b}{c}": (a, b, c) for a, b, c in product(*map(range, KINDS))}
ARMS = {"host alone": None, "stage texts": "own", "texts shuffled": "shuffled"}
PUBLISHED = {"parameters": 11.25e6, "flops": 2.96e9}
"""Of MVLA's section 4.3, with both towers of CLIP frozen."""


def texts_of(dive: str) -> tuple[str, ...]:
    return tuple(f"stage {stage} of kind {kind}" for stage, kind in enumerate(DIVES[dive], 1))


def card() -> Card:
    categories = {name: {"stages": texts_of(name), "video": ", ".join(texts_of(name))} for name in DIVES}
    note = "SIMULATED by benchmarks/stages.py"
    facts = dict.fromkeys(("title", "authors", "citation", "source", "licence", "where_videos", "where_labels"), note)
    values = {
        "name": "planted", **facts, "simulated": True, "splits": ["train", "test"], "categories": list(DIVES),
        "scores": {"total": {"name": "total", "title": note, "minimum": -1.0, "maximum": 1.0}},
        "protocol": {"one_model_per": ["score"]}, "prompts": {"mvla": {"source": note, "categories": categories}},
    }  # fmt: skip
    return Card.from_json(json.dumps(values))


def stream(name: str, dim: int, tables: list[np.ndarray], starts: np.ndarray, length: float) -> StreamPlan:
    header = FeatureHeader(name, "video", dim, "planted", None, False, 16, 10, "drop", 10.0)
    items = []
    for number, table in enumerate(tables):
        video = VideoFeatures(VideoRecord(f"v{number:04d}"), table.astype(np.float32), starts, starts + length)
        items.append(StreamItem(video.record, len(starts), lambda video=video: video))
    return StreamPlan(header, np.dtype(np.float32), items)


def write_world(path: Path, num_train: int, seed: int, shuffled: bool) -> None:
    rng = np.random.default_rng(seed)
    count = num_train + TEST_VIDEOS
    # One direction of the clips for each kind of each stage; one of the frames for each stage, whatever its kind.
    qualities_of = np.linalg.qr(rng.normal(size=(CLIP_DIM, CLIP_DIM)))[0][: sum(KINDS)]
    shown = 2 * np.linalg.qr(rng.normal(size=(TEXT_DIM, TEXT_DIM)))[0][:3]
    first_kind = np.concatenate([[0], np.cumsum(KINDS)[:-1]])
    frame_starts = np.arange(FRAMES) * SECONDS / FRAMES
    clip_starts = np.arange(CLIPS) * CLIP_STRIDE
    names = list(DIVES)
    dives, scores, boundaries, clips, frames = [], [], [], [], []
    for _ in range(count):
        dive = names[rng.integers(len(names))]
        ends = np.sort([rng.uniform(1.5, 3.5), rng.uniform(5.5, 7.8)])
        quality = rng.uniform(-1, 1, size=(3, sum(KINDS)))
        own = [quality[stage, first_kind[stage] + kind] for stage, kind in enumerate(DIVES[dive])]
        at_clips = np.searchsorted(ends, clip_starts + CLIP_SECONDS / 2)
        at_frames = np.searchsorted(ends, frame_starts + SECONDS / FRAMES / 2)
        clips.append(3 * quality[at_clips] @ qualities_of + 0.3 * rng.normal(size=(CLIPS, CLIP_DIM)))
        frames.append(shown[at_frames] + 0.3 * rng.normal(size=(FRAMES, TEXT_DIM)))
        dives.append(dive)
        scores.append(float(np.dot(WEIGHTS, own)))
        boundaries.append(ends)
    if shuffled:
        # Of a generator of their own, so that the features of the texts are those of the other arms.
        dives = [names[index] for index in np.random.default_rng([seed, 1]).integers(len(names), size=count)]
    made = card()
    prompts = made.prompts["mvla"]
    groups = tuple(group for group, texts in prompts.groups.items() for _ in texts)
    features = 10 * rng.normal(size=(len(groups), TEXT_DIM)) / np.sqrt(TEXT_DIM)
    header = TextHeader("planted", TEXT_DIM, "planted", None, weights_random=False)
    labels = Labels(
        tuple(f"v{number:04d}" for number in range(count)), ("train",) * num_train + ("test",) * TEST_VIDEOS,
        tuple(dives), ("total",), np.array(scores)[:, None], np.array(boundaries),
    )  # fmt: skip
    write_store(
        path, dataset="planted", card=made, labels=labels,
        streams=[
            stream("clips", CLIP_DIM, clips, clip_starts, CLIP_SECONDS),
            stream("frames", TEXT_DIM, frames, frame_starts, SECONDS / FRAMES),
        ],
        texts=[TextFeatures("mvla", header, prompts.texts, groups, features.astype(np.float32))],
    )  # fmt: skip


def trained(path: Path, plugin: bool, epochs: int, seed: int):
    """The test of the host after the last epoch."""
    overrides = {"epochs": epochs, "lr": 1e-3, "dropout": 0.1, "width": 64}
    if plugin:
        overrides |= {"plugin.width": 32, "plugin.heads": 4, "plugin.dropout": 0.1}
    with open_store(path) as store:
        options = Options(
            "i3d-mlp", "clips", "frames" if plugin else None, plugin="mvla" if plugin else None, floor=False,
            evaluate_every=epochs, device="cpu", overrides=tuple(overrides.items()), first_seed=seed,
        )  # fmt: skip
        (result,) = run(prepare(store, options), lambda *_: None)
    return result.fitted.test


def counts() -> list[dict[str, object]]:
    """Of the plug-in before clips 1024 wide, with 96 frames and texts 512 wide, part by part."""
    host, texts = MeanMLP(1024, MLPSettings()), {"stages": torch.zeros(43, 512), "videos": torch.zeros(58, 512)}
    module = WithStages(host, 1024, texts, 512, StagedSettings()).eval()
    starts = torch.arange(9.0)[None]
    at = torch.arange(96.0)[None] * 9.6 / 96
    batch = Batch(
        torch.zeros(1, 9, 1024), torch.ones(1, 9, dtype=torch.bool), torch.zeros(1), (0,),
        seconds=torch.stack([starts, starts + 1.6], -1),
        second_stream=SecondStream(torch.zeros(1, 96, 512), torch.ones(1, 96, dtype=torch.bool), torch.stack([at, at + 0.1], -1)),
        terms=torch.zeros(1, 4, dtype=torch.long),
    )  # fmt: skip
    with FlopCounterMode(display=False, depth=10) as counter:
        module(batch)
    flops = {name: sum(own.values()) for name, own in counter.get_flop_counts().items()}
    total, of_host = (sum(p.numel() for p in part.parameters()) for part in (module, host))
    rows = []
    for name, about in (
        ("temporal", "temporal Transformer over 96 frames (equation 3)"),
        ("segmentation", "clips to frames, boundaries (equation 4)"),
        ("attention", "collaborative attention (equation 8)"),
    ):
        part = getattr(module.guidance, name)
        rows.append(
            {
                "part": about,
                "parameters": sum(p.numel() for p in part.parameters()),
                "flops": flops.get(f"WithStages.guidance.{name}", 0),
            }
        )
    extra = {
        "part": "plug-in",
        "parameters": total - of_host,
        "flops": flops["Global"] - flops.get("WithStages.host", 0),
    }
    return [*rows, extra, {"part": "the paper's", **PUBLISHED}]


@click.command()
@click.option("--seeds", default=5, show_default=True, help="Worlds drawn, each with its own training runs.")
@click.option("--videos", default=300, show_default=True, help="Training videos.")
@click.option("--epochs", default=40, show_default=True)
@click.option(
    "--counts", "only_counts", is_flag=True, help="Parameters and operations of the plug-in, nothing trained."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures there as well.")
def main(seeds: int, videos: int, epochs: int, only_counts: bool, json_path: Path | None) -> None:
    if only_counts:
        rows = counts()
        table = [[row["part"], f"{row['parameters'] / 1e6:.2f} M", f"{row['flops'] / 1e9:.2f} G"] for row in rows]
        click.echo(tabulate(table, headers=["part", "parameters", "FLOPs a video"], tablefmt="github"))
        facts: dict[str, object] = {"counts": rows}
    else:
        found = {name: [] for name in ARMS}
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(seeds):
                for name, texts in ARMS.items():
                    path = Path(folder) / f"{seed}-{name}.h5"
                    write_world(path, videos, seed, texts == "shuffled")
                    test = trained(path, texts is not None, epochs, seed)
                    click.echo(f"world {seed}, {name}: {test.spearman:.3f}, AIoU@0.75 {test.aiou_75:.3f}", err=True)
                    found[name].append(test)
        table = []
        for name, tests in found.items():
            rho = [test.spearman for test in tests]
            aious = [f"{np.mean([getattr(t, field) for t in tests]):.3f}" for field in ("aiou_50", "aiou_75")]
            deviation = f" ± {np.std(rho, ddof=1):.3f}" if seeds > 1 else ""
            table.append([name, f"{fisher_mean(rho):.3f}{deviation}", *(aious if name != "host alone" else ("", ""))])
        click.echo(
            tabulate(
                table, headers=["arm", "Spearman", "AIoU@0.5", "AIoU@0.75"], tablefmt="github", disable_numparse=True
            )
        )
        facts = {
            name: [{field: getattr(test, field) for field in ("spearman", "aiou_50", "aiou_75")} for test in tests]
            for name, tests in found.items()
        }
        # JSON has no NaN.
        facts["host alone"] = [{"spearman": one["spearman"]} for one in facts["host alone"]]
    if json_path:
        json_path.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
