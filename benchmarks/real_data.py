"""Heads on real features, by cross-validation inside the training split: python benchmarks/real_data.py --features features/fisv.h5

Every row is a run of `train heads --folds --seeds`, kept under --out, and resumed. Prints the table of
docs/real-data.md: rank correlation and MSE after the last epoch, mean and deviation over seeds, and of the mean of all seeds' scores.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import click
from measured import has_bfloat16
from tabulate import tabulate

from longtake.train.cli import main as train

_TEXTS = (
    "--text",
    "mlavl",
    "--set",
    "grade_group=visual_grades",
    "--set",
    "score_texts=interpolated",
    "--set",
    "scores=11",
)
_LEARNABLE = ("--set", "queries=learnable", "--set", "grades=6", "--set", "scores=11")
ARMS: dict[str, tuple[str, ...]] = {
    "ridge": ("--head", "ridge"),
    "kernel": ("--head", "kernel"),
    "kernel, both scores": ("--head", "kernel", "--set", "beside=tes,pcs"),
    "gdlt": ("--head", "gdlt"),
    "gslm, grade texts": ("--head", "gslm", *_TEXTS),
    "gslm, learnable vectors": ("--head", "gslm", *_LEARNABLE),
    "pgt": ("--head", "pgt"),
    "sca": ("--head", "sca", "--text", "mlavl", "--set", "grade_group=visual_grades"),
    "pgt, without MAG2": ("--head", "pgt", "--set", "mag2=none"),
}
CLOSED_FORM = ("ridge", "kernel", "kernel, both scores")
"""Nothing in them is random: one seed is all."""


def cell(rho: float | None, deviation: float | None, mse: float | None) -> str:
    if rho is None or not math.isfinite(rho):
        return ""
    return f"{rho:.3f}" + (f" ± {deviation:.3f}" if deviation else "") + f" / {mse:.1f}"


@click.command()
@click.option(
    "--features", type=click.Path(path_type=Path), required=True, help="Store of a dataset with the prompt set mlavl."
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/real-data"), show_default=True)
@click.option("--folds", default=5, show_default=True)
@click.option("--seeds", default=5, show_default=True)
@click.option("--preset", default="published", show_default=True)
@click.option("--only", multiple=True, type=click.Choice(list(ARMS)), help="These rows; may be repeated. Default: all.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="For all trained heads; may be repeated.")
def main(
    features: Path, out: Path, folds: int, seeds: int, preset: str, only: tuple[str, ...], settings: tuple[str, ...]
) -> None:
    rows = []
    for name in only or ARMS:
        run = out / f"{preset}-{name.replace(', ', '-').replace(' ', '-')}"
        call = ["heads", "--features", str(features), "--folds", str(folds), "--out", str(run), "--resume", *ARMS[name]]
        call += ["--no-floor", "--seeds", "1" if name in CLOSED_FORM else str(seeds), "--evaluate-every", "1000"]
        if name not in CLOSED_FORM:
            call += ["--preset", preset, "--set", f"precision={'bfloat16' if has_bfloat16() else 'float32'}"]
            call += [part for setting in settings for part in ("--set", setting)]
        train(call, standalone_mode=False)
        table = json.loads((run / "metrics.json").read_text())["table"]
        average = table[-1]
        figures = [cell(row["spearman"], row["spearman_deviation"], row["mse"]) for row in table]
        ensemble = cell(average["ensemble_spearman"], None, average["ensemble_mse"])
        rows.append([name, *figures, ensemble, f"{average['seconds_per_epoch']:.1f} s"])
    names = [" ".join(filter(None, (row["category"], row["score"]))) for row in table]
    click.echo(tabulate(rows, headers=["head", *names, "mean of seeds", "per epoch"], tablefmt="github"))


if __name__ == "__main__":
    main()
