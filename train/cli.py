"""The `train` command: train heads from cached features, evaluate them, bring in published checkpoints."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import click

from longtake.manifests.card import dataset_names, find_card
from longtake.progress import how_shown, progress_options
from longtake.terminal import Console, StorePath, add_completion, completes, json_option, print_json
from longtake.train.errors import DataError, SettingsError
from longtake.train.heads import TABLE


@click.group(cls=Console)
@click.version_option(package_name="longtake")
def main() -> None:
    """Train the heads that score performances, from cached features."""


def parse_overrides(pairs: tuple[str, ...]) -> dict[str, object]:
    overrides: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise SettingsError(f"--set takes KEY=VALUE, got {pair!r}")
        overrides[name] = value
    return overrides


@main.command()
@click.option(
    "--features",
    "store_paths",
    type=StorePath(),
    required=True,
    multiple=True,
    help="The feature store, a path or a URL. Several train one model for all their datasets.",
)
@click.option(
    "--head",
    shell_complete=completes(lambda: TABLE),
    help=f"One of {', '.join(TABLE)}. Default: gslm where the store has text features, else gdlt.",
)
@click.option("--backbone", help="NAME or NAME@RECIPE, when the store holds several.")
@click.option(
    "--audio",
    "--second",
    help="A second stream, clip for clip, NAME or NAME@RECIPE: the sound for heads that hear (avcf), CLIP's pictures for MVLA.",
)
@click.option("--text", help="Prompt set of the store, as NAME or NAME@RECIPE. Default: the head's.")
@click.option("--plugin", help="mag2 (MLAVL) or mvla (MVLA): guidance by texts before the head.")
@click.option("--category", "categories", multiple=True, help="Only this category; may be repeated. Default: each.")
@click.option("--score", "scores", multiple=True, help="Only this score; may be repeated. Default: the dataset's.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Train each model this many times.")
@click.option("--folds", type=click.IntRange(0), default=0, help="Cross-validation inside the training split.")
@click.option(
    "--preset", default="published", show_default=True, help="Settings to start from: docs/heads.md lists them."
)
@click.option("--epochs", type=int, help="Default: the published number for the head and dataset.")
@click.option("--lr", type=float, help="Learning rate. Default: the published one.")
@click.option("--batch-size", type=int, help="Videos per step. Default: the published number.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any other setting; may be repeated.")
@click.option("--control", is_flag=True, help="Also train on shuffled labels: what luck looks like.")
@click.option(
    "--floor/--no-floor", default=True, show_default=True, help="Also fit the ridge regression that is the floor."
)
@click.option(
    "--evaluate-every",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Epochs between tests for best_on_test.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option(
    "--parallel",
    default="auto",
    show_default=True,
    help="Models trained at the same time: none, stacked as one, in processes, or auto.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/<dataset>-<head>-<time>]"
)
@click.option(
    "--resume", is_flag=True, help="Go on with the interrupted run in --out: nothing that is done is trained again."
)
@progress_options
@json_option
def heads(
    store_paths: tuple[Path, ...], head: str | None, backbone: str | None, audio: str | None, text: str | None,
    plugin: str | None, preset: str, categories: tuple[str, ...],
    scores: tuple[str, ...], seeds: int, folds: int, epochs: int | None, lr: float | None, batch_size: int | None,
    settings: tuple[str, ...], control: bool, floor: bool, evaluate_every: int, device: str, parallel: str, out: Path | None,
    resume: bool, quiet: bool, verbose: bool, as_json: bool,
) -> None:  # fmt: skip
    """Train a head for every category and score of a store, by the published protocol, and print the table.

    The result is the head after its last epoch. Example: train heads --features features/rg.h5 --head gdlt --seeds 3
    """
    if resume and out is None:
        raise click.UsageError("--resume goes with --out FOLDER: the run that is to go on")
    # torch and numpy are imported here, so that --help and mistakes in the call do not wait for it.
    from longtake.train.protocol.options import Options
    from longtake.train.protocol.summary import summarise
    from longtake.train.runs.fit import default_folder, open_experiment, train_into
    from longtake.train.runs.folder import RANDOM_NOTE, format_table
    from longtake.train.runs.progress import EpochProgress

    shown = how_shown(quiet, verbose, as_json)
    named = {"epochs": epochs, "lr": lr, "batch_size": batch_size}
    overrides = parse_overrides(settings) | {name: value for name, value in named.items() if value is not None}
    options = Options(
        head, backbone, audio, text, plugin, categories, scores, seeds, folds, floor, control, evaluate_every, device,
        tuple(sorted(overrides.items())), preset, parallel=parallel,
    )  # fmt: skip
    experiment, warnings = open_experiment(store_paths, options)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    out = out or default_folder(experiment)
    if not (as_json or quiet):
        data = experiment.data
        click.echo(
            f"head {experiment.head} on {len(data)} videos, {len(data.clips.features)} clips x {data.header.dim} of "
            f"{data.header.backbone}@{data.header.recipe_id}; {sum(not model.control for model in experiment.models)} models on {experiment.device}"
        )
        for unit in experiment.tested:
            if not unit.scale.stated:
                click.echo(f"score {unit.scale.name}: no card states its range, so that of the labels is taken: "
                           f"{unit.scale.minimum:g} to {unit.scale.maximum:g}")  # fmt: skip
    results, interrupted = [], False
    with EpochProgress(experiment, shown) as progress:
        try:
            for result in train_into(out, experiment, progress.epoch, resume):
                results.append(result)
                progress.result(result)
        except KeyboardInterrupt:
            interrupted = True
    if as_json:
        print_json(json.loads((out / "metrics.json").read_text()) if results else {})
    elif results and not quiet:
        click.echo(format_table(summarise(results)))
        if experiment.random_weights:
            click.echo(RANDOM_NOTE)
        click.echo(f"Spearman and MSE are those of the last epoch. Everything is in {out}")
    if interrupted:
        click.echo(
            f"stopped; {len(results)} finished models are in {out}. The same call with --resume --out {out} goes on",
            err=True,
        )
        sys.exit(130)


@main.command()
@click.option("--run", "run_folder", type=click.Path(path_type=Path), required=True, help="Folder of a run.")
@click.option("--features", "store_path", type=StorePath(), required=True, help="The store to score.")
@click.option("--split", default="test", show_default=True, help="Which videos; `all` takes every labelled one.")
@json_option
def evaluate(run_folder: Path, store_path: Path, split: str, as_json: bool) -> None:
    """Score the videos of a store with the heads of a run. Features of another recipe are refused.

    Example: train evaluate --run runs/rg-gdlt --features features/rg.h5 --split test
    """
    from longtake.features.store import open_store
    from longtake.train.runs.evaluate import evaluate_run

    with open_store(store_path) as store:
        rows = evaluate_run(run_folder, store, None if split == "all" else split)
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    from tabulate import tabulate

    table = {
        "head": [row.checkpoint for row in rows],
        "videos": [row.metrics.num_videos for row in rows],
        "Spearman": [f"{row.metrics.spearman:.3f}" for row in rows],
        "MSE": [f"{row.metrics.mse:.2f}" for row in rows],
    }
    for name, field in (("AIoU@0.5", "aiou_50"), ("AIoU@0.75", "aiou_75")):
        values = [getattr(row.metrics, field) for row in rows]
        if any(value == value for value in values):
            table[name] = ["" if value != value else f"{value:.3f}" for value in values]
    click.echo(tabulate(table, headers="keys", disable_numparse=True))
    for row in rows:
        if row.unmatched:
            click.echo(f"{row.checkpoint}: {row.unmatched} videos agree with no exemplar and are compared with any")
    if any(row.random_weights for row in rows):
        from longtake.train.runs.folder import RANDOM_NOTE

        click.echo(RANDOM_NOTE)


@main.command()
@click.option("--run", "run_folder", type=click.Path(path_type=Path), required=True, help="Folder of a run.")
@click.option("--features", "store_path", type=StorePath(), help="Store of the videos; labels are not needed.")
@click.option("--video", type=click.Path(path_type=Path), help="A video file; needs the extract extra.")
@click.option("--only", multiple=True, metavar="ID", help="Of a store: only this video; may be repeated.")
@click.option("--category", help="Which heads of the run, for videos whose category the store does not know.")
@click.option(
    "--weights",
    multiple=True,
    metavar="[BACKBONE=]WEIGHTS",
    help="Of a video: the weights file, where the run's features were made with a file.",
)
@click.option("--device", default="auto", show_default=True, help="Of a video: where the backbone runs.")
@click.option(
    "--accept",
    multiple=True,
    metavar="FIELD",
    help="A field of the recipe that may differ from the run's, such as decoder; may be repeated.",
)
@click.option(
    "--overlay", type=click.Path(path_type=Path), help="Of a video: write it there, with attention and score."
)
@click.option("--csv", "csv_path", type=click.Path(path_type=Path), help="Also write the scores there.")
@json_option
def predict(
    run_folder: Path, store_path: Path | None, video: Path | None, only: tuple[str, ...], category: str | None,
    weights: tuple[str, ...], device: str, accept: tuple[str, ...], overlay: Path | None, csv_path: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Score videos with the heads of a run: in judges' units, with the spread over seeds, grades, and the moments that mattered.

    Features of another recipe than the run was trained on are refused.

    Example: train predict --run runs/rg-gslm --video routine.mp4 --category Ball --overlay scored.mp4
    """
    if (store_path is None) == (video is None):
        raise click.UsageError("name what to score with either --features STORE or --video FILE")
    if video is None and (overlay or weights):
        raise click.UsageError("--overlay and --weights go with --video")
    if video is not None and only:
        raise click.UsageError("--only goes with --features: it names videos of a store")
    from longtake.features.store import open_store
    from longtake.train.runs import predict as predicting
    from longtake.train.runs.folder import RANDOM_NOTE, write_scores

    if video is not None:
        found = predicting.predict_video(
            run_folder, video, category, weights=weights, device=device, accept=accept, running=overlay is not None
        )
        if overlay:
            predicting.overlay(video, overlay, found)
    else:
        with open_store(store_path) as store:
            found = predicting.predict_run(run_folder, store, only, category, accept=accept)
    if csv_path:
        write_scores(csv_path, found)
    if as_json:
        print_json([asdict(prediction) for prediction in found])
        return
    for one in found:
        spread = f" ± {one.deviation:.2f} over {one.num_heads} heads" if one.num_heads > 1 else ""
        name = " ".join(part for part in (one.category, one.score) if part)
        click.echo(f"{one.video_id}: {name} {one.predicted:.2f}{spread}")
        if one.grades:
            click.echo("    grades from worst to best: " + ", ".join(f"{share:.2f}" for share in one.grades))
        if one.unmatched:
            click.echo("    no training video is known to be of its kind: it is compared with any")
        if one.moments:
            times = ", ".join(f"{m.start_seconds:.1f}-{m.end_seconds:.1f} s ({m.share:.0%})" for m in one.moments)
            click.echo(f"    looked at most: {times}")
    if any(one.random_weights for one in found):
        click.echo(RANDOM_NOTE)


