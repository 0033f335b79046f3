"""The `extract` command: its options, and what it prints."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from longtake.extract.backbones import TABLE as BACKBONES
from longtake.extract.backbones import download
from longtake.extract.backbones.runtime import RUNTIMES
from longtake.extract.backbones.weights import find_entry
from longtake.extract.decode import TABLE as DECODERS
from longtake.extract.errors import VideosMissing
from longtake.extract.find_videos import default_store, default_videos, find_source, missing_line, write_missing
from longtake.extract.plan.options import RunOptions
from longtake.extract.plan.recipes import RECIPES
from longtake.files import is_url
from longtake.manifests.card import dataset_names
from longtake.progress import Progress, how_shown, progress_options
from longtake.terminal import (
    INTERRUPTED,
    Console,
    LocalStorePath,
    add_completion,
    completes,
    echo,
    json_option,
    print_json,
    version_option,
)

if TYPE_CHECKING:
    from longtake.extract.plan.plan import Plan
    from longtake.extract.run import Extraction

FILE = click.Path(path_type=Path)
Command = TypeVar("Command", bound=Callable[..., Any])


@click.group(cls=Console, context_settings={"show_default": True})
@version_option
def main() -> None:
    """Extract features of videos with frozen backbones, and text features of prompts."""


def _together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order in which `--help` shows them."""
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


