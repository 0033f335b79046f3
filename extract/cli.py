"""The `extract` command: videos and prompts to feature stores."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from longtake.extract.backbones import TABLE as BACKBONES
from longtake.extract.decode import TABLE as DECODERS
from longtake.extract.decode.killable import STALL_SECONDS
from longtake.extract.errors import ExtractError
from longtake.extract.plan.recipes import RECIPES
from longtake.manifests.card import dataset_names, find_card
from longtake.manifests.prompts import PromptSet
from longtake.manifests.table import Manifest, find_manifest, read_manifest
from longtake.progress import how_shown, progress_options
from longtake.terminal import INTERRUPTED, Console, LocalStorePath, add_completion, completes, json_option, print_json

FOLDER = click.Path(path_type=Path)
RANDOM_NOTE = "RANDOM weights: these features are for trying things out, not for results; the store says so too"


@click.group(cls=Console)
@click.version_option(package_name="longtake")
def main() -> None:
    """Turn videos into features of frozen backbones, and prompts into text features."""


def _manifest(dataset: str | None, manifest: Path | None) -> Manifest:
    if (dataset is None) == (manifest is None):
        raise click.UsageError("name the videos with either --dataset NAME or --manifest FILE")
    return find_manifest(dataset) if dataset else read_manifest(manifest)


def _shard(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    number, slash, count = value.partition("/")
    if not slash or not (number.isdecimal() and count.isdecimal()):
        raise click.BadParameter(f"takes I/N, such as 2/8, got {value!r}")
    return int(number), int(count)


@main.command()
@click.option(
    "--dataset",
    shell_complete=completes(dataset_names),
    help="A dataset that Longtake knows; see `extract list datasets`.",
)
@click.option("--manifest", type=FOLDER, help="Your own CSV: video_id, and as you need path, split, category, "
              "start_seconds, end_seconds, score_<name>.")  # fmt: skip
@click.option(
    "--backbone",
    "backbones",
    shell_complete=completes(lambda: BACKBONES),
    multiple=True,
    help="May be repeated: one decode for all.  [default: i3d]",
)
@click.option(
    "--recipe",
    shell_complete=completes(lambda: RECIPES),
    help="A published way of making features; see `extract list recipes`.",
)
@click.option("--videos", type=FOLDER, help="Folder of the videos.  [default: videos/<dataset>]")
@click.option("--out", type=LocalStorePath(), help="The store.  [default: features/<dataset>.h5]")
@click.option(
    "--weights",
    multiple=True,
    metavar="[BACKBONE=]WEIGHTS",
    help="PATH, random, or a registered name; BACKBONE= where there are several. Default: the published weights.",
)
@click.option("--clip-length", "--stack-size", type=click.IntRange(1), help="Frames per clip.")
@click.option("--clip-stride", "--step-size", type=click.IntRange(1), help="Frames from one clip to the next.")
@click.option("--fps", type=float, help="Frames per second to sample. Default: every frame.")
@click.option("--tail", help="What becomes of frames that fill no clip: pad, drop, centre, overlap.")
@click.option(
    "--decoder",
    shell_complete=completes(lambda: DECODERS),
    default="pyav",
    show_default=True,
    help="How videos are read; see `extract list decoders`. Part of the recipe.",
)
@click.option(
    "--stall-timeout",
    type=click.FloatRange(0),
    default=STALL_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="A decoder that gives nothing for so long is killed, and its video is a failure row. 0 waits for ever.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option(
    "--precision",
    default="float32",
    show_default=True,
    help="float32, bfloat16, or auto: bfloat16 where it gains and its error is known. Part of the recipe.",
)
@click.option(
    "--compile",
    is_flag=True,
    help="Have torch compile the networks: a minute at first, then faster. Changes the last bits.",
)
@click.option(
    "--missing-sound",
    type=click.Choice(["fail", "silence"]),
    help="A file without sound: a failure row of the backbones that hear (default), or the features of silence.",
)
@click.option(
    "--show-pred", is_flag=True, help="Print what the classifier says of the first clips: are the weights right?"
)
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
    "--cluster-options", type=FOLDER, help="TOML file of what the batch system wants: queue, cores, memory, ..."
)
@click.option("--only", multiple=True, metavar="ID", help="Only this video; may be repeated.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N videos.")
@click.option(
    "--shard",
    callback=_shard,
    metavar="I/N",
    help="Every Nth video from the Ith on: N processes, each with its own I, fill one store.",
)
@click.option("--beside", is_flag=True, help="Keep this recipe beside another one of the backbone in the same store.")
@click.option("--retry-failed", is_flag=True, help="Try again the videos that failed before.")
@progress_options
@json_option
def run(
    dataset: str | None, manifest: Path | None, backbones: tuple[str, ...], videos: Path | None, out: Path | None,
    weights: tuple[str, ...], show_pred: bool, quiet: bool, verbose: bool, as_json: bool, **options: object,
) -> None:  # fmt: skip
    """Extract features of every video that the store does not have yet.

    Stop it when you like: finished videos are kept, and the same command goes on. Exit status 1 when videos failed; they
    are listed and are rows in the store, the rest is stored. It is 1 too when another process holds the store for long.

    Example: extract run --dataset rg --videos /data/rg --backbone i3d
    """
    shown = how_shown(quiet, verbose, as_json)
    chosen = _manifest(dataset, manifest)
    videos = videos or Path("videos") / chosen.name
    out = out or Path("features") / f"{chosen.name}.h5"
    # Decoders and networks are imported from here on, after the call has been found sound.
    from longtake.extract.plan.plan import RunOptions, make_plan, publish, run_plan, slow_precision
    from longtake.extract.progress import DownloadProgress, VideoProgress
    from longtake.features.parts import WAIT_SECONDS

    with DownloadProgress(shown) as download:
        settings = RunOptions(backbones=backbones or ("i3d",), weights=weights, **options)
        plan = make_plan(chosen, videos, out, settings, on_download=download)
    failures = {record.video_id: record for record in plan.earlier_failures}
    if settings.cluster_options and not settings.cluster:
        raise click.UsageError("--cluster-options goes with --cluster: without it, this process extracts")
    if show_pred and settings.cluster:
        raise click.UsageError("--show-pred looks over this process's shoulder; it does not work with --cluster")
    if any(header.weights_random for header in plan.headers):
        click.echo(RANDOM_NOTE, err=True)
    if plan.jobs and not settings.cluster and (warning := slow_precision(plan.headers, settings.device)):
        click.echo(f"warning: {warning}", err=True)
    on_batch = None
    if show_pred:
        from longtake.extract.views.top_classes import TopClasses

        on_batch = TopClasses()
    interrupted = False
    # Whoever stops a run does not want to wait for another one, nor does an error.
    wait_seconds = 0.0
    num_new = 0
    with VideoProgress(len(plan.jobs), plan.num_done, plan.networks, shown) as progress:
        try:
            for finished in run_plan(plan, on_clips=progress.clips, on_batch=on_batch, on_note=progress.note):
                progress.video(finished)
                if finished.failure:
                    failures[finished.video_id] = finished.failure
                else:
                    num_new += 1
            wait_seconds = WAIT_SECONDS
        except KeyboardInterrupt:
            interrupted = True
        finally:
            packed = publish(plan, wait_seconds=wait_seconds, on_wait=progress.note)
    interrupted = interrupted or packed.stopped
    _report(plan, packed, num_new, list(failures.values()), interrupted, quiet, as_json)
    sys.exit(INTERRUPTED if interrupted else 1 if failures or packed.num_waiting else 0)


@main.command("plan")
@click.option(
    "--dataset",
    shell_complete=completes(dataset_names),
    help="A dataset that Longtake knows; see `extract list datasets`.",
)
@click.option("--manifest", type=FOLDER, help="Your own CSV.")
@click.option(
    "--backbone",
    "backbones",
    shell_complete=completes(lambda: BACKBONES),
    multiple=True,
    help="May be repeated.  [default: i3d]",
)
@click.option("--recipe", shell_complete=completes(lambda: RECIPES), help="A published way of making features.")
@click.option("--videos", type=FOLDER, help="Folder of the videos.  [default: videos/<dataset>]")
@click.option(
    "--weights", multiple=True, metavar="[BACKBONE=]WEIGHTS", help="As for extract run; random costs the same time."
)
@click.option("--clip-length", type=click.IntRange(1), help="Frames per clip.")
@click.option("--clip-stride", type=click.IntRange(1), help="Frames from one clip to the next.")
@click.option("--fps", type=float, help="Frames per second to sample.")
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", default="float32", show_default=True)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Machines or GPUs like this one.")
@click.option("--sample", type=click.IntRange(1), default=3, show_default=True, help="Videos to measure.")
@json_option
def plan_run(
    dataset: str | None, manifest: Path | None, backbones: tuple[str, ...], videos: Path | None, workers: int, sample: int,
    as_json: bool, **options: object,
) -> None:  # fmt: skip
    """How many hours and gigabytes would `extract run` take? Measured on a sample of your own videos; nothing is stored.

    Example: extract plan --dataset rg --videos /data/rg --backbone vst --weights random --workers 8
    """
    chosen = _manifest(dataset, manifest)
    videos = videos or Path("videos") / chosen.name
    from longtake.extract.estimate import estimate
    from longtake.extract.plan.plan import RunOptions
    from longtake.extract.progress import DownloadProgress

    with DownloadProgress() as download:
        settings = RunOptions(backbones=backbones or ("i3d",), **options)
        found = estimate(chosen, videos, settings, sample=sample, workers=workers, on_download=download)
    if as_json:
        print_json(asdict(found))
        return
    click.echo(
        f"{found.num_sampled} of {found.num_videos} videos took {found.sample_seconds:.0f} s here"
        + (f", {found.num_failed} of them failed" if found.num_failed else "")
    )
    click.echo(
        f"all of them: {found.hours:.1f} hours on {workers} worker{'s' * (workers > 1)} like this machine, {found.clips:,} clips, "
        f"{found.gigabytes:.2f} GB of features before compression"
    )
    if found.num_missing:
        click.echo(f"{found.num_missing} videos of {chosen.name} are not in {videos} and not counted")


def _report(plan, packed, num_new: int, failures: list, interrupted: bool, quiet: bool, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "out": str(plan.out),
                "new": num_new,
                "already_there": plan.num_done,
                "failed": [
                    {"video_id": r.video_id, "stage": r.error_stage, "type": r.error_type, "message": r.error_message}
                    for r in failures
                ],
                "recipes": {header.backbone: header.recipe_id for header in plan.headers},
                "published": packed.published,
                "waiting": packed.num_waiting,
                "claimed_for": packed.holder,
                "interrupted": interrupted,
            }
        )
        return
    for record in failures:
        click.echo(f"failed: {record.video_id} ({record.error_stage}): {record.error_message}", err=True)
    if plan.earlier_failures:
        click.echo("videos that failed in an earlier run are tried again with --retry-failed", err=True)
    if not quiet:
        click.echo(f"{plan.out}: {num_new} new, {plan.num_done} were there, {len(failures)} failed")
    if not packed.published:
        click.echo(packed.trouble(plan.out), err=True)
    if interrupted:
        click.echo("stopped; the same command goes on where this one ended", err=True)


@main.command()
@click.option("--dataset", shell_complete=completes(dataset_names), required=True, help="Whose prompts.")
@click.option("--encoder", default="clip", show_default=True)
@click.option("--weights", help="PATH, random, or a registered name. Default: the encoder's published weights.")
@click.option("--prompts", "prompt_sets", multiple=True, help="Only this prompt set; may be repeated. Default: all.")
@click.option("--out", type=LocalStorePath(), help="The store.  [default: features/<dataset>.h5]")
@json_option
def text(
    dataset: str, encoder: str, weights: str | None, prompt_sets: tuple[str, ...], out: Path | None, as_json: bool
) -> None:
    """Encode the prompts of a dataset into its store, one set of text features for each prompt set.

    Example: extract text --dataset rg --encoder clip
    """
    card = find_card(dataset)
    unknown = [name for name in prompt_sets if name not in card.prompts]
    if unknown:
        raise ExtractError(
            f"{dataset} has no prompt set {', '.join(unknown)}; it has {', '.join(card.prompts) or 'none'}"
        )
    if not card.prompts:
        raise ExtractError(f"the card of {dataset} has no prompts to encode")
    out = out or Path("features") / f"{dataset}.h5"
    from longtake.extract.backbones.text_encoders import encode_texts
    from longtake.extract.progress import DownloadProgress
    from longtake.features.joins import require_may_join
    from longtake.features.parts import add_text
    from longtake.features.store import check_store_name
    from longtake.features.types import TextFeatures, TextHeader

    check_store_name(out)
    require_may_join(out, card.name, card)
    rows = []
    for name in prompt_sets or card.prompts:
        prompts = _composed(card.prompts[name], card.name, out)
        with DownloadProgress() as download:
            features, recipe = encode_texts(prompts.texts, encoder=encoder, weights=weights, on_progress=download)
        header = TextHeader(
            encoder, recipe["dim"], recipe["weights"], recipe["weights_sha256"], recipe["is_random"],
            library=f"{recipe['library']}, {recipe['model']}",
        )  # fmt: skip
        groups = tuple(group for group, texts in prompts.groups.items() for _ in texts)
        add_text(out, card.name, card, TextFeatures(name, header, prompts.texts, groups, features))
        rows.append({"text": name, "recipe_id": header.recipe_id, "texts": len(groups), "dim": header.dim})
        if header.weights_random and not as_json:
            click.echo(RANDOM_NOTE, err=True)
    if as_json:
        print_json({"out": str(out), "sets": rows})
    else:
        for row in rows:
            click.echo(f"{out}: prompt set {row['text']}@{row['recipe_id']}, {row['texts']} texts x {row['dim']}")


def _composed(prompts: PromptSet, dataset: str, out: Path) -> PromptSet:
    """With the texts of the store's categories, of a prompt set that is composed for them."""
    if prompts.groups:
        return prompts
    from longtake.features.store import open_store, store_exists

    categories: dict[str, None] = {}
    if store_exists(out):
        with open_store(out) as store:
            categories = dict.fromkeys(filter(None, store.labels.categories))
    if not categories:
        raise ExtractError(
            f"the texts of prompt set {prompts.name} are composed for the categories of {dataset}'s videos, and {out} holds none: "
            f"extract or import features with their labels first"
        )
    return prompts.composed_for(categories)