@main.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--paper", is_flag=True, help="Also show what papers print for the dataset.")
@click.option("--test", "paired", is_flag=True, help="Also test every run against the first, video by video.")
@click.option(
    "--format", "form", type=click.Choice(["text", "markdown", "latex", "html"]), default="text", show_default=True
)
@json_option
def compare_runs(runs: tuple[Path, ...], paper: bool, paired: bool, form: str, as_json: bool) -> None:
    """Put RUNS on one dataset side by side, and beside the tables of the papers.

    Example: train compare runs/rg-gslm runs/rg-gdlt --paper
    """
    from longtake.train.runs.compare import compare, format_lines

    lines = compare(runs, paper)
    differences = []
    if paired:
        from longtake.train.protocol.significance import compare_pair

        if len(runs) < 2:
            raise click.UsageError("--test needs two runs or more: the first is what the others are compared with")
        differences = [compare_pair(run, runs[0]) for run in runs[1:]]
    if as_json:
        named = [
            {
                **asdict(line),
                **{name: _by_name(getattr(line, name)) for name in ("spearman", "mse", "deviation", "relative_l2")},
            }
            for line in lines
        ]
        print_json({"lines": named, "tests": [asdict(one) for one in differences]} if paired else named)
        return
    click.echo(format_lines(lines, form))
    for one in differences:
        click.echo(
            f"{Path(one.run).name} against {Path(one.against).name}, {one.num_videos} videos: rho {one.spearman:+.3f} "
            f"[{one.spearman_low:+.3f}, {one.spearman_high:+.3f}], p {one.spearman_p:.3g}; squared error x {one.mse_ratio:.2f}, "
            f"p {one.error_p:.3g}"
        )


