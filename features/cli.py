"""The `features` command: what is in a store, is it sound, how do two differ, and import of features made elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click

from longtake.errors import printable
from longtake.features.errors import FeaturesError
from longtake.manifests.card import Card, dataset_names, find_card
from longtake.manifests.table import Manifest, find_manifest, read_manifest
from longtake.terminal import (
    Console,
    LocalStorePath,
    NamesOf,
    StorePath,
    add_completion,
    completes,
    json_option,
    print_json,
)

STORE = StorePath()
FILE = click.Path(path_type=Path)
DTYPES = ("float32", "float16")
RANDOM_NOTE = "RANDOM weights: these features are for trying things out, not for results"


# numpy and h5py are imported by the commands, so that --help and mistakes in the call do not wait for them.


def _layouts() -> Iterable[str]:
    from longtake.features.imports.layouts import LAYOUTS

    return LAYOUTS


def _export_layouts() -> Iterable[str]:
    from longtake.features.tools.export import LAYOUTS

    return LAYOUTS


@click.group(cls=Console)
@click.version_option(package_name="longtake")
def main() -> None:
    """Look into feature stores, check them, compare them, import features made elsewhere."""


@main.command()
@click.argument("store", type=STORE)
@json_option
def info(store: Path, as_json: bool) -> None:
    """What is inside STORE, from which weights, what is missing.

    Example: features info features/rg.h5
    """
    from longtake.features.store import open_store
    from longtake.features.tools.inspect import describe

    with open_store(store) as opened:
        facts = describe(opened)
    if as_json:
        print_json(facts)
        return
    _say(f"{facts['path']}: {facts['title'] or facts['dataset']} {_size(facts['bytes'])}")
    _say(f"  written   {facts['created_utc']}")
    _say(f"  videos    {facts['videos_labelled']} ({_listed(facts['splits'])})")
    _say(f"  category  {_listed(facts['categories'])}")
    _say(f"  scores    {_listed(facts['scores'])}")
    if facts["boundaries"]:
        _say(f"  stages    videos with boundary {_listed(facts['boundaries'])}")
    for stream in facts["streams"]:
        recipe = stream["recipe"]
        _say(
            f"  {stream['name']}: {stream['videos']} videos, {stream['clips']} clips x {recipe['dim']} {stream['dtype']}"
        )
        if recipe["weights_random"]:
            _say(f"    {RANDOM_NOTE}")
        _say(f"    weights {recipe['weights']}, sha256 {recipe['weights_sha256'] or 'unknown'}")
        _say(f"    {_clips_of(recipe)}")
        if len(stream["decoders"]) > 1:
            read = ", ".join(f"{count} by {name}" for name, count in stream["decoders"].items())
            _say(f"    videos read: {read}")
        if stream["missing"]:
            _say(f"    missing {len(stream['missing'])}: {', '.join(stream['missing'][:5])}{_dots(stream['missing'])}")
        for failure in stream["failed"]:
            _say(f"    failed  {failure['video_id']} ({failure['stage']}): {failure['message']}")
    for text in facts["text"]:
        _say(
            f"  text {text['name']}@{text['recipe_id']}: {text['encoder']}, {text['dim']} wide, {_listed(text['groups'])}"
        )
        if text["weights_random"]:
            _say(f"    {RANDOM_NOTE}")


def _say(line: str) -> None:
    """One line, of which a store from a stranger may have said a part."""
    click.echo(printable(line))


def _size(num_bytes: int | None) -> str:
    return "" if num_bytes is None else f" ({num_bytes / 1e6:.1f} MB)"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _dots(values: list[str]) -> str:
    return ", ..." if len(values) > 5 else ""


@main.command("ls")
@click.argument("store", type=STORE)
@click.option("--backbone", help="NAME or NAME@RECIPE, when the store holds several.")
@json_option
def list_videos(store: Path, backbone: str | None, as_json: bool) -> None:
    """The videos of STORE, one a line: id, split, category, clips, seconds, status.

    Example: features ls features/rg.h5
    """
    from longtake.features.labels import LabelRow
    from longtake.features.store import open_store

    with open_store(store) as opened:
        stream = opened.stream(backbone)
        labels = {video_id: row for row, video_id in enumerate(opened.labels.video_ids)}
        rows = []
        for index, record in enumerate(stream.records):
            row = labels.get(record.video_id)
            known = opened.labels.row(row) if row is not None else LabelRow("", "", {})
            rows.append(
                {
                    **asdict(record),
                    **asdict(known),
                    "clips": int(stream.offsets[index + 1] - stream.offsets[index]),
                }
            )
    if as_json:
        print_json(rows)
        return
    for row in rows:
        columns = row["video_id"], row["split"], row["category"], row["clips"], f"{row['duration_seconds']:.2f}"
        click.echo("\t".join(printable(str(column)) for column in (*columns, row["status"])))


def _clips_of(recipe: dict) -> str:
    """Of imported features, what nobody said is unknown."""
    length, stride, tail = (recipe[name] or "unknown" for name in ("clip_length", "clip_stride", "tail"))
    rate = "an unknown rate" if recipe["origin"].startswith("imported") else "every frame"
    if recipe["fps"] is not None:
        rate = f"{recipe['fps']:g} frames per second"
    return f"clips of {length} every {stride} at {rate}, tail {tail}"


def _expected(dataset: str | None, manifest: Path | None, card: Card | None = None) -> Manifest | None:
    """A table of labels; a CSV is checked against the card where there is one."""
    if dataset and manifest:
        raise click.UsageError("give --dataset NAME or --manifest FILE, not both")
    return find_manifest(dataset) if dataset else read_manifest(manifest, card) if manifest else None


@main.command("verify")
@click.argument("store", type=STORE)
@click.option(
    "--dataset",
    shell_complete=completes(dataset_names),
    help="Also report what is missing of this dataset, and labels that differ from its table.",
)
@click.option("--manifest", type=FILE, help="The same, against a CSV of your own.")
@json_option
def verify_store(store: Path, dataset: str | None, manifest: Path | None, as_json: bool) -> None:
    """Read all of STORE and report every fault: structure, values, checksums, ranges. Exit status 1 when there are any.

    Example: features verify features/rg.h5 --dataset rg
    """
    from longtake.features.labels import labels_of
    from longtake.features.store import open_store
    from longtake.features.tools.inspect import verify

    expected = _expected(dataset, manifest)
    with open_store(store) as opened:
        if dataset and opened.dataset != expected.name:
            raise FeaturesError(f"{store} is a store of {opened.dataset}, not of {expected.name}")
        faults = verify(opened, labels_of(expected) if expected else None)
        num_videos = sum(len(stream.videos) for stream in opened.streams)
    if as_json:
        print_json({"path": str(store), "faults": faults})
    else:
        for fault in faults:
            _say(fault)
        click.echo(f"{store}: {num_videos} videos read, {len(faults)} faults")
    raise SystemExit(1 if faults else 0)


@main.command("diff")
@click.argument("one", type=STORE)
@click.argument("other", type=STORE)
@json_option
def diff_stores(one: Path, other: Path, as_json: bool) -> None:
    """How the stores ONE and OTHER differ in content. Exit status 0 when they are equal, 1 when not.

    Example: features diff mine.h5 theirs.h5
    """
    from longtake.features.store import open_store
    from longtake.features.tools.inspect import diff

    with open_store(one) as first, open_store(other) as second:
        differences = diff(first, second)
    if as_json:
        print_json([asdict(difference) for difference in differences])
    else:
        for difference in differences:
            _say(f"{difference.kind} {difference.what}: {difference.detail}")
        click.echo("equal" if not differences else f"{len(differences)} differences")
    raise SystemExit(1 if differences else 0)


@main.command("compare")
@click.argument("store", type=STORE)
@click.argument("reference", type=FILE, nargs=-1, required=True)
@click.option("--backbone", help="NAME or NAME@RECIPE, when the store holds several.")
@click.option(
    "--layout",
    type=NamesOf(_layouts),
    default="gdlt",
    show_default=True,
    help="How the reference is laid out, as for `features import`.",
)
@json_option
def compare_features(
    store: Path, reference: tuple[Path, ...], backbone: str | None, layout: str, as_json: bool
) -> None:  # fmt: skip
    """Do the features of STORE match released ones? REFERENCE: files or folders, such as the .npy files of a few videos.

    For each video the mean cosine of the clips that belong together, beside that of clips that do not, and the shift at which both
    agree best; then the likeliest cause of a difference, which is a guess. Exit status 0 when they are the same, 1 when not.

    Example: features compare features/rg.h5 released --layout gdlt
    """
    from longtake.features.imports.compare import compare_with, find_references, likely_cause
    from longtake.features.store import open_store

    videos = find_references(layout, reference)
    with open_store(store) as opened:
        found = compare_with(opened.stream(backbone), videos)
    cause = likely_cause(found)
    if as_json:
        print_json({"cause": cause, "videos": [{**asdict(c), "likeness": c.likeness} for c in found]})
    else:
        rows = [
            [c.video_id, c.num_clips, c.reference_clips, f"{c.shift:+d}" if c.shift else "0", f"{c.cosine:.4f}",
             f"{c.background:.4f}", f"{c.likeness:.3f}", f"{c.length_ratio:.3f}"]
            for c in found
        ]  # fmt: skip
        from tabulate import tabulate

        headers = ["video", "clips", "theirs", "shift", "cosine", "elsewhere", "likeness", "length ratio"]
        click.echo(tabulate(rows, headers, disable_numparse=True))
        click.echo(f"likeliest: {cause}")
    sys.exit(0 if cause == "the same recipe" else 1)


@main.command("doctor")
@click.argument("folder", type=FILE)
@json_option
def doctor(folder: Path, as_json: bool) -> None:
    """Can FOLDER hold a store that several processes or machines write to? Exit status 1 when something is amiss.

    Tries what stores rely on, in a folder of its own that it removes: atomic renames, exclusive creation, syncing, clocks, room.

    Example: features doctor /mnt/lab/features
    """
    from longtake.features.tools.doctor import examine

    findings = examine(folder)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            click.echo(f"{'ok ' if finding.ok else 'BAD'} {finding.check}: {finding.found}")
            if finding.advice:
                click.echo(f"    {finding.advice}")
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


@main.command("merge")
@click.argument("stores", type=STORE, nargs=-1, required=True)
@click.option("--out", type=STORE, required=True, help="The new store; nothing may be there.")
@click.option("--beside", is_flag=True, help="Keep several recipes of one backbone side by side.")
@json_option
def merge_stores(stores: tuple[Path | str, ...], out: Path | str, beside: bool, as_json: bool) -> None:
    """Make one store of several of the same dataset. Videos may be in more than one, when all of them say the same.

    It is compressed as the first of them, or, where OUT is of another kind, as that kind is by default.

    Example: features merge shard0.h5 shard1.h5 --out features/rg.h5
    """
    from longtake.features.store import check_store_name
    from longtake.features.tools.merge import merge

    check_store_name(out)
    done = merge(stores, out, beside=beside)
    if as_json:
        print_json({"out": str(out), **asdict(done)})
    else:
        click.echo(f"{out}: {done.num_streams} streams of {done.num_videos} videos, {done.num_clips} clips, "
                   f"{done.num_texts} prompt sets")  # fmt: skip


@main.command("convert")
@click.argument("store", type=STORE)
@click.argument("out", type=STORE)
@click.option(
    "--dtype", type=click.Choice(DTYPES), help="Width of the features. Default: as they are, so nothing is lost."
)
@click.option("--compression", type=click.Choice(["none", "gzip", "zstd"]), help="Default: that of the kind of store.")
@click.option(
    "--chunk-rows",
    type=click.IntRange(1, 65536),
    help="Clips per chunk; fewer where these would take more than 64 MiB.  [default: 128]",
)
@json_option
def convert_store(
    store: Path | str,
    out: Path | str,
    dtype: str | None,
    compression: str | None,
    chunk_rows: int | None,
    as_json: bool,
) -> None:
    """Copy STORE to OUT in another form, and compare all of it after writing.

    The ending of OUT says which kind it becomes: .h5 one HDF5 file, .zarr many files or objects.
    Example: features convert features/rg.h5 s3://lab/rg.zarr
    """
    from longtake.features.content import Storage
    from longtake.features.store import check_store_name
    from longtake.features.tools.convert import convert

    check_store_name(out)
    storage = Storage(chunk_rows or Storage.chunk_rows, compression or Storage.compression)
    done = convert(store, out, dtype=dtype, storage=storage)
    if as_json:
        print_json({"out": str(out), **asdict(done)})
        return
    change = f"largest change {done.largest_change:.3g}" if done.largest_change else "no value changed"
    click.echo(f"{out}: {done.num_videos} videos, {done.num_clips} clips, {change}"
               f"{_size(done.num_bytes_before)} ->{_size(done.num_bytes_after) or ' far away'}")  # fmt: skip


@main.command("relabel")
@click.argument("store", type=LocalStorePath())
@click.option("--dataset", shell_complete=completes(dataset_names), help="Take the labels of this dataset's table.")
@click.option("--manifest", type=FILE, help="Take those of a CSV of your own.")
@json_option
def relabel(store: Path, dataset: str | None, manifest: Path | None, as_json: bool) -> None:
    """Put corrected labels into STORE, and the card of its dataset as it is now. Features stay as they are, and so do labels of which the new ones say nothing.

    Example: features relabel features/rg.h5 --dataset rg
    """
    from longtake.features.labels import labels_of
    from longtake.features.parts import pack_or_refuse
    from longtake.features.store import open_store

    with open_store(store) as opened:
        name, before, card, card_json = opened.dataset, opened.labels, opened.card, opened.card_json
    if card is not None and name in dataset_names():
        card = find_card(name)
    corrected = _expected(dataset, manifest, card)
    if corrected is None:
        raise click.UsageError("say where the labels are, with --dataset NAME or --manifest FILE")
    named = {row.video_id for row in corrected.rows}
    if (dataset and corrected.name != name) or not named.intersection(before.video_ids):
        raise FeaturesError(f"{store} is a store of {name}; these labels are of {corrected.name}")
    pack_or_refuse(store, dataset=name, card=corrected.card, labels=labels_of(corrected))
    with open_store(store) as opened:
        rows = {video_id: before.row(index) for index, video_id in enumerate(before.video_ids)}
        after = opened.labels
        changed = [v for i, v in enumerate(after.video_ids) if v in rows and rows[v] != after.row(i)]
        added = [v for v in after.video_ids if v not in rows]
        new_card = opened.card_json != card_json
    if as_json:
        print_json({"store": str(store), "changed": changed, "added": added, "card_changed": new_card})
    else:
        said = "; its card is another now" if new_card else ""
        click.echo(f"{store}: labels of {len(changed)} videos changed, {len(added)} added{said}")


@main.command("export")
@click.argument("store", type=STORE)
@click.argument("folder", type=FILE)
@click.option("--layout", type=NamesOf(_export_layouts), default="gdlt", show_default=True)
@click.option("--backbone", help="NAME or NAME@RECIPE, when the store holds several.")
@json_option
def export_store(store: Path | str, folder: Path, layout: str, backbone: str | None, as_json: bool) -> None:
    """Write the features of STORE as loose .npy files into FOLDER, with their labels, for code that reads those.

    Example: features export features/rg.h5 folder --layout gdlt
    """
    from longtake.features.store import open_store
    from longtake.features.tools.export import export

    with open_store(store) as opened:
        done = export(opened, opened.stream(backbone), folder, layout)
    if as_json:
        print_json({"folder": str(folder), **asdict(done)})
    else:
        click.echo(
            f"{folder}: {done.num_videos} videos in {done.num_files} files, labels in {', '.join(done.label_files)}"
        )


@main.command("catalog")
@click.argument("folder", type=FILE)
@click.option("--out", type=FILE, help="The page.  [default: FOLDER/index.html]")
@json_option
def catalog(folder: Path, out: Path | None, as_json: bool) -> None:
    """Write one HTML page about all stores in FOLDER: datasets, coverage, recipes, sizes, licences, how to open each.

    Example: features catalog features
    """
    from longtake.features.tools.catalog import make_catalog

    page, num_stores, num_unreadable = make_catalog(folder)
    out = out or folder / "index.html"
    out.write_text(page, encoding="utf-8")
    if as_json:
        print_json({"out": str(out), "stores": num_stores, "unreadable": num_unreadable})
    else:
        click.echo(f"{out}: {num_stores} stores, {num_unreadable} cannot be read")


@main.command("card")
@click.argument("store", type=StorePath())
@click.option("--out", type=FILE, help="The file, such as README.md.  [default: print it]")
def card(store: Path, out: Path | None) -> None:
    """A page of Markdown to share STORE with: what is in it, how it was made, whose data and weights, their licences.

    Example: features card features/rg.h5 --out README.md
    """
    from longtake.features.store import open_store
    from longtake.features.tools.card import store_card

    with open_store(store) as opened:
        text = store_card(opened)
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")


@main.command("labels")
@click.option("--layout", type=NamesOf(lambda: _layouts()), required=True, help="Whose label files.")
@click.option("--dataset", shell_complete=completes(dataset_names), required=True, help="Whose card checks them.")
@click.option("--labels", type=FILE, multiple=True, required=True, help="Label file of the authors; may be repeated.")
@click.option("--out", type=FILE, required=True, help="The table, a manifest for `extract run --manifest`.")
@json_option
def label_table(layout: str, dataset: str, labels: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Turn the authors' label files into a manifest, for datasets whose labels may not be passed on.

    Example: features labels --layout finediving --dataset finediving --labels fine-grained_annotation_aqa.pkl --labels train_split.pkl --labels test_split.pkl --out finediving.csv
    """
    from longtake.features.imports.layouts import LAYOUTS
    from longtake.manifests.table import write_manifest

    if out.exists():
        raise FeaturesError(f"{out} exists; choose another name, or remove it first")
    manifest = LAYOUTS[layout].labels(labels, find_card(dataset))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(out, manifest)
    splits = {name: sum(row.split == name for row in manifest.rows) for name in manifest.card.splits}
    if as_json:
        print_json({"out": str(out), "videos": len(manifest.rows), "splits": splits})
    else:
        click.echo(f"{out}: {len(manifest.rows)} videos ({', '.join(f'{name} {n}' for name, n in splits.items())})")