@main.command("list")
@click.argument(
    "what",
    type=click.Choice(["all", "datasets", "backbones", "recipes", "decoders", "encoders", "weights"]),
    default="all",
)
@json_option
def list_all(what: str, as_json: bool) -> None:
    """What exists: datasets, backbones, decoders, text encoders, weights.

    Example: extract list backbones --json
    """
    from longtake.extract.listing import listing

    found = listing(None if what == "all" else what)
    if as_json:
        print_json(found)
        return
    for kind, entries in found.items():
        click.echo(f"{kind}:")
        for entry in entries:
            click.echo(f"  {entry['name']:20} {entry['about']}")


@main.command()
@click.argument("video", type=FOLDER)
@click.option("--decoder", shell_complete=completes(lambda: DECODERS), default="pyav", show_default=True)
@json_option
def probe(video: Path, decoder: str, as_json: bool) -> None:
    """What a decoder sees of VIDEO, without decoding its pictures.

    Example: extract probe videos/routine.mp4
    """
    from longtake.extract.decode import get_decoder

    opened = get_decoder(decoder)
    info = opened.probe(video)
    facts = {
        **{k: v for k, v in asdict(info).items() if k not in ("timeline", "path")},
        "path": str(info.path),
        "num_frames": len(info.timeline),
        "duration_seconds": info.timeline.end_seconds,
        "fps": info.timeline.fps,
        "decoder": opened.description(),
        "read_by": opened.for_file(info)[0].name,
        "refused": opened.unfit(info),
    }
    if as_json:
        print_json(facts)
    else:
        for name, value in facts.items():
            click.echo(f"{name.replace('_', ' '):32} {'-' if value in (None, '') else value}")


