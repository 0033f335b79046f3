"""Do texts help where training videos are few? python benchmarks/planted.py [--videos N ...] [--worlds N] [--json FILE]

SIMULATED data. In each world, texts of grades and scores lie in order on a curve; half of a video's clips lie near the text of its
score, the others anywhere. QGVL's head is trained with the texts as queries and with learnable vectors, everything else equal: as published
(random projections of the clips, learning rate 0.01), and started in the space that clips and texts share (`one_space=true`, learning rate 0.001), there also
with the same texts in another order. Tested on 200 videos. Rank correlation, Fisher's mean over worlds, with the standard error; `ahead` is in how many
worlds texts in their space beat learnable vectors as published, which is where these are better.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click
import numpy as np
from tabulate import tabulate

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.features.types import FeatureHeader, TextFeatures, TextHeader, VideoFeatures, VideoRecord
from longtake.train.metrics import fisher_mean
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from longtake.train.protocol.run import run

DIM, CLIPS, TEST_VIDEOS = 64, 16, 200
GRADES, SCORES = 4, 21
IN_SPACE = {"one_space": "true", "lr": "0.001"}
LEARNABLE = {"queries": "learnable", "width": DIM}
TEXTS, VECTORS = "texts, one space", "learnable vectors"
ARMS = {
    "texts": {},
    VECTORS: LEARNABLE,
    TEXTS: IN_SPACE,
    "shuffled texts, one space": {**IN_SPACE, "text": "shuffled"},
    "learnable vectors, one space": {**LEARNABLE, **IN_SPACE},
}


def curve(rng: np.random.Generator):
    """Quality in [0, 1] to a text feature of length 10. Neighbouring qualities have texts that are alike."""
    a, b, c, common = np.linalg.qr(rng.normal(size=(DIM, 4)))[0].T

    def text(quality: np.ndarray) -> np.ndarray:
        q = np.asarray(quality)[:, None]
        found = 1.5 * common + np.cos(np.pi * q) * a + np.sin(np.pi * q) * b + 0.5 * np.cos(2 * np.pi * q) * c
        return 10 * found / np.linalg.norm(found, axis=1, keepdims=True)

    return text


def write_world(path: Path, num_train: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = curve(rng)
    quality = rng.uniform(size=num_train + TEST_VIDEOS)
    times = np.arange(CLIPS, dtype=float)
    items = []
    for number, q in enumerate(quality):
        clips = rng.normal(size=(CLIPS, DIM)) * 0.5
        speaking, silent = np.split(rng.permutation(CLIPS), 2)
        clips[speaking] += 0.3 * text(np.clip(q + 0.15 * rng.normal(size=len(speaking)), 0, 1))
        elsewhere = rng.normal(size=(len(silent), DIM))
        clips[silent] += 3 * elsewhere / np.linalg.norm(elsewhere, axis=1, keepdims=True)
        video = VideoFeatures(VideoRecord(f"v{number:04d}"), clips.astype(np.float32), times, times + 1)
        items.append(StreamItem(video.record, CLIPS, lambda video=video: video))
    header = FeatureHeader("planted", "video", DIM, "planted", None, False, CLIPS, CLIPS, "pad", 25.0)
    labels = Labels(
        tuple(item.record.video_id for item in items), ("train",) * num_train + ("test",) * TEST_VIDEOS,
        ("",) * len(items), ("total",), quality[:, None],
    )  # fmt: skip
    grades, scores = text(np.linspace(0, 1, GRADES)), text(np.linspace(0, 1, SCORES))
    texts = [
        TextFeatures(
            name, TextHeader("planted", DIM, "planted", None, weights_random=False),
            tuple(f"{group} {index}" for group, count in (("grades", GRADES), ("scores", SCORES)) for index in range(count)),
            ("grades",) * GRADES + ("scores",) * SCORES, np.concatenate([grades[g], scores[s]]).astype(np.float32),
        )
        for name, g, s in (
            ("qgvl", np.arange(GRADES), np.arange(SCORES)),
            ("shuffled", rng.permutation(GRADES), rng.permutation(SCORES)),
        )
    ]  # fmt: skip
    plan = StreamPlan(header, np.dtype(np.float32), items)
    write_store(path, dataset="planted", card=None, labels=labels, streams=[plan], texts=texts)


def trained(path: Path, arm: dict[str, object], epochs: int) -> float:
    """Rank correlation on the test videos after the last epoch."""
    overrides = {"epochs": epochs, "scores": SCORES, "grades": GRADES, **arm}
    text = overrides.pop("text", None)
    with open_store(path) as store:
        options = Options(
            "gslm", text=text, floor=False, evaluate_every=epochs, device="cpu", overrides=tuple(overrides.items())
        )
        (result,) = run(prepare(store, options), lambda *_: None)
    return result.fitted.test.spearman


@click.command()
@click.option("--videos", multiple=True, type=int, default=(8, 16, 96), show_default=True, help="Training videos.")
@click.option("--worlds", default=10, show_default=True, help="Data sets drawn, each with its own training run.")
@click.option("--epochs", default=60, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures there as well.")
def main(videos: tuple[int, ...], worlds: int, epochs: int, json_path: Path | None) -> None:
    found: dict[str, dict[str, list[float]]] = {}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for num_train in videos:
            arms = found[str(num_train)] = {name: [] for name in ARMS}
            for seed in range(worlds):
                path = Path(folder) / f"{num_train}-{seed}.h5"
                write_world(path, num_train, seed)
                for name, arm in ARMS.items():
                    arms[name].append(trained(path, arm, epochs))
            cells = [
                f"{fisher_mean(values):.3f} ± {np.std(values, ddof=min(1, worlds - 1)) / np.sqrt(worlds):.3f}"
                for values in arms.values()
            ]
            ahead = sum(a > b for a, b in zip(arms[TEXTS], arms[VECTORS]))
            rows.append([num_train, *cells, f"{ahead} of {worlds}"])
    click.echo(tabulate(rows, headers=["training videos", *ARMS, "ahead"], tablefmt="github"))
    if json_path:
        json_path.write_text(json.dumps({"worlds": worlds, "epochs": epochs, "spearman": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