@main.command("import")
@click.argument("source", type=FILE)
@click.option("--layout", type=NamesOf(lambda: [*_layouts(), "text"]), required=True, help="How SOURCE is laid out.")
@click.option(
    "--dataset",
    shell_complete=completes(dataset_names),
    help="Whose card gives categories, score ranges and prompts.",
)
@click.option("--manifest", type=FILE, help="In its place, for videos of your own: a CSV of their labels.")
@click.option("--out", type=LocalStorePath(), required=True, help="The store; it is made, or joined when it exists.")
@click.option("--backbone", help="Name of the backbone the features come from, such as vst (all layouts but text).")
@click.option("--modality", type=click.Choice(["video", "audio", "image"]), default="video", show_default=True,
              help="What that backbone looks at or listens to; sound is `audio`.")  # fmt: skip
@click.option("--files", "pattern", help="Only these files of the folder SOURCE, such as '*_rgb_VST.npy'.")
@click.option("--labels", type=FILE, multiple=True,
              help="Label file of the authors, or a manifest; repeat for train and test. Default: the dataset's table.")  # fmt: skip
@click.option("--weights", default="unknown", help="What the features were made with, if you know.")
@click.option("--clip-length", type=int, help="Frames per clip, if you know.")
@click.option("--clip-stride", type=int, help="Frames between clips, if you know.")
@click.option("--fps", type=float, help="Frames per second, if you know.")
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", show_default=True)
@click.option("--text", "prompt_set", help="Prompt set whose texts SOURCE encodes (layout text), such as mlavl.")
@click.option("--beside", is_flag=True, help="Keep this recipe beside another one of the backbone in the same store.")
@click.option("--encoder", default="unknown", help="Text encoder (layout text), such as vifi-clip.")
@json_option
def import_features(
    source: Path, layout: str, dataset: str | None, manifest: Path | None, out: Path, backbone: str | None, modality: str, pattern: str | None,
    labels: tuple[Path, ...], weights: str, clip_length: int | None, clip_stride: int | None, fps: float | None,
    dtype: str, prompt_set: str | None, beside: bool, encoder: str, as_json: bool,
) -> None:  # fmt: skip
    """Bring features made elsewhere, in SOURCE, into a store with their labels.

    Of videos of your own: features import folder --layout gdlt --manifest mine.csv --backbone vst --out features/mine.h5

    Layouts: gdlt (folder of .npy), pamfn (dictionaries by category), skating-mixer (FS1000), finefs, logo, finediving; text (one
    array of text features).

    Example: features import VST --layout gdlt --dataset rg --backbone vst --labels train.txt --labels test.txt --out features/rg.h5
    """
    from longtake.features.imports.importer import KnownRecipe, import_text, import_videos
    from longtake.features.imports.layouts import LAYOUTS

    if (dataset is None) == (manifest is None):
        raise click.UsageError(
            "say whose features these are, with --dataset NAME or, for videos of your own, --manifest FILE"
        )
    if manifest is not None and (layout == "text" or labels):
        raise click.UsageError(
            "--manifest is a table of labels: it takes no --labels and has no prompts for layout text"
        )
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
            raise click.UsageError(f"layout {layout} needs --backbone NAME: the files do not say what made them")
        if labels:
            table = LAYOUTS[layout].labels(labels, find_card(dataset))
        else:
            table = _expected(dataset, manifest)
        known = KnownRecipe(weights, clip_length, clip_stride, fps, modality=modality)
        done = import_videos(
            layout, source, out, table, backbone=backbone, known=known, dtype=dtype, pattern=pattern, beside=beside
        )
        facts = {"out": str(out), **vars(done), "header": done.header.to_dict(), "recipe_id": done.header.recipe_id}
        summary = f"{out}: {done.num_videos} videos, {done.num_clips} clips x {done.header.dim}"
        for names, meaning in (
            (done.without_labels, "videos without labels, left out"),
            (done.without_features, "labelled videos without features"),
        ):
            if names:
                summary += f"\n  {len(names)} {meaning}: {', '.join(names[:5])}{_dots(list(names))}"
    print_json(facts) if as_json else click.echo(summary)


add_completion(main, "features")

if __name__ == "__main__":
    main()