@main.command()
@click.argument("folder", type=FOLDER)
@click.option("--seed", default=0, show_default=True)
@click.option("--num-videos", default=128, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Videos drawn at a time.")
def demo(folder: Path, seed: int, num_videos: int, workers: int) -> None:
    """Draw the simulated demo dataset into FOLDER: videos with sound, demo.csv, truth.csv.

    Example: extract demo demo --num-videos 16
    """
    from longtake.extract.demo.dataset import write_demo
    from longtake.extract.progress import CountProgress

    with CountProgress(num_videos, "video") as progress:
        path = write_demo(folder, seed=seed, num_videos=num_videos, workers=workers, on_video=progress.count)
    click.echo(f"{num_videos} simulated videos in {folder / 'videos'}, their scores in {path}")


@main.group(cls=Console)
def weights() -> None:
    """Published weights: fetch them, verify them, find them."""


@weights.command("list")
@json_option
def list_weights(as_json: bool) -> None:
    """The registered weights, with their source and licence.

    Example: extract weights list
    """
    from longtake.extract.backbones.download import cached_path
    from longtake.extract.backbones.weights import list_entries

    rows = [{**asdict(entry), "here": cached_path(entry).is_file()} for entry in list_entries()]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        click.echo(f"{row['name']}  for {row['backbone']}, {'here' if row['here'] else 'not fetched'}")
        click.echo(
            f"    {row['url']}\n    licence {row['licence']}; {row['note']}\n    sha256 {row['sha256'] or 'unknown'}"
        )


@weights.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Download the weights NAME and verify them.

    Example: extract weights fetch i3d_rgb_imagenet
    """
    from longtake.extract.backbones.download import fetch as fetch_entry
    from longtake.extract.backbones.weights import find_entry
    from longtake.extract.progress import DownloadProgress

    with DownloadProgress() as download:
        click.echo(fetch_entry(find_entry(name), download))


@weights.command()
@click.argument("name")
def verify(name: str) -> None:
    """Check the downloaded weights NAME against their checksum.

    Example: extract weights verify i3d_rgb_imagenet
    """
    from longtake.extract.backbones.download import verify as verify_entry
    from longtake.extract.backbones.weights import find_entry

    click.echo(f"{name}: sha256 {verify_entry(find_entry(name))} as it should be")


@weights.command()
def where() -> None:
    """The folder of downloaded weights.

    Example: extract weights where
    """
    from longtake.extract.backbones.download import where as folder

    click.echo(folder())


add_completion(main, "extract")

if __name__ == "__main__":
    main()