def _by_name(values: dict[tuple[str, str], float]) -> dict[str, float]:
    return {" ".join(part for part in key if part): value for key, value in values.items()}


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--features", "store_path", type=StorePath(), help="The run's store: adds where grades looked.")
@click.option(
    "--videos", type=click.Path(path_type=Path), help="Folder of the videos: adds pictures of the strongest clips."
)
@click.option("--show", multiple=True, metavar="ID", help="A test video whose attention is shown too; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), help="The page.  [default: RUN/report.html]")
@json_option
def report(
    run: Path, store_path: Path | None, videos: Path | None, show: tuple[str, ...], out: Path | None, as_json: bool
) -> None:
    """Write RUN as one HTML page: predictions, learning curves, where the grades looked, provenance.

    Example: train report runs/rg-gslm --features features/rg.h5 --videos videos/rg
    """
    if (videos or show) and not store_path:
        raise click.UsageError("--videos and --show go with --features: the store says which clips are the strongest")
    from longtake.features.store import open_store
    from longtake.train.runs.page import make_page

    with ExitStack() as stack:
        store = stack.enter_context(open_store(store_path)) if store_path else None
        page, missing = make_page(run, store, videos, show)
    out = out or run / "report.html"
    out.write_text(page, encoding="utf-8")
    for line in missing:
        click.echo(line, err=True)
    if as_json:
        print_json({"out": str(out), "missing": missing})
    else:
        click.echo(f"{out}: open it in a browser; it needs nothing else")


@main.command()
@click.option("--features", "store_path", type=StorePath(), required=True, help="The feature store.")
@click.option(
    "--head", "heads", shell_complete=completes(lambda: TABLE), multiple=True, required=True, help="May be repeated."
)
@click.option(
    "--backbone", "backbones", multiple=True, help="May be repeated. Default: all of the store but the sound."
)
@click.option("--category", "categories", multiple=True, help="Only this category; may be repeated. Default: each.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Runs of each, by seeds 0, 1, ...")
@click.option("--folds", type=click.IntRange(0), default=0, help="Cross-validation inside the training split.")
@click.option("--preset", default="published", show_default=True, help="Settings to start from.")
@click.option("--audio", help="Features of the sound, for heads that hear.")
@click.option("--text", help="Prompt set of the store. Default: the head's.")
@click.option("--plugin", help="mag2 (MLAVL) or mvla (MVLA): guidance by texts before all heads.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any other setting, for all heads; may be repeated."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Runs at a time.")
@click.option(
    "--cluster", help="local, slurm, pbs, ..., or tcp://HOST:PORT, as for extract run; needs the extract extra."
)
@click.option("--cluster-options", type=click.Path(path_type=Path), help="TOML file of what the batch system wants.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the sweep; what is done there stays."
)
@progress_options
@json_option
@click.pass_context
def sweep(
    context: click.Context, store_path: Path, heads: tuple[str, ...], backbones: tuple[str, ...],
    categories: tuple[str, ...], seeds: int, settings: tuple[str, ...], workers: int, cluster: str | None,
    cluster_options: Path | None, out: Path, quiet: bool, verbose: bool, as_json: bool, **choices: object,
) -> None:  # fmt: skip
    """Train heads x backbones x categories x seeds, and put them into one table. The same command goes on where it was stopped.

    Exit status 1 when cells failed; the others are done.

    Example: train sweep --features features/rg.h5 --head gdlt --head gslm --seeds 3 --workers 2 --out sweeps/rg
    """
    from contextlib import nullcontext

    from longtake.progress import Progress
    from longtake.train.extras import from_extract
    from longtake.train.runs.folder import RANDOM_NOTE
    from longtake.train.sweep import (
        cells_of,
        format_sweep,
        not_done,
        processes,
        read_sweep,
        require_settings,
        run_sweep,
    )

    if cluster_options and not cluster:
        raise click.UsageError("--cluster-options goes with --cluster: without it, this machine trains")
    shown = how_shown(quiet, verbose, as_json)
    chosen = {name: value for name, value in choices.items() if value is not None}
    if settings:
        options = {parameter.name: parameter.opts[0] for parameter in context.command.params}
        options |= {"head": options["heads"], "backbone": options["backbones"]}
        chosen["settings"] = parse_overrides(settings)
        require_settings(chosen["settings"], heads, options)
    cells = cells_of(store_path, heads, backbones, categories, seeds, chosen)
    failed = []
    with Progress(len(not_done(out, cells)), "run", shown) as progress:
        if cluster:
            note = lambda line: progress.say("note", line, always=True, message=line)  # noqa: E731
            made = from_extract("executor", "--cluster")(cluster, workers, cluster_options, note)
        else:
            made = processes(workers) if workers > 1 else nullcontext(None)
        with made as executor:
            for outcome in run_sweep(out, store_path, cells, chosen, executor):
                progress.step(outcome.cell.folder)
                line = f"{outcome.cell.folder}: {outcome.error or 'done'}"
                progress.say("cell", line, cell=asdict(outcome.cell), error=outcome.error)
                if outcome.error:
                    failed.append(outcome)
    lines, random_weights = read_sweep(out)
    if as_json:
        print_json({"lines": [asdict(line) for line in lines], "failed": [asdict(one) for one in failed]})
    elif not quiet:
        click.echo(format_sweep(lines))
        if random_weights:
            click.echo(RANDOM_NOTE)
    for one in failed:
        click.echo(f"failed: {one.cell.folder}: {one.error}", err=True)
    sys.exit(1 if failed else 0)


@main.command("import-checkpoint")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--head",
    shell_complete=completes(lambda: TABLE),
    required=True,
    help="Head whose published key names SOURCE has, such as gdlt or gslm.",
)
@click.option("--features", "store_path", type=StorePath(), required=True,
              help="Store of the features it was trained on: recipe, score range and texts come from it.")  # fmt: skip
@click.option("--score", required=True, help="Score that it predicts.")
@click.option("--category", default="", help="Category that it was trained for.")
@click.option("--backbone", help="NAME or NAME@RECIPE, when the store holds several.")
@click.option("--audio", help="Features of the sound, for heads that hear.")
@click.option("--text", help="Prompt set it was trained with. Default: the head's.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Settings that no weight shows, such as heads=1."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run that is made.")
def import_checkpoint(
    source: Path, head: str, store_path: Path, score: str, category: str, backbone: str | None, audio: str | None,
    text: str | None, settings: tuple[str, ...], out: Path,
) -> None:  # fmt: skip
    """Turn a published checkpoint, SOURCE, into a run that `train evaluate` can use.

    Example: train import-checkpoint ball.pt --head gdlt --features features/rg.h5 --category Ball --score total --out runs/published
    """
    from longtake.features.store import open_store
    from longtake.train.runs.import_checkpoint import import_published

    with open_store(store_path) as store:
        path = import_published(
            source, head, store, score=score, category=category, backbone=backbone, audio=audio, text=text,
            overrides=parse_overrides(settings), out=out,
        )  # fmt: skip
    click.echo(f"{path}: every weight found its place")


@main.command("list")
@click.argument("what", type=click.Choice(["heads", "runs"]), default="heads")
@click.option(
    "--dataset",
    shell_complete=completes(dataset_names),
    default="rg",
    show_default=True,
    help="Heads: whose window and prompts the counts are for.",
)
@click.option(
    "--dim", type=click.IntRange(1), default=1024, show_default=True, help="Heads: width of the clip features."
)
@click.option(
    "--runs",
    "runs_folder",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Runs: their folder.",
)
@json_option
def list_things(what: str, dataset: str, dim: int, runs_folder: Path, as_json: bool) -> None:
    """The heads, with parameters and operations for the shapes of a dataset; or the runs of a folder, with their results.

    Example: train list heads --dataset rg --dim 1024
    """
    if what == "runs":
        _list_runs(runs_folder, as_json)
        return
    card = find_card(dataset)
    from longtake.train.runs.import_checkpoint import describe_heads

    rows = describe_heads(card, dim)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        if row["parameters"] is None:
            counts = "needs what the card lacks"
        elif row["parameters"]:
            counts = f"{row['parameters']:,} parameters, {row['flops_per_video'] / 1e9:.2f} GFLOP"
        else:
            counts = "fitted in closed form"
        click.echo(f"{row['head']:8} {counts:38} {row['about']}")


def _list_runs(folder: Path, as_json: bool) -> None:
    from longtake.train.runs.compare import read_runs, summary_of

    found = [(dataset, line, summary_of(line)) for dataset, line in read_runs(folder)]
    if as_json:
        print_json(
            [{"dataset": d, "run": line.method, "figures_of": line.source, **figures} for d, line, figures in found]
        )
        return
    from tabulate import tabulate

    if not found:
        raise DataError(f"{folder} holds no run of `train heads`; name another folder with --runs")
    rows = [
        [dataset, line.method, line.features, *("" if v is None else f"{v:.3f}" for v in figures.values()), line.source]
        for dataset, line, figures in found
    ]
    headers = ["dataset", "run", "features", "Spearman", "MSE", "figures of"]
    click.echo(tabulate(rows, headers, disable_numparse=True))


add_completion(main, "train")

if __name__ == "__main__":
    main()
