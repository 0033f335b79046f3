"""The `train` command: options and printing. The work is in `runs` and `sweep`, which are imported when a command runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

import click

from longtake.errors import printable
from longtake.features.printing import NamedStore
from longtake.manifests.card import dataset_names, find_card
from longtake.progress import Progress, how_shown, progress_options
from longtake.terminal import (
    INTERRUPTED,
    Console,
    StorePath,
    add_completion,
    completes,
    echo,
    json_option,
    print_json,
    version_option,
)
from longtake.train.errors import DataError, SettingsError
from longtake.train.heads import TABLE
from longtake.train.protocol.options import (
    DEFAULT_HEAD,
    DEFAULT_HEAD_WITH_TEXTS,
    GROUPS,
    LEAVE_ONE_OUT,
    Options,
    are_pooled,
)

PATH = click.Path(path_type=Path)
LEAVE_ONE_OUT_TOO = ("loo", "loocv", "leave_one_out")
FIGURES = ("scatter", "attention", "curves", "embedding", "leaderboard")
BENCHES = Path(__file__).with_name("bench") / "files"
"""Installed bench files."""


store_option = partial(click.option, "--features", "store_path", type=NamedStore())
head_option = partial(click.option, "--head", shell_complete=completes(lambda: TABLE))
set_option = partial(click.option, "--set", "settings", multiple=True, metavar="KEY=VALUE")
run_option = click.option("--run", "run_folder", type=PATH, required=True, help="Folder of a run.")
backbone_option = click.option("--backbone", help="NAME or NAME@RECIPE, when the store holds several.")
audio_option = click.option(
    "--audio",
    "--second",
    help="A second stream, clip for clip, NAME or NAME@RECIPE: the sound for heads that hear (avcf), CLIP's pictures for MVLA.",
)
stream_option = click.option(
    "--stream",
    "streams",
    multiple=True,
    metavar="NAME=BACKBONE",
    help="A further stream that a head reads by name, such as flow=i3d-flow; may be repeated.",
)
intervals_option = click.option(
    "--intervals/--no-intervals",
    default=True,
    show_default=True,
    help="Show 95% intervals with the figures of the table.",
)
memory_option = click.option(
    "--memory",
    metavar="SIZE",
    help="For features, such as 8GB: those that take more are read from the disk.  [default: half of what is free]",
)
text_option = click.option("--text", help="Prompt set of the store, as NAME or NAME@RECIPE. Default: the head's.")


class Folds(click.ParamType):
    """A number of folds, `groups` or `leave-one-out`."""

    name = "folds"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int | str:
        if value in (GROUPS, LEAVE_ONE_OUT):
            return str(value)
        if value in LEAVE_ONE_OUT_TOO:
            return LEAVE_ONE_OUT
        if isinstance(value, str) and not value.strip("+-").isdigit():
            self.fail(
                f"it takes a number of folds, `{LEAVE_ONE_OUT}`, or `{GROUPS}` with --group, got {value!r}",
                parameter,
                context,
            )
        return int(click.IntRange(0).convert(value, parameter, context))


def training_options(command: Callable) -> Callable:
    """What `heads` and `sweep` share."""
    for option in (
        set_option(help="Any other setting; may be repeated."),
        memory_option,
        click.option("--device", default=Options.device, show_default=True, help="auto, cpu, cuda, cuda:1, ..."),
        click.option(
            "--preset",
            default=Options.preset,
            show_default=True,
            help="Settings to start from: docs/heads.md lists them.",
        ),
        click.option(
            "--group",
            metavar="NAME",
            help="With --folds: never the same skater, event, ... in training and test. NAME is that of a column group_NAME.",
        ),
        click.option(
            "--folds",
            type=Folds(),
            default=Options.folds,
            metavar="N",
            help="Cross-validation inside the training split; `groups` tests one group of --group at a time, `leave-one-out` one video.",
        ),
        click.option(
            "--seeds",
            type=click.IntRange(1),
            default=Options.seeds,
            show_default=True,
            help="Train each model this many times, with seeds 0, 1, ...",
        ),
        click.option(
            "--category", "categories", multiple=True, help="Only this category; may be repeated. Default: each."
        ),
        click.option("--plugin", help="mag2 (MLAVL) or mvla (MVLA): guidance by texts before the head."),
        text_option,
        stream_option,
        audio_option,
    ):
        command = option(command)
    return command


def cluster_options_of(workers: str) -> Callable:
    """Where cells are trained; `cells_executor` takes what they say. `workers` is the help of the first."""

    def add(command: Callable) -> Callable:
        for option in (
            click.option("--cluster-options", type=PATH, help="TOML file with the options of the batch system."),
            click.option(
                "--cluster",
                help="local, slurm, pbs, ..., or tcp://HOST:PORT, as for extract run; needs the extract extra.",
            ),
            click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help=workers),
        ):
            command = option(command)
        return command

    return add


def cells_executor(
    workers: int, cluster: str | None, cluster_options: Path | None, progress: Progress
) -> AbstractContextManager[Executor | None]:
    """None where this process trains."""
    from longtake.train.extras import from_extract
    from longtake.train.runs.cells import processes

    if cluster_options and not cluster:
        raise click.UsageError("--cluster-options goes with --cluster: without it, this machine trains")
    if cluster:
        note = lambda line: progress.say("note", line, always=True, message=line)  # noqa: E731
        return from_extract("executor", "--cluster")(cluster, workers, cluster_options, note)
    return processes(workers) if workers > 1 else nullcontext(None)


@click.group(cls=Console)
@version_option
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


def print_result(as_json: bool, value: object, text: Callable[[], str]) -> None:
    """A result, for programs or for people."""
    if as_json:
        print_json(value)
    else:
        echo(text())


@main.command()
@click.option(
    "--features",
    "store_paths",
    type=NamedStore(),
    required=True,
    multiple=True,
    help="The feature store: a path, a URL or a name such as rg@2026-11-29. Several train one model for all their datasets.",
)
@head_option(
    "head",
    help=f"One of {', '.join(TABLE)}. Default: {DEFAULT_HEAD_WITH_TEXTS} where the store has text features, else {DEFAULT_HEAD}.",
)
@backbone_option
@training_options
@click.option("--score", "scores", multiple=True, help="Only this score; may be repeated. Default: the dataset's.")
@click.option("--epochs", type=int, help="Default: the published number for the head and dataset.")
@click.option("--lr", type=float, help="Learning rate. Default: the published one.")
@click.option("--batch-size", type=int, help="Videos per step. Default: the published number.")
@click.option(
    "--within",
    metavar="NAME",
    help="Also rank videos inside each event, skater, ...  [default: event, or the only group]",
)
@click.option("--control", is_flag=True, help="Also train on shuffled labels, to show what chance alone gives.")
@click.option(
    "--floor/--no-floor",
    default=Options.floor,
    show_default=True,
    help="Also fit ridge regression as a baseline for every result.",
)
@click.option(
    "--evaluate-every",
    type=click.IntRange(1),
    default=Options.evaluate_every,
    show_default=True,
    help="Epochs between tests for best_on_test.",
)
@click.option(
    "--parallel",
    default="auto",
    show_default=True,
    help="Models trained at the same time: none, stacked as one, in processes, or auto.",
)
@click.option("--out", type=PATH, help="Folder of the run.  [default: runs/<dataset>-<head>-<time>]")
@click.option("--resume", is_flag=True, help="Resume the interrupted run in --out; finished models are kept.")
@intervals_option
@progress_options
@json_option
def heads(
    store_paths: tuple[Path | str, ...], epochs: int | None, lr: float | None, batch_size: int | None,
    settings: tuple[str, ...], out: Path | None, resume: bool, intervals: bool, quiet: bool, verbose: bool, as_json: bool,
    **choices: Any,
) -> None:  # fmt: skip
    """Train a head for every category and score of a store, by the published protocol, and print the table.

    The result is the head after its last epoch. Example: train heads --features features/rg.h5 --head gdlt --seeds 3
    """
    if resume and out is None:
        raise click.UsageError("--resume needs --out FOLDER, the folder of the run to resume")
    # torch and numpy are imported here, so that --help and mistakes in the call do not wait for it.
    from longtake.train.runs.fit import default_folder, described, open_experiment, require_folder, train_into
    from longtake.train.runs.progress import EpochProgress
    from longtake.train.runs.records import METRICS, read_metrics
    from longtake.train.runs.tables import RANDOM_NOTE, format_table, notes, undefined_note

    shown = how_shown(quiet, verbose, as_json)
    named = {"epochs": epochs, "lr": lr, "batch_size": batch_size}
    overrides = parse_overrides(settings) | {name: value for name, value in named.items() if value is not None}
    if out is not None:
        require_folder(out)
    experiment, warnings = open_experiment(store_paths, Options(**choices, overrides=tuple(sorted(overrides.items()))))
    for warning in warnings:
        echo(f"warning: {printable(warning)}", err=True)
    out = out or default_folder(experiment)
    if not (as_json or quiet):
        echo(described(experiment))
    results, interrupted = [], False
    with EpochProgress(experiment, shown) as progress:
        try:
            for result in train_into(out, experiment, progress.epoch, resume):
                results.append(result)
                progress.result(result)
        except KeyboardInterrupt:
            interrupted = True
    if as_json:
        print_json(json.loads((out / METRICS).read_text(encoding="utf-8")) if results else {})
    elif results and not quiet:
        found = read_metrics(out)
        echo(format_table(found.rows, with_intervals=intervals))
        for line in notes(found.rows, found.group):
            echo(line)
        correlations = [one.fitted.test.spearman for one in results if not one.model.control]
        note = undefined_note(correlations, are_pooled(experiment.options.folds))
        for line in filter(None, [RANDOM_NOTE if experiment.random_weights else "", note]):
            echo(line)
        echo(f"Spearman and MSE are those of the last epoch. Everything is in {out}")
    if interrupted:
        echo(
            f"stopped; {len(results)} finished models are in {out}. Run the same command with --resume --out {out} to resume",
            err=True,
        )
        sys.exit(INTERRUPTED)


@main.command()
@run_option
@store_option(help="The store to score.", required=True)
@click.option("--split", default="test", show_default=True, help="Which videos; `all` takes every labelled one.")
@memory_option
@intervals_option
@json_option
def evaluate(
    run_folder: Path, store_path: Path | str, split: str, memory: str | None, intervals: bool, as_json: bool
) -> None:
    """Score the videos of a store with the heads of a run. Features of another recipe are refused.

    Example: train evaluate --run runs/rg-gdlt --features features/rg.h5 --split test
    """
    from longtake.features.store import open_store
    from longtake.train.runs.evaluate import evaluate_run, format_evaluations

    with open_store(store_path) as store:
        rows = evaluate_run(run_folder, store, None if split == "all" else split, memory)
    print_result(as_json, [asdict(row) for row in rows], lambda: format_evaluations(rows, intervals))


@main.command()
@run_option
@store_option(help="Store of the videos; labels are not needed.")
@click.option(
    "--video",
    "videos",
    type=PATH,
    multiple=True,
    help="A video file, a folder of them, or a pattern such as 'new/*.mp4'; may be repeated. Needs the extract extra.",
)
@click.option("--only", multiple=True, metavar="ID", help="Of a store: only this video; may be repeated.")
@click.option("--category", help="Which heads of the run, for videos whose category the store does not have.")
@click.option(
    "--weights",
    multiple=True,
    metavar="[BACKBONE=]WEIGHTS",
    help="Of a video: the weights file, where the run's features were made with a file.",
)
@click.option("--device", default="auto", show_default=True, help="Of a video: where the backbone runs.")
@click.option(
    "--runtime", default="auto", show_default=True, help="Of a video: what runs the backbone, torch or openvino."
)
@click.option(
    "--accept",
    multiple=True,
    metavar="FIELD",
    help="A field of the recipe that may differ from the run's, such as decoder; may be repeated.",
)
@click.option(
    "--interval",
    "level",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of videos whose judges' score the interval [low, high] holds.  [default: 0.9]",
)
@click.option(
    "--abstain-above",
    type=click.FloatRange(0, min_open=True),
    metavar="WIDTH",
    help="Give no score where its interval is wider than this, in judges' units.",
)
@click.option(
    "--overlay", type=PATH, help="Of a video: write it there, with attention and score; of several, to this folder."
)
@click.option(
    "--html",
    type=PATH,
    help="Of a video: write a page about it, for people who train and judge; of several, to this folder.",
)
@click.option("--compare", type=PATH, metavar="VIDEO", help="With --html: another video, side by side.")
@memory_option
@click.option("--csv", "csv_path", type=PATH, help="Also write the scores there.")
@click.option(
    "--keep", is_flag=True, help="Of a store: also write scores and attention into the run's folder, for train view."
)
@json_option
def predict(
    run_folder: Path,
    store_path: Path | str | None,
    videos: tuple[Path, ...],
    csv_path: Path | None,
    keep: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Score videos with the heads of a run: in judges' units, with the spread over seeds, grades, and the moments that mattered.

    Features of another recipe than the run was trained on are refused.

    Exit status 1 when some videos failed; the others are scored.

    Example: train predict --run runs/rg-gslm --video routine.mp4 --category Ball --html routine.html
    """
    if (store_path is None) == (not videos):
        raise click.UsageError("name what to score with either --features STORE or --video FILE")
    of_files = [name for name in ("overlay", "html", "weights") if how[name]]
    if not videos and of_files:
        raise click.UsageError(f"--{' and --'.join(of_files)} {'goes' if len(of_files) == 1 else 'go'} with --video")
    if how["compare"] and not how["html"]:
        raise click.UsageError("--compare goes with --html: it puts another video on the page")
    if videos and (how["only"] or keep):
        raise click.UsageError(f"--{'keep' if keep else 'only'} goes with --features: it is for videos of a store")
    # A folder or a pattern may name several videos, whose overlays go to a folder.
    to_file = how["overlay"] and len(videos) == 1 and videos[0].is_file() and not how["overlay"].is_dir()
    if to_file and how["overlay"].suffix.lower() not in (".mp4", ".mkv", ".mov", ".m4v"):
        raise click.UsageError(f"--overlay writes a video, such as scored.mp4, got {how['overlay']}")
    from longtake.train.runs import predict as predicting
    from longtake.train.runs.show_predictions import format_predictions, write_scores

    found = predicting.predict(run_folder, features=store_path, video=videos or None, **how)
    if csv_path:
        write_scores(csv_path, found)
    if keep and store_path is not None:
        from longtake.features.store import open_store
        from longtake.train.runs.kept import keep_predictions

        with open_store(store_path) as store:
            how["keep"] = keep_predictions(run_folder, store.dataset, found)
    made = {"overlay": "the scored video", "html": "the page; open it in a browser", "keep": "for train view"}
    written = "".join(f"\n{how[name]}: {what}" for name, what in made.items() if how.get(name))
    print_result(as_json, [asdict(one) for one in found], lambda: format_predictions(found) + written)
    for failure in found.failures:
        echo(f"failed: {failure.video} {failure.message}", err=True)
    sys.exit(1 if found.failures else 0)


