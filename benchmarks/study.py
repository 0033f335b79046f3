"""Models of few videos, by cross-validation on real skating: python benchmarks/study.py STORE --cache FOLDER [--row NAME ...] [--cut NAME ...]

STORE holds Video Swin features of Fis-V's training videos with the groups skater and event (docs/import-features.md, docs/groups.md). Each row is one
experiment of docs/experiments.md. Where it has several settings, each training part chooses between them by three folds of its own; no tested
label is seen. A cut is `skater-SEED` or `random-SEED`; seed 0 cuts as `train heads --folds 5` does. Kernels between videos are kept in FOLDER, those of other features apart; the first
run computes them in some minutes, and those of a cut that is new in two.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from studies import closed_forms, differences, gradients, neighbours, processes
from studies.grams import PARTS, Grams, Standardised, base_grams, jump_grams, kept
from studies.models import Rows, chosen, tested
from studies.videos import Figures, Videos, cut, load, measure

CUTS = ("skater-0", "skater-1", "random-0")


def all_rows(videos: Videos, sheets: Path) -> Rows:
    found = closed_forms.rows() | differences.rows() | neighbours.rows() | processes.rows(sheets)
    return found | gradients.rows(lambda: gradients.spread_clips(Standardised(videos).components(64, 0.25)))


def grams_of(videos: Videos, cuts: Sequence[str], folder: Path) -> dict[str, Grams]:
    folder = folder / videos.digest
    folder.mkdir(parents=True, exist_ok=True)
    base: Grams = {}
    for part in PARTS:
        base |= kept(folder / f"{part}.npz", partial(base_grams, videos, part))
    return {name: base | kept(folder / f"{name}.npz", partial(jump_grams, videos, cut(videos, name))) for name in cuts}


def shown(figures: Sequence[Figures]) -> list[str]:
    if not figures:
        return ["", ""]
    rho, mse = (np.mean([getattr(one, name) for one in figures]) for name in ("rho", "mse"))
    within = np.mean([one.within for one in figures], 0)
    return [f"{rho:.3f} / {mse:.1f}", " / ".join(f"{one:.2f}" for one in within)]


@click.command()
@click.argument("store", type=click.Path(path_type=Path, exists=True))
@click.option("--cache", type=click.Path(path_type=Path), required=True, help="Folder of computed kernels.")
@click.option(
    "--elements", "sheets", type=click.Path(path_type=Path), default=Path("elements_train400.json"),
    help="Values of the elements of each video, for the rows with elements as further scores.",
)  # fmt: skip
@click.option("--row", "names", multiple=True, help="May be repeated. Default: all.")
@click.option("--cut", "cuts", multiple=True, default=CUTS, show_default=True, help="May be repeated.")
@click.option("--list", "only_list", is_flag=True, help="Show the rows and how many settings each has.")
def main(
    store: Path, cache: Path, sheets: Path, names: tuple[str, ...], cuts: tuple[str, ...], only_list: bool
) -> None:
    torch.set_num_threads(1)
    videos = load(store)
    rows = all_rows(videos, sheets)
    if missing := [name for name in names if name not in rows]:
        raise click.ClickException(f"no row {missing[0]!r}; there are: {', '.join(rows)}")
    rows = {name: rows[name] for name in names or rows}
    if only_list:
        return click.echo("\n".join(f"{name}: {len(models)}" for name, models in rows.items()))
    with torch.no_grad():
        grams = grams_of(videos, cuts, cache)
    # A row at a time, so that those of an interrupted run are kept.
    click.echo(
        "| row | settings | by skater | inside events | random folds | inside events | cuts | s a cut |\n"
        + "|---" * 8
        + "|"
    )
    for name, models in rows.items():
        began = time.process_time()
        found = {}
        for one in cuts:
            made = cut(videos, one)
            found[one] = measure(videos, made, tested(videos, grams[one], made, chosen(models)))
        kinds = [[figures for one, figures in found.items() if one.startswith(kind)] for kind in ("skater", "random")]
        cells = [name, str(len(models)), *shown(kinds[0]), *shown(kinds[1])]
        cells += [
            " ".join(f"{figures.rho:.3f}" for figures in found.values()),
            f"{(time.process_time() - began) / len(cuts):.1f}",
        ]
        click.echo(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
