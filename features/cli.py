"""The `features` command: what is in a store, is it sound, how do two differ, and import of features made elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from features.console import Console, json_option, print_json
from features.importing import LAYOUTS, KnownRecipe, import_gdlt, import_text
from features.inspect import describe, diff, verify
from features.store import open_store
from manifests.card import find_card
from manifests.labels import read_labels
from manifests.table import find_manifest

STORE = click.Path(path_type=Path)
RANDOM_NOTE = "RANDOM weights: these features are for trying things out, not for results"


@click.group(cls=Console)
@click.version_option(package_name="longtake")
def main() -> None:
    """Look into feature stores, check them, compare them, import features made elsewhere."""


@main.command()
@click.argument("store", type=STORE)
@json_option
def info(store: Path, as_json: bool) -> None:
    """What is inside STORE, from which weights, what is missing."""
    with open_store(store) as opened:
        facts = describe(opened)
    if as_json:
        print_json(facts)
        return
    click.echo(f"{facts['path']}: {facts['title'] or facts['dataset']} ({facts['bytes'] / 1e6:.1f} MB)")
    click.echo(f"  written   {facts['created_utc']}")
    click.echo(f"  videos    {facts['videos_labelled']} ({_listed(facts['splits'])})")
    click.echo(f"  category  {_listed(facts['categories'])}")
    click.echo(f"  scores    {_listed(facts['scores'])}")
    for stream in facts["streams"]:
        recipe = stream["recipe"]
        click.echo(
            f"  {stream['name']}: {stream['videos']} videos, {stream['clips']} clips x {recipe['dim']} {stream['dtype']}"
        )
        if recipe["weights_random"]:
            click.echo(f"    {RANDOM_NOTE}")
        click.echo(f"    weights {recipe['weights']}, sha256 {recipe['weights_sha256'] or 'unknown'}")
        rate = "every frame" if recipe["fps"] is None else f"{recipe['fps']:g} frames per second"
        click.echo(
            f"    clips of {recipe['clip_length']} every {recipe['clip_stride']} at {rate}, tail {recipe['tail']}"
        )
        if stream["missing"]:
            click.echo(
                f"    missing {len(stream['missing'])}: {', '.join(stream['missing'][:5])}{_dots(stream['missing'])}"
            )
        for failure in stream["failed"]:
            click.echo(f"    failed  {failure['video_id']} ({failure['stage']}): {failure['message']}")
    for text in facts["text"]:
        click.echo(
            f"  text {text['name']}@{text['recipe_id']}: {text['encoder']}, {text['dim']} wide, {_listed(text['groups'])}"
        )
        if text["weights_random"]:
            click.echo(f"    {RANDOM_NOTE}")


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _dots(values: list[str]) -> str:
    return ", ..." if len(values) > 5 else ""


@main.command("ls")
@click.argument("store", type=STORE)
@click.option("--backbone", help="NAME or NAME@RECIPE, when the store holds several.")
@json_option
def list_videos(store: Path, backbone: str | None, as_json: bool) -> None:
    """The videos of STORE, one a line: id, split, category, clips, seconds, status."""
    with open_store(store) as opened:
        stream = opened.stream(backbone)
        labels = {video_id: row for row, video_id in enumerate(opened.labels.video_ids)}
        rows = []
        for index, record in enumerate(stream.records):
            row = labels.get(record.video_id)
            split, category, scores = opened.labels.row(row) if row is not None else ("", "", {})
            rows.append(
                {
                    **asdict(record),
                    "split": split,
                    "category": category,
                    "scores": scores,
                    "clips": int(stream.offsets[index + 1] - stream.offsets[index]),
                }
            )
    if as_json:
        print_json(rows)
        return
    for row in rows:
        columns = row["video_id"], row["split"], row["category"], row["clips"], f"{row['duration_seconds']:.2f}"
        click.echo("\t".join(map(str, (*columns, row["status"]))))


@main.command("verify")
@click.argument("store", type=STORE)
@json_option
def verify_store(store: Path, as_json: bool) -> None:
    """Read all of STORE and report every fault. Exit status 1 when there are any."""
    with open_store(store) as opened:
        faults = verify(opened)
        num_videos = sum(len(stream.records) for stream in opened.streams)
    if as_json:
        print_json({"path": str(store), "faults": faults})
    else:
        for fault in faults:
            click.echo(fault)
        click.echo(f"{store}: {num_videos} videos read, {len(faults)} faults")
    raise SystemExit(1 if faults else 0)


@main.command("diff")
@click.argument("one", type=STORE)
@click.argument("other", type=STORE)
@json_option
def diff_stores(one: Path, other: Path, as_json: bool) -> None:
    """How the stores ONE and OTHER differ in content. Exit status 0 when they are equal, 1 when not."""
    with open_store(one) as first, open_store(other) as second:
        differences = diff(first, second)
    if as_json:
        print_json([asdict(difference) for difference in differences])
    else:
        for difference in differences:
            click.echo(f"{difference.kind} {difference.what}: {difference.detail}")
        click.echo("equal" if not differences else f"{len(differences)} differences")
    raise SystemExit(1 if differences else 0)


@main.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--layout", type=click.Choice(list(LAYOUTS)), required=True, help="How SOURCE is laid out.")
@click.option("--dataset", required=True, help="Whose card gives categories, score ranges and prompts.")
@click.option("--out", type=STORE, required=True, help="The store; it is made, or joined when it exists.")
@click.option("--backbone", help="Name of the backbone the features come from, such as vst (layout gdlt).")
@click.option("--labels", type=click.Path(path_type=Path), multiple=True,
              help="Label file of the authors, or a manifest; repeat for train and test. Default: the dataset's table.")  # fmt: skip
@click.option("--weights", default="unknown", help="What the features were made with, if you know.")
@click.option("--clip-length", type=int, help="Frames per clip, if you know.")
@click.option("--clip-stride", type=int, help="Frames between clips, if you know.")
@click.option("--fps", type=float, help="Frames per second, if you know.")
@click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32", show_default=True)
@click.option("--text", "prompt_set", help="Prompt set whose texts SOURCE encodes (layout text), such as mlavl.")
@click.option("--encoder", default="unknown", help="Text encoder (layout text), such as vifi-clip.")
@json_option
def import_features(
    source: Path, layout: str, dataset: str, out: Path, backbone: str | None, labels: tuple[Path, ...], weights: str,
    clip_length: int | None, clip_stride: int | None, fps: float | None, dtype: str, prompt_set: str | None,
    encoder: str, as_json: bool,
) -> None:  # fmt: skip
    """Bring features made elsewhere, in SOURCE, into a store with their labels."""
    if layout == "text":
        card = find_card(dataset)
        if prompt_set is None:
            raise click.UsageError(
                f"layout text needs --text NAME; {dataset} has the prompt sets {', '.join(card.prompts)}"
            )
        text = import_text(source, out, card, prompt_set, encoder=encoder, weights=weights)
        facts = {"out": str(out), "text": text.name, "texts": len(text.texts), "dim": text.header.dim}
        summary = f"{out}: prompt set {text.name}, {len(text.texts)} texts x {text.header.dim}"
    else:
        if backbone is None:
            raise click.UsageError("layout gdlt needs --backbone NAME: the files do not say what made them")
        manifest = read_labels(list(labels), find_card(dataset)) if labels else find_manifest(dataset)
        known = KnownRecipe(weights, clip_length, clip_stride, fps)
        done = import_gdlt(source, out, manifest, backbone=backbone, known=known, dtype=dtype)
        facts = {"out": str(out), **vars(done), "header": done.header.to_dict(), "recipe_id": done.header.recipe_id}
        summary = f"{out}: {done.num_videos} videos, {done.num_clips} clips x {done.header.dim}"
        for names, meaning in (
            (done.without_labels, "files without labels, left out"),
            (done.without_features, "labelled videos without a file"),
        ):
            if names:
                summary += f"\n  {len(names)} {meaning}: {', '.join(names[:5])}{_dots(list(names))}"
    print_json(facts) if as_json else click.echo(summary)


if __name__ == "__main__":
    main()