@main.command()
@click.argument("folders", nargs=-1, required=True, type=StorePath())
@click.option(
    "--export", type=PATH, metavar="SITE", help="Write the pages into this folder, or into one file that ends in .html."
)
@click.option("--serve", is_flag=True, help="Serve the pages until Ctrl-C; the default without --export.")
@click.option(
    "--videos",
    type=PATH,
    help="Folder of the videos, to play them. An export into a folder links to those of the stores, or copies them.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve at. The pages have no password.")
@click.option("--port", type=int, default=8420, show_default=True, help="0 takes any that is free.")
@click.option(
    "--allow-host",
    "allowed",
    multiple=True,
    metavar="NAME",
    help="A further name or address by which browsers may ask; may be repeated.",
)
@progress_options
@json_option
def view(
    folders: tuple[Path | str, ...], export: Path | None, serve: bool, videos: Path | None, host: str, port: int,
    allowed: tuple[str, ...], quiet: bool, verbose: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show the stores, runs, sweeps and benches of FOLDERS as pages in a browser. FOLDERS are paths or URLs (https://, s3://).

    What cannot be read is a row with its reason. Nothing is written into FOLDERS. Needs no torch.

    Example: train view lab --videos lab/videos

    Example: train view lab --export site
    """
    from longtake.features.catalog.kept import Kept
    from longtake.features.catalog.media import place_media
    from longtake.features.catalog.site import is_one_page, write
    from longtake.features.catalog.walk import Folders
    from longtake.train.view import server
    from longtake.train.view.build import read
    from longtake.train.view.videos import VideoFiles, placed_line

    serve = serve or export is None
    if videos is not None and export is not None and is_one_page(export):
        raise click.UsageError(
            f"{export} is one page, which has no videos: --videos goes with --serve, or an --export into a folder"
        )
    with ExitStack() as stack:
        # What cannot be served is refused before all is read.
        if serve:
            server.require_installed()
        files = VideoFiles.below(videos) if videos else None
        names = server.names_for(host, allowed)
        opened = stack.enter_context(Folders.of(folders))
        listening = stack.enter_context(server.listen(host, port)) if serve else None
        with Progress(None, "item", how_shown(quiet, verbose, as_json)) as progress, Kept() as kept:
            found = read(opened, progress.at, files, kept, for_export=export is not None)
        facts: dict[str, Any] = {**found.counts, "unreadable": [list(fault) for fault in found.faults]}
        one = {"stores": "store", "videos": "video", "runs": "run", "sweeps": "sweep", "benches": "bench"}
        lines = [", ".join(f"{count} {one[name] if count == 1 else name}" for name, count in found.counts.items())]
        if found.faults and not quiet:
            lines.append(f"{len(found.faults)} cannot be read: they are rows with their reason")
        if export:
            media = found.videos.media if found.videos else {}
            facts |= {"out": str(export), "bytes": write(found.site, export, media)}
            start = export if export.is_file() else export / "index.html"
            lines.append(f"{start}: {facts['bytes'] / 1e6:.1f} MB; open it in a browser, or put it on any web server")
            if found.videos:
                with Progress(len(media), "video", how_shown(quiet, verbose, as_json)) as progress:
                    placed = place_media(media, export, progress.step)
                facts["videos_placed"] = asdict(placed)
                lines.append(placed_line(placed))
        if listening:
            facts["url"] = server.url_of(host, listening)
            lines.append(
                f"{facts['url']} until Ctrl-C; only this machine can read it"
                if server.is_local(host)
                else f"{facts['url']} until Ctrl-C"
            )
        print_result(as_json, facts, lambda: "\n".join(lines))
        if listening:
            server.serve(server.make_app(found, names), listening)


@main.command("compare")
@click.argument("runs", nargs=-1, required=True, type=PATH)
@click.option("--paper", is_flag=True, help="Also show what papers print for the dataset.")
@click.option("--test", "paired", is_flag=True, help="Also test every run against the first, video by video.")
@click.option(
    "--format", "form", type=click.Choice(["text", "markdown", "latex", "html"]), default="text", show_default=True
)
@click.option(
    "--metrics",
    multiple=True,
    type=click.Choice(["spearman", "mse", "relative_l2", "within"]),
    help="Only these figures; may be repeated.",
)
@intervals_option
@json_option
def compare_runs(
    runs: tuple[Path, ...], paper: bool, paired: bool, form: str, metrics: tuple[str, ...], intervals: bool, as_json: bool
) -> None:  # fmt: skip
    """Show RUNS on one dataset in one table, and with the tables of the papers.

    Example: train compare runs/rg-gslm runs/rg-gdlt --paper
    """
    from longtake.train.runs.compare import compare, format_difference, format_lines
    from longtake.train.runs.latex import latex_lines
    from longtake.train.runs.pairs import Pairs
    from longtake.train.runs.records import read_metrics

    lines = compare(runs, paper)
    if paired and len(runs) < 2:
        raise click.UsageError("--test needs two runs or more: the first is what the others are compared with")
    pairs = Pairs(runs)
    differences = [pairs.of(place, 0) for place in range(1, len(runs))] if paired else []
    named = [line.to_dict() for line in lines]
    value = {"lines": named, "tests": [asdict(one) for one in differences]} if paired else named

    def table() -> str:
        if form == "latex":
            return latex_lines(lines, read_metrics(runs[0]).dataset, intervals, metrics)
        return format_lines(lines, form, with_intervals=intervals, metrics=metrics)

    tests = [f"{'% ' if form == 'latex' else ''}{format_difference(one)}" for one in differences]
    print_result(as_json, value, lambda: "\n".join([table(), *tests]))


@main.command()
@click.argument("run", type=PATH)
@store_option(help="The run's store: adds where grades looked.")
@click.option("--videos", type=PATH, help="Folder of the videos: adds pictures of the strongest clips.")
@click.option("--show", multiple=True, metavar="ID", help="A test video whose attention is shown too; may be repeated.")
@click.option("--out", type=PATH, help="The page.  [default: RUN/report.html]")
@json_option
def report(
    run: Path, store_path: Path | str | None, videos: Path | None, show: tuple[str, ...], out: Path | None, as_json: bool
) -> None:  # fmt: skip
    """Write RUN as one HTML page: predictions, learning curves, where the grades looked, provenance.

    Example: train report runs/rg-gslm --features features/rg.h5 --videos videos/rg
    """
    if (videos or show) and not store_path:
        raise click.UsageError("--videos and --show go with --features: the store says which clips are the strongest")
    if out and out.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"{out} would be a page: name a file that ends in .html; a browser prints it as PDF")
    if videos and not videos.is_dir():
        raise click.UsageError(
            f"--videos takes the folder of the videos, and {videos} is {'a file' if videos.exists() else 'not there'}"
        )
    from longtake.features.store import open_store
    from longtake.files import write_whole
    from longtake.train.runs.page import make_page

    with ExitStack() as stack:
        store = stack.enter_context(open_store(store_path)) if store_path else None
        page, missing = make_page(run, store, videos, show)
    out = out or run / "report.html"
    write_whole(out, page)
    for line in missing:
        echo(line, err=True)
    print_result(
        as_json, {"out": str(out), "missing": missing}, lambda: f"{out}: open it in a browser; it needs nothing else"
    )


@main.command()
@click.argument("runs", nargs=-1, required=True, type=PATH)
@click.option(
    "--kind", type=click.Choice(FIGURES), default="scatter", show_default=True, help="What to draw: docs/figures.md."
)
@click.option("--out", type=PATH, required=True, help="The file: .pdf, .svg or .png.")
@click.option("--columns", type=click.IntRange(1, 2), default=1, show_default=True, help="Width in columns of a page.")
@store_option(help="attention and embedding: the store of the run.")
@click.option("--category", help="Only this category.")
@click.option("--score", help="Only this score.")
@click.option(
    "--video",
    "videos",
    multiple=True,
    metavar="ID",
    help="attention: a test video; may be repeated.  [default: best and worst]",
)
@click.option(
    "--points",
    help="embedding: clips (with queries, before and after training) or patterns (of grades).  [default: clips]",
)
@click.option("--method", help="embedding: tsne or pca.  [default: tsne]")
@click.option("--metric", help="leaderboard: spearman or mse.  [default: spearman]")
@json_option
def figure(
    runs: tuple[Path, ...], kind: str, out: Path, store_path: Path | str | None, as_json: bool, **choices: Any
) -> None:
    """Draw RUNS as a figure for a paper, with fonts embedded. The same call writes the same bytes.

    A leaderboard is of runs, or of the folder of a bench.

    Example: train figure runs/rg-gslm --kind scatter --columns 2 --out scatter.pdf
    """
    from longtake.train.runs.plots.plot import plot

    plot(runs, kind, out=out, store=store_path, **choices)
    print_result(as_json, {"out": str(out), "kind": kind}, lambda: str(out))


@main.command()
@store_option(help="The feature store.", required=True)
@head_option("heads", help="May be repeated.", multiple=True, required=True)
@click.option(
    "--backbone", "backbones", multiple=True, help="May be repeated. Default: all of the store but the sound."
)
@training_options
@cluster_options_of("Runs at a time.")
@click.option("--out", type=PATH, required=True, help="Folder of the sweep; finished runs in it are kept.")
@intervals_option
@progress_options
@json_option
@click.pass_context
def sweep(
    context: click.Context, /, store_path: Path | str, heads: tuple[str, ...], backbones: tuple[str, ...],
    categories: tuple[str, ...], seeds: int, settings: tuple[str, ...], workers: int, cluster: str | None,
    cluster_options: Path | None, out: Path, intervals: bool, quiet: bool, verbose: bool, as_json: bool, **choices: Any,
) -> None:  # fmt: skip
    """Train heads x backbones x categories x seeds, and put them into one table. Run the same command again to resume.

    Exit status 1 when cells failed; the others are done.

    Example: train sweep --features features/rg.h5 --head gdlt --head gslm --seeds 3 --workers 2 --out sweeps/rg
    """
    from longtake.train import sweep as sweeping
    from longtake.train.runs.tables import POOLED_NOTE, RANDOM_NOTE

    shown = how_shown(quiet, verbose, as_json)
    chosen = {name: value for name, value in choices.items() if value not in (None, ())}
    if settings:
        options = {str(parameter.name): parameter.opts[0] for parameter in context.command.params}
        options |= {"head": options["heads"], "backbone": options["backbones"]}
        chosen["settings"] = parse_overrides(settings)
        sweeping.require_settings(chosen["settings"], heads, options)
    cells = sweeping.cells_of(store_path, heads, backbones, categories, seeds, chosen)
    failed = []
    with Progress(len(sweeping.not_done(out, cells)), "run", shown) as progress:
        with cells_executor(workers, cluster, cluster_options, progress) as executor:
            for outcome in sweeping.run_sweep(out, store_path, cells, chosen, executor):
                progress.step(outcome.cell.folder)
                line = f"{outcome.cell.folder}: {outcome.error or 'done'}"
                progress.say("cell", line, cell=asdict(outcome.cell), error=outcome.error)
                if outcome.error:
                    failed.append(outcome)
    lines, random_weights = sweeping.read_sweep(out)
    if as_json:
        print_json({"lines": [asdict(line) for line in lines], "failed": [asdict(one) for one in failed]})
    elif not quiet:
        pooled = [POOLED_NOTE] if are_pooled(choices["folds"]) else []
        notes = [*sweeping.notes_of(lines, intervals), *pooled, *([RANDOM_NOTE] if random_weights else [])]
        echo("\n".join([sweeping.format_sweep(lines, with_intervals=intervals), *notes]))
    for one in failed:
        echo(f"failed: {one.cell.folder}: {one.error}", err=True)
    sys.exit(1 if failed else 0)


@main.command()
@click.argument(
    "bench_name", metavar="FILE", shell_complete=completes(lambda: [path.stem for path in BENCHES.glob("*.toml")])
)
@click.option(
    "--features",
    "stores",
    multiple=True,
    metavar="[NAME=]STORE",
    help="The store of a dataset of the bench. Default: as in FILE.",
)
@click.option(
    "--out", type=PATH, help="Folder of the results; finished cells in it are kept.  [default: runs/bench-NAME]"
)
@click.option("--only", multiple=True, metavar="HEAD", help="Train only this row of FILE; may be repeated.")
@click.option("--seeds", type=click.IntRange(1), help="Default: as in FILE.")
@click.option("--device", default=Options.device, show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option(
    "--parallel",
    default=Options.parallel,
    show_default=True,
    help="Models of a cell trained at the same time: none, stacked as one, in processes, or auto.",
)
@memory_option
@cluster_options_of("Cells at a time.")
@click.option(
    "--keep-heads/--no-keep-heads", default=True, show_default=True, help="Keep the weights of finished cells."
)
@click.option("--table-only", is_flag=True, help="Train nothing: show what --out holds. Needs no store.")
@click.option(
    "--join", "joined", type=PATH, multiple=True, help="Folder of another bench, whose rows are added; may be repeated."
)
@click.option("--format", "form", type=click.Choice(["text", "markdown", "latex"]), default="text", show_default=True)
@progress_options
@json_option
def bench(
    bench_name: str, stores: tuple[str, ...], out: Path | None, only: tuple[str, ...], seeds: int | None, workers: int,
    cluster: str | None, cluster_options: Path | None, table_only: bool, joined: tuple[Path, ...], form: str,
    quiet: bool, verbose: bool, as_json: bool, **how: Any,
) -> None:  # fmt: skip
    """Train every head of the bench FILE by every split and seed, and write the leaderboard. Run the same command again to resume.

    FILE is a TOML file, or the name of an installed one, such as fisv. What cannot be trained is a row with its reason. Exit status 1 when
    cells failed.

    Example: train bench fisv --features features/fisv.h5 --out runs/bench-fisv
    """
    from longtake.train.bench import formats
    from longtake.train.bench.cells import FAILED
    from longtake.train.bench.file import find_bench, read_bench
    from longtake.train.bench.leaderboard import tables
    from longtake.train.bench.run import jobs, run_bench, sources_of
    from longtake.train.bench.sources import read_sources

    path = find_bench(bench_name)
    made = read_bench(path)
    made = replace(made, seeds=seeds) if seeds else made
    out = out or Path("runs") / f"bench-{path.stem}"
    failed = []
    if table_only:
        sources = read_sources(out)
    else:
        sources = sources_of(made, stores)
        todo = jobs(made, sources, out, only, **how)
        with Progress(len(todo), "cell", how_shown(quiet, verbose, as_json)) as progress:
            with cells_executor(workers, cluster, cluster_options, progress) as executor:
                for outcome in run_bench(todo, sources, out, executor):
                    progress.step(outcome.cell.folder)
                    line = f"{outcome.cell.folder}: {f'{outcome.kind}: {outcome.reason}' if outcome.kind else 'done'}"
                    progress.say("cell", line, cell=asdict(outcome.cell), kind=outcome.kind, reason=outcome.reason)
                    failed += [outcome] if outcome.kind == FAILED else []
    board = tables(made, out, sources, joined)
    written = formats.write_board(made, board, out)
    if as_json:
        print_json(formats.to_json(made, board))
    elif not quiet:
        echo(formats.format_board(made, board, form, limit=get_terminal_size().columns))
        echo(f"written: {written[0]}, and as {', '.join(path.suffix for path in written[1:])}", err=form != "text")
    for one in failed:
        echo(f"failed: {one.cell.folder}: {one.reason}", err=True)
    sys.exit(1 if failed else 0)


@main.command("import-checkpoint")
@click.argument("source", type=PATH)
@head_option("head", help="Head whose published key names SOURCE has, such as gdlt or gslm.", required=True)
@store_option(
    help="Store of the features it was trained on: recipe, score range and texts come from it.", required=True
)  # fmt: skip
@click.option("--score", required=True, help="Score that it predicts.")
@click.option("--category", default="", help="Category that it was trained for.")
@backbone_option
@audio_option
@stream_option
@text_option
@set_option(help="Settings that no weight shows, such as heads=1.")
@click.option("--out", type=PATH, required=True, help="Folder of the run that is made.")
def import_checkpoint(
    source: Path, head: str, store_path: Path | str, settings: tuple[str, ...], **choices: Any
) -> None:
    """Turn a published checkpoint, SOURCE, into a run that `train evaluate` can use.

    Example: train import-checkpoint ball.pt --head gdlt --features features/rg.h5 --category Ball --score total --out runs/published
    """
    from longtake.features.store import open_store
    from longtake.train.runs.import_checkpoint import import_published

    with open_store(store_path) as store:
        path, assumed = import_published(source, head, store, overrides=parse_overrides(settings), **choices)
    echo(f"{path}: every weight found its place")
    if assumed:
        taken = ", ".join(
            f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in assumed.items()
        )
        echo(
            f"no weight shows {taken}; if the checkpoint was trained with other values, give them with --set", err=True
        )


@main.command("list")
@click.argument("what", type=click.Choice(["heads", "runs"]), default="heads")
@click.argument("folder", type=PATH, required=False)
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
    "--runs", "runs_folder", type=PATH, default=Path("runs"), show_default=True, help="Runs: their folder."
)  # fmt: skip
@json_option
def list_things(
    what: str, folder: Path | None, dataset: str, dim: int, runs_folder: Path, as_json: bool
) -> None:  # fmt: skip
    """List the heads, with parameters and operations for the shapes of a dataset; or the runs in FOLDER, with dates and results.

    Example: train list heads --dataset rg --dim 1024
    """
    if folder and what == "heads":
        raise click.UsageError(
            f"train list heads takes no folder, got {folder}; for its runs: train list runs {folder}"
        )
    card = find_card(dataset) if what == "heads" else None
    from longtake.train.runs import listing

    if card is not None:
        rows = listing.describe_heads(card, dim)
        text = listing.format_heads(rows)
    else:
        runs_folder = folder or runs_folder
        rows = listing.describe_runs(runs_folder)
        if not rows and not as_json:
            raise DataError(f"{runs_folder} holds no run of `train heads`; name another folder: train list runs FOLDER")
        text = listing.format_runs(rows)
    print_result(as_json, rows, lambda: text)


add_completion(main, "train")

if __name__ == "__main__":
    main()