def _shard(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    number, slash, count = value.partition("/")
    if not slash or not (number.isdecimal() and count.isdecimal()):
        raise click.BadParameter(f"takes I/N, such as 2/8, got {value!r}")
    return int(number), int(count)


dataset_option = partial(click.option, "--dataset", shell_complete=completes(dataset_names))
out_option = click.option("--out", type=LocalStorePath(), help="Store to write.  [default: features/<dataset>.h5]")
decoder_option = click.option(
    "--decoder",
    shell_complete=completes(lambda: DECODERS),
    default=RunOptions.decoder,
    help="Decoder to read videos with; see `extract list decoders`. Part of the recipe.",
)
source_options = _together(
    dataset_option(help="Use a dataset that Longtake knows; see `extract list datasets`."),
    click.option(
        "--manifest",
        type=FILE,
        help="Use your own CSV: video_id, and optionally path, split, category, start_seconds, end_seconds, score_<name>.",
    ),
    click.option("--videos", type=FILE, help="Folder with the videos.  [default: videos/<dataset>]"),
)
recipe_options = _together(
    click.option(
        "--backbone",
        "backbones",
        shell_complete=completes(lambda: BACKBONES),
        multiple=True,
        default=RunOptions.backbones,
        help="Backbone, or timm/NAME, torchvision/NAME, open_clip/MODEL:TAG, hf/REPO[@REVISION], hf/FOLDER. Several share one decode.",
    ),
    click.option(
        "--recipe",
        shell_complete=completes(lambda: RECIPES),
        help="Use a published recipe of features; see `extract list recipes`.",
    ),
    click.option(
        "--weights",
        multiple=True,
        metavar="[BACKBONE=]WEIGHTS",
        help="PATH, random, or a registered name; with BACKBONE= if there are several. Default: the published weights.",
    ),
    click.option("--clip-length", "--stack-size", type=click.IntRange(1), help="Frames per clip."),
    click.option("--clip-stride", "--step-size", type=click.IntRange(1), help="Frames from one clip to the next."),
    click.option("--fps", type=float, help="Frames per second to sample. Default: every frame."),
    click.option(
        "--pool", help="Keep more of a clip than one vector: mean, cls, map:TxHxW or tokens. Part of the recipe."
    ),
    click.option("--layers", help="Layers to read tokens of, such as last or -4,-1. Part of the recipe."),
    click.option("--device", default=RunOptions.device, help="auto, cpu, cuda, cuda:1, ..."),
    click.option(
        "--precision",
        default=RunOptions.precision,
        help="float32, bfloat16, or auto: bfloat16 where it is faster and its error is known. Part of the recipe.",
    ),
    click.option(
        "--runtime",
        shell_complete=completes(lambda: ("auto", *RUNTIMES)),
        default=RunOptions.runtime,
        help="torch, openvino, or auto: OpenVINO on a CPU where it is installed and proven for the backbone. Part of the recipe in bfloat16.",
    ),
)


@main.command()
@source_options
@out_option
@recipe_options
@click.option("--tail", help="Policy for frames that do not fill a clip: pad, drop, centre, overlap.")
@decoder_option
@click.option(
    "--stall-timeout",
    type=click.FloatRange(0),
    default=RunOptions.stall_timeout,
    metavar="SECONDS",
    help="Kill a decoder that returns nothing for SECONDS and record the video as failed. 0 disables the timeout.",
)
@click.option(
    "--compile",
    is_flag=True,
    help="Compile the networks with torch: takes a minute, then runs faster. Changes the last bits.",
)
@click.option(
    "--missing-sound",
    type=click.Choice(["fail", "silence"]),
    help="For a file without sound, record a failure of the audio backbones (default), or extract features of silence.",
)
@click.option(
    "--square-pixels",
    is_flag=True,
    help="Stretch pictures whose pixels are not square to their shown shape. Part of the recipe.",
)
@click.option("--show-pred", is_flag=True, help="Print the top classes of the first clips, to check the weights.")
@click.option("--batch-size", type=click.IntRange(1), help="Clips per step. Default: the backbone's.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Videos decoded at a time, or processes of a cluster.  [default: 1; --cluster local: one per GPU]",
)
@click.option(
    "--cluster", help="`local`, slurm, pbs, ..., or the address of a running dask scheduler, tcp://HOST:PORT."
)
@click.option(
    "--cluster-options", type=FILE, help="TOML file with options of the batch system: queue, cores, memory, ..."
)
@click.option("--only", multiple=True, metavar="ID", help="Extract only this video; repeat the option for several.")
@click.option("--limit", type=click.IntRange(1), help="Extract only the first N videos.")
@click.option(
    "--shard",
    callback=_shard,
    metavar="I/N",
    help="Extract every Nth video from the Ith on: N processes, each with its own I, fill one store.",
)
@click.option("--beside", is_flag=True, help="Keep another recipe of the same backbone that the store has.")
@click.option("--retry-failed", is_flag=True, help="Try videos again that failed in an earlier run.")
@click.option(
    "--memory",
    metavar="SIZE",
    help="For what is known of finished videos, such as 200MB: more are published in several steps.  [default: half of what is free]",
)
@click.option("--require-all", is_flag=True, help="Refuse to begin while a video without features is missing.")
@click.option(
    "--missing",
    "missing_table",
    type=FILE,
    metavar="FILE",
    help="Write the missing videos to this CSV: video_id, path, reason.",
)
@click.option("--all", "show_all", is_flag=True, help="List every failed video, not the first ten.")
@progress_options
@json_option
def run(
    dataset: str | None, manifest: Path | None, videos: Path | None, out: Path | None, show_pred: bool,
    missing_table: Path | None, show_all: bool, quiet: bool, verbose: bool, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Extract features of every video that the store does not have yet.

    You can stop it at any time: finished videos are kept, and the same command resumes. The exit status is 1 when videos
    failed or are missing; failed ones are listed and are rows in the store, missing ones are counted, the rest is stored. It is
    1 too when another process locks the store for long.

    Example: extract run --dataset rg --videos /data/rg --backbone i3d
    """
    shown = how_shown(quiet, verbose, as_json)
    source = find_source(dataset, manifest)
    settings = RunOptions(**options)
    if show_pred and settings.cluster:
        raise click.UsageError("--show-pred needs the models in this process; it does not work with --cluster")
    # Decoders and networks take a second to import: after the call is checked.
    from longtake.extract.plan.plan import make_plan
    from longtake.extract.plan.settle import slow_precision
    from longtake.extract.progress import RANDOM_NOTE, DownloadProgress
    from longtake.extract.run import run_plan

    videos, out = videos or default_videos(source.name), out or default_store(source.name)
    with DownloadProgress(shown) as download, _kept_missing(missing_table):
        plan = make_plan(source, videos, out, settings, on_download=download, on_note=download.note)
    if missing_table:
        write_missing(missing_table, plan.missing)
    if plan.missing and not as_json:
        # Before hours of work, not after them; the summary has the number again.
        echo(missing_line(plan.missing, plan.num_rows), err=True)
    if any(header.weights_random for header in plan.headers):
        echo(RANDOM_NOTE, err=True)
    if plan.jobs and not settings.cluster and (warning := slow_precision(plan.headers, settings.device)):
        echo(f"warning: {warning}", err=True)
    on_batch = None
    if show_pred:
        from longtake.extract.views.top_classes import TopClasses

        on_batch = TopClasses()
    done = run_plan(plan, shown=shown, on_batch=on_batch)
    _report(plan, done, quiet, as_json, show_all)
    sys.exit(
        INTERRUPTED
        if done.interrupted
        else 1
        if done.failures or done.missing or done.packed.num_waiting or done.packed.num_lost
        else 0
    )


@contextmanager
def _kept_missing(table: Path | None) -> Iterator[None]:
    """Write the table of missing videos also where they are the reason why a run does not begin."""
    try:
        yield
    except VideosMissing as error:
        if table:
            write_missing(table, error.missing)
        raise


def _report(plan: Plan, done: Extraction, quiet: bool, as_json: bool, show_all: bool) -> None:
    from longtake.features.failures import failure_lines, failures_of

    failures = failures_of(done.failures)
    if as_json:
        print_json(
            {
                "out": str(done.store),
                "new": done.num_new,
                "already_there": done.num_there,
                "failed": [asdict(one) for one in failures],
                "missing": [asdict(one) for one in done.missing],
                "recipes": done.recipes,
                "published": done.packed.published,
                "waiting": done.packed.num_waiting,
                "damaged": done.packed.num_lost,
                "claimed_for": done.packed.holder,
                "interrupted": done.interrupted,
            }
        )
        return
    for line in failure_lines(failures, show_all):
        echo(line, err=True)
    if plan.earlier_failures:
        echo("use --retry-failed to try videos again that failed in an earlier run", err=True)
    if not quiet:
        missing = f", {len(done.missing)} missing" if done.missing else ""
        echo(f"{done.store}: {done.num_new} new, {done.num_there} were there, {len(done.failures)} failed{missing}")
    if done.packed.num_waiting or done.packed.num_lost or not done.packed.published:
        echo(done.packed.trouble(done.store), err=True)
    if done.interrupted:
        echo("stopped; run the same command again to resume", err=True)


@main.command("plan")
@source_options
@recipe_options
@click.option("--workers", type=click.IntRange(1), default=1, help="Machines or GPUs like this one.")
@click.option("--sample", type=click.IntRange(1), default=3, help="Videos to measure.")
@json_option
def plan_run(
    dataset: str | None, manifest: Path | None, videos: Path | None, workers: int, sample: int, as_json: bool, **options: Any
) -> None:  # fmt: skip
    """Estimate the hours and gigabytes of `extract run` from a sample of your own videos; nothing is stored.

    With --weights random it takes the same time, and no weights are downloaded.

    Example: extract plan --dataset rg --videos /data/rg --backbone vst --weights random --workers 8
    """
    source = find_source(dataset, manifest)
    videos = videos or default_videos(source.name)
    settings = RunOptions(**options)
    from longtake.extract.estimate import estimate
    from longtake.extract.progress import DownloadProgress

    with DownloadProgress() as download:
        found = estimate(
            source, videos, settings, sample=sample, workers=workers, on_download=download, on_note=download.note
        )
    if as_json:
        print_json(asdict(found))
        return
    echo(
        f"{found.num_sampled} of {found.num_videos} videos took {found.sample_seconds:.0f} s here"
        + (f", {found.num_failed} of them failed" if found.num_failed else "")
    )
    echo(
        f"all of them, judged by the bytes of their files: about {_duration(3600 * found.hours)} on {workers} worker{'s' * (workers > 1)} like this "
        f"machine, about {found.clips:,} clips and {_size(found.gigabytes)} of features before compression"
    )
    if found.num_missing:
        echo(f"{found.num_missing} videos of {source.name} are not in {videos} and not counted")


def _duration(seconds: float) -> str:
    """In the unit that a person would take."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


def _size(gigabytes: float) -> str:
    if gigabytes >= 1:
        return f"{gigabytes:.1f} GB"
    return f"{1000 * gigabytes:.1f} MB" if gigabytes >= 0.001 else f"{max(1e6 * gigabytes, 1):.0f} kB"


@main.command()
@dataset_option(required=True, help="Dataset whose prompts to encode.")
@click.option("--encoder", default="clip", help="Text encoder; see `extract list encoders`.")
@click.option("--weights", help="PATH, random, or a registered name. Default: the encoder's published weights.")
@click.option(
    "--prompts", "prompt_sets", multiple=True, help="Encode only this prompt set; repeat for several. Default: all."
)
@out_option
@json_option
def text(
    dataset: str, encoder: str, weights: str | None, prompt_sets: tuple[str, ...], out: Path | None, as_json: bool
) -> None:
    """Encode the prompts of a dataset into its store, one set of text features for each prompt set.

    Example: extract text --dataset rg --encoder clip
    """
    from longtake.extract.progress import RANDOM_NOTE, DownloadProgress
    from longtake.extract.prompts import encode_prompts

    out = out or default_store(dataset)
    rows = []
    with DownloadProgress() as download:
        for made in encode_prompts(
            dataset, out, encoder=encoder, weights=weights, prompt_sets=prompt_sets, on_download=download
        ):
            recipe_id, num_texts, dim = made.header.recipe_id, len(made.texts), made.header.dim
            rows.append({"text": made.name, "recipe_id": recipe_id, "texts": num_texts, "dim": dim})
            if as_json:
                continue
            if made.header.weights_random:
                echo(RANDOM_NOTE, err=True)
            echo(f"{out}: prompt set {made.name}@{recipe_id}, {num_texts} texts x {dim}")
    if as_json:
        print_json({"out": str(out), "sets": rows})


@main.command("list")
@click.argument(
    "what",
    type=click.Choice(["all", "datasets", "backbones", "recipes", "decoders", "encoders", "weights"]),
    default="all",
)
@click.option(
    "--search",
    metavar="WORD",
    help="With `backbones`: the networks of timm, torchvision and open_clip with WORD in their names, too.",
)
@json_option
def list_all(what: str, search: str | None, as_json: bool) -> None:
    """List datasets, backbones, recipes, decoders, text encoders and weights.

    Example: extract list backbones --json
    """
    from longtake.extract.listing import listing, search_backbones

    if search is not None and what != "backbones":
        raise click.UsageError("--search looks for backbones: extract list backbones --search WORD")
    found = {"backbones": search_backbones(search)} if search is not None else listing(None if what == "all" else what)
    if as_json:
        print_json(found)
        return
    for kind, entries in found.items():
        echo(f"{kind}:")
        for entry in entries:
            echo(f"  {entry['name']:20} {entry['about']}")


@main.command()
@click.argument("video", type=FILE)
@decoder_option
@json_option
def probe(video: Path, decoder: str, as_json: bool) -> None:
    """Show what a decoder finds in VIDEO, without decoding its pictures.

    Example: extract probe videos/routine.mp4
    """
    if is_url(str(video).replace(":/", "://", 1)):
        raise click.UsageError(
            f"VIDEO is a file on this machine, got the address {str(video).replace(':/', '://', 1)}: download it first"
        )
    from longtake.extract.listing import probe_facts

    facts = probe_facts(video, decoder)
    if as_json:
        print_json(facts)
    else:
        for name, value in facts.items():
            shown = round(value, 3) if isinstance(value, float) else value
            echo(f"{name.replace('_', ' '):32} {'-' if shown in (None, '') else shown}")


@main.command()
@click.argument("folder", type=FILE)
@click.option("--seed", default=0)
@click.option("--num-videos", type=click.IntRange(1), default=128)
@click.option("--workers", type=click.IntRange(1), default=1, help="Videos drawn at a time.")
def demo(folder: Path, seed: int, num_videos: int, workers: int) -> None:
    """Draw the simulated demo dataset into FOLDER: videos with sound, demo.csv, truth.csv.

    Example: extract demo demo --num-videos 16
    """
    if folder.is_file():
        raise click.UsageError(f"FOLDER is where the videos are written, and {folder} is a file")
    from longtake.extract.demo.dataset import write_demo

    with Progress(num_videos, "video") as progress:
        path = write_demo(
            folder, seed=seed, num_videos=num_videos, workers=workers, on_video=lambda *_: progress.step()
        )
    echo(f"{num_videos} simulated videos in {folder / 'videos'}, their scores in {path}")


@main.group(cls=Console)
def weights() -> None:
    """Fetch, verify and find published weights."""


@weights.command("list")
@json_option
def list_weights(as_json: bool) -> None:
    """List the registered weights with their source and licence.

    Example: extract weights list
    """
    from longtake.extract.listing import weights_rows

    rows = weights_rows()
    if as_json:
        print_json(rows)
        return
    for row in rows:
        echo(f"{row['name']}  for {row['backbone']}, {'here' if row['here'] else 'not fetched'}")
        echo(f"    {row['url']}\n    licence {row['licence']}; {row['note']}\n    sha256 {row['sha256'] or 'unknown'}")


@weights.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Download the weights NAME and verify them.

    Example: extract weights fetch i3d_rgb_imagenet
    """
    from longtake.extract.progress import DownloadProgress

    with DownloadProgress() as progress:
        echo(download.fetch(find_entry(name), progress))


@weights.command()
@click.argument("name")
def verify(name: str) -> None:
    """Check the downloaded weights NAME against their checksum.

    Example: extract weights verify i3d_rgb_imagenet
    """
    echo(f"{name}: sha256 {download.verify(find_entry(name))} is correct")


@weights.command()
def where() -> None:
    """Print the folder of downloaded weights.

    Example: extract weights where
    """
    echo(download.where())


add_completion(main, "extract")

if __name__ == "__main__":
    main()
