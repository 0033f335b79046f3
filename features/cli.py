"""The `features` command: its options and what it prints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from longtake.errors import printable
from longtake.features.errors import FeaturesError
from longtake.features.printing import NamedStore
from longtake.features.printing import show as _show
from longtake.features.share_cli import COMMANDS
from longtake.files import write_whole
from longtake.manifests.card import dataset_names, find_card
from longtake.manifests.table import find_manifest, read_manifest
from longtake.safe_text import printable_lines
from longtake.terminal import (
    Console,
    LocalStorePath,
    NamesOf,
    StorePath,
    add_completion,
    completes,
    json_option,
    print_json,
    version_option,
)

if TYPE_CHECKING:
    from longtake.features.store import Store
    from longtake.manifests.table import ManifestRow

STORE = StorePath()
NAMED = NamedStore()
FILE = click.Path(path_type=Path)
DTYPES = click.Choice(["float32", "float16"])

# numpy and h5py are imported by the commands, so that --help and wrong calls do not wait for them.


MAPPED = {
    "files": "a folder or file of any kind; --ids, --features, --seconds, --axes and --labels say what is where",
    "video_features": "NAME_rgb.npy, NAME_fps.npy, NAME_timestamps_ms.npy, as video_features writes them",
}


def _layouts(module: str = "imports.layouts") -> Iterable[str]:
    names: Iterable[str] = import_module(f"longtake.features.{module}").LAYOUTS
    return names


store_argument = click.argument("store", type=NAMED)
backbone_option = click.option("--backbone", help="NAME or NAME@RECIPE, if the store holds several.")
beside_option = click.option(
    "--beside", is_flag=True, help="Keep several recipes of one backbone side by side in the store."
)
dataset_option = partial(click.option, "--dataset", shell_complete=completes(dataset_names))
manifest_option = partial(click.option, "--manifest", type=FILE)
labels_option = partial(click.option, "--labels", type=FILE, multiple=True)


@click.group(cls=Console)
@version_option
def main() -> None:
    """Inspect feature stores, check them, compare them, import features made elsewhere."""


def _open(store: Path | str) -> Store:
    from longtake.features.store import open_store

    return open_store(store)


def _require_one_source(dataset: str | None, manifest: Path | None) -> None:
    if dataset and manifest:
        raise click.UsageError("give --dataset NAME or --manifest FILE, not both")


all_option = click.option("--all", "show_all", is_flag=True, help="Print all of a long list, not its first ten.")


@main.command()
@store_argument
@all_option
@json_option
def info(store: Path | str, show_all: bool, as_json: bool) -> None:
    """Show what is in STORE, made from which weights, and what is missing.

    Example: features info features/rg.h5
    """
    from longtake.features.tools.inspect import describe
    from longtake.features.tools.summary import summary

    with _open(store) as opened:
        facts = describe(opened)
    _show(as_json, facts, summary(facts, show_all))


@main.command("ls")
@click.argument("stores", type=STORE, nargs=-1, required=True)
@backbone_option
@click.option(
    "--where", multiple=True, metavar="COLUMN=VALUE",
    help="List only these videos, such as status=failed, category=Ball, stage=decode, a group or a score. Several columns: all must match; one "
    "column several times: any.",
)  # fmt: skip
@json_option
def list_videos(stores: tuple[Path | str, ...], backbone: str | None, where: tuple[str, ...], as_json: bool) -> None:
    """List the videos of STORES, one per line: id, split, category, clips, seconds, status, and the reason of a failure; of all streams, or
    of one backbone.

    Columns are separated by tabs; the first line names them.

    Example: features ls features/rg.h5 --where status=failed --where category=Ball
    """
    from longtake.features.tools.inspect import list_videos
    from longtake.features.tools.where import chosen

    found = []
    for store in stores:
        with _open(store) as opened:
            named = {"store": str(store)} if len(stores) > 1 else {}
            names = [backbone] if backbone else [stream.name for stream in opened.streams]
            found += [{**named, "stream": name, **row} for name in names for row in list_videos(opened, name)]
    # All together: a group or score may be in some of the stores.
    rows = chosen(found, where)
    if as_json:
        print_json(rows)
        return
    own = {"store": len(stores) > 1, "stream": len({row["stream"] for row in rows}) > 1}
    extra = [name for name, shown in own.items() if shown]
    click.echo("\t".join([*extra, "video", "split", "category", "clips", "seconds", "status", "reason"]))
    for row in rows:
        seconds = row["duration_seconds"]
        shown = "" if seconds is None or seconds != seconds else f"{seconds:.2f}"
        reason = f"{row['error_stage']}: {row['error_message']}" if row["error_stage"] else ""
        columns = row["video_id"], row["split"], row["category"], row["clips"], shown, row["status"], reason
        line = "\t".join(printable(str(column)) for column in (*(row[name] for name in extra), *columns))
        click.echo(line.rstrip("\t"))


@main.command("verify")
@store_argument
@dataset_option(help="Also report what is missing of this dataset, and labels that differ from its table.")
@manifest_option(help="The same, for your own CSV.")
@all_option
@json_option
def verify_store(store: Path | str, dataset: str | None, manifest: Path | None, show_all: bool, as_json: bool) -> None:
    """Read all of STORE and report every fault in structure, values, checksums and ranges. Exit status 1 if there are faults.

    Example: features verify features/rg.h5 --dataset rg
    """
    from longtake.features.failures import lines_by_kind
    from longtake.features.labels import labels_of
    from longtake.features.tools.inspect import faults_by_kind

    _require_one_source(dataset, manifest)
    expected = find_manifest(dataset) if dataset else read_manifest(manifest) if manifest else None
    with _open(store) as opened:
        if dataset and expected and opened.dataset != expected.name:
            raise FeaturesError(f"{store} is a store of {opened.dataset}, not of {expected.name}")
        kinds = faults_by_kind(opened, labels_of(expected) if expected else None)
        num_videos = sum(len(stream.videos) for stream in opened.streams)
    faults = [fault for found in kinds.values() for fault in found]
    facts = {"path": str(store), "counts": {kind: len(found) for kind, found in kinds.items()}, "faults": faults}
    lines = [
        *lines_by_kind(kinds, "faults", show_all),
        f"{store}: {num_videos} videos read, {len(faults)} faults",
    ]
    _show(as_json, facts, lines)
    raise SystemExit(1 if faults else 0)


@main.command("audit")
@store_argument
@backbone_option
@json_option
def audit_store(store: Path | str, backbone: str | None, as_json: bool) -> None:
    """Look for leaks between the splits of STORE: groups in two of them, copies, equal scores, overlapping spans. Exit status 1 if there are any.

    Example: features audit features/fisv.h5
    """
    from longtake.features.tools.audit import audit_store

    with _open(store) as opened:
        found = audit_store(opened, backbone)
    facts = {"path": str(store), "leaks": [leak.to_dict() for leak in found]}
    _show(as_json, facts, [*(leak.line for leak in found), f"{store}: {len(found)} kinds of leaks"])
    raise SystemExit(1 if found else 0)


@main.command("diff")
@click.argument("one", type=NAMED)
@click.argument("other", type=NAMED)
@all_option
@json_option
def diff_stores(one: Path | str, other: Path | str, show_all: bool, as_json: bool) -> None:
    """Report how the stores ONE and OTHER differ in content. Exit status 0 if they are equal, 1 if not.

    Both may be versions of one store: features diff rg@1 rg@2

    Example: features diff mine.h5 theirs.h5
    """
    from longtake.features.failures import lines_by_kind
    from longtake.features.tools.inspect import diff

    with _open(one) as first, _open(other) as second:
        differences = diff(first, second)
    by_kind: dict[str, list[str]] = {}
    for difference in differences:
        line = f"{difference.kind} {difference.what}: {difference.detail}"
        by_kind.setdefault(difference.kind, []).append(line)
    lines = list(lines_by_kind(by_kind, "differences", show_all))
    lines.append(f"{len(differences)} differences" if differences else "equal")
    _show(as_json, [asdict(difference) for difference in differences], lines)
    raise SystemExit(1 if differences else 0)


@main.command("compare")
@store_argument
@click.argument("reference", type=FILE, nargs=-1, required=True)
@backbone_option
@click.option("--layout", type=NamesOf(_layouts), default="gdlt", show_default=True,
              help="Layout of the reference, as for `features import`.")  # fmt: skip
@json_option
def compare_features(
    store: Path | str, reference: tuple[Path, ...], backbone: str | None, layout: str, as_json: bool
) -> None:
    """Compare the features of STORE with released ones. REFERENCE: files or folders, such as the .npy files of a few videos.

    Shows for each video the mean cosine of corresponding clips and of other clips, and the shift at which both agree best; then the
    likeliest cause of a difference, which is a guess. Exit status 0 if they are the same, 1 if not, or if the store lacks some of them.

    Example: features compare features/rg.h5 released --layout gdlt
    """
    from tabulate import tabulate

    from longtake.features.imports.compare import SAME_RECIPE, compare_with, find_references, likely_cause

    videos = find_references(layout, reference)
    with _open(store) as opened:
        found = compare_with(opened.stream(backbone), videos)
    known = {one.video_id for one in found}
    lacking = [name for name in videos if name not in known]
    cause = likely_cause(found)
    rows = [
        [c.video_id, c.num_clips, c.reference_clips, f"{c.shift:+d}" if c.shift else "0", f"{c.cosine:.4f}",
         f"{c.background:.4f}", f"{c.likeness:.3f}", f"{c.length_ratio:.3f}"]
        for c in found
    ]  # fmt: skip
    headers = ["video", "clips", "theirs", "shift", "cosine", "elsewhere", "likeness", "length ratio"]
    lines = tabulate(rows, headers, disable_numparse=True).split("\n")
    facts = {"cause": cause, "videos": [{**asdict(c), "likeness": c.likeness} for c in found], "lacking": lacking}
    noted = [f"not in the store: {', '.join(lacking)}"] if lacking else []
    _show(as_json, facts, [*lines, f"likeliest: {cause}", *noted])
    raise SystemExit(1 if lacking or cause != SAME_RECIPE else 0)


@main.command("doctor")
@click.argument("folder", type=FILE)
@json_option
def doctor(folder: Path, as_json: bool) -> None:
    """Check whether FOLDER can hold a store that several processes or machines write to. Exit status 1 if a check fails.

    Tries atomic renames, exclusive creation, syncing, clocks and free space in a temporary folder.

    Example: features doctor /mnt/lab/features
    """
    from longtake.features.tools.doctor import examine

    findings = examine(folder)
    lines = []
    for finding in findings:
        lines.append(f"{'ok ' if finding.ok else 'BAD'} {finding.check}: {finding.found}")
        lines += [f"    {finding.advice}"] if finding.advice else []
    _show(as_json, [asdict(finding) for finding in findings], lines)
    raise SystemExit(0 if all(finding.ok for finding in findings) else 1)


@main.command("merge")
@click.argument("stores", type=NAMED, nargs=-1, required=True)
@click.option("--out", type=STORE, required=True, help="The new store, which must not exist.")
@beside_option
@json_option
def merge_stores(stores: tuple[Path | str, ...], out: Path | str, beside: bool, as_json: bool) -> None:
    """Merge several stores of one dataset into a new one. A video may be in several of them if their values are equal.

    The new store has the compression of the first one, or the default if OUT is of another kind.

    Example: features merge shard0.h5 shard1.h5 --out features/rg.h5
    """
    from longtake.features.tools.merge import merge

    done = merge(stores, out, beside=beside)
    counts = (
        f"{done.num_streams} streams of {done.num_videos} videos, {done.num_clips} clips, {done.num_texts} prompt sets"
    )
    _show(as_json, {"out": str(out), **asdict(done)}, [f"{out}: {counts}"])


@main.command("convert")
@store_argument
@click.argument("out", type=STORE)
@click.option("--dtype", type=DTYPES, help="Type of the features. Default: unchanged, so no precision is lost.")
@click.option("--compression", type=click.Choice(["none", "gzip", "zstd"]), help="Default: that of the kind of store.")
@click.option("--chunk-rows", type=click.IntRange(1, 65536),
              help="Clips per chunk; fewer if these would take more than 64 MiB.  [default: 128]")  # fmt: skip
@click.option(
    "--drop-damaged",
    is_flag=True,
    help="Record damaged videos as failed, for extract run --retry-failed, and copy the others.",
)
@json_option
def convert_store(
    store: Path | str, out: Path | str, dtype: str | None, compression: str | None, chunk_rows: int | None, drop_damaged: bool, as_json: bool
) -> None:  # fmt: skip
    """Copy STORE to OUT in another form, and compare all of it after writing.

    The ending of OUT sets its kind: .h5 one HDF5 file, .zarr many files or objects.
    Example: features convert features/rg.h5 s3://lab/rg.zarr
    """
    from longtake.features.content import Storage
    from longtake.features.tools.convert import convert
    from longtake.features.tools.summary import size

    storage = Storage(chunk_rows or Storage.chunk_rows, compression or Storage.compression)
    done = convert(store, out, dtype=dtype, storage=storage, drop_damaged=drop_damaged)
    change = f"largest change {done.largest_change:.3g}" if done.largest_change else "no value changed"
    change += f", {done.num_underflows} values became 0" if done.num_underflows else ""
    sizes = f"{size(done.num_bytes_before)} ->{size(done.num_bytes_after) or ' at a URL'}"
    lines = [f"damaged, now failed: {name}" for name in done.dropped]
    lines.append(f"{out}: {done.num_videos} videos, {done.num_clips} clips, {change}{sizes}")
    _show(as_json, {"out": str(out), **asdict(done)}, lines)
    if done.dropped:
        raise SystemExit(1)


@main.command("relabel")
@click.argument("store", type=LocalStorePath())
@dataset_option(help="Take the labels of this dataset's table.")
@manifest_option(help="Take the labels of your own CSV.")
@json_option
def relabel_store(store: Path, dataset: str | None, manifest: Path | None, as_json: bool) -> None:
    """Put corrected labels and the current card of the dataset into STORE. Features do not change, and neither do labels for which
    the new table has no value.

    Example: features relabel features/rg.h5 --dataset rg
    """
    from longtake.features.tools.relabel import relabel

    _require_one_source(dataset, manifest)
    source = dataset or manifest
    if source is None:
        raise click.UsageError("name the source of the labels with --dataset NAME or --manifest FILE")
    done = relabel(store, source)
    said = "; its card was replaced" if done.card_changed else ""
    line = f"{store}: labels of {len(done.changed)} videos changed, {len(done.added)} added{said}"
    _show(as_json, {"store": str(store), **asdict(done)}, [line])


@main.command("export")
@store_argument
@click.argument("folder", type=FILE)
@click.option("--layout", type=NamesOf(lambda: _layouts("tools.export")), default="gdlt", show_default=True)
@click.option(
    "--backbone", multiple=True, help="NAME or NAME@RECIPE, if the store holds several. Layout pamfn takes several."
)
@json_option
def export_store(store: Path | str, folder: Path, layout: str, backbone: tuple[str, ...], as_json: bool) -> None:
    """Write the features of STORE into FOLDER, with their labels, as files that published code reads.

    Example: features export features/rg.h5 folder --layout pamfn --backbone vst --backbone i3d-flow --backbone ast
    """
    from longtake.features.tools.export import export

    with _open(store) as opened:
        done = export(opened, [opened.stream(name) for name in backbone or (None,)], folder, layout)
    line = f"{folder}: {done.num_videos} videos in {done.num_files} files, labels in {', '.join(done.label_files)}"
    _show(as_json, {"folder": str(folder), **asdict(done)}, [line])


@main.command("catalog")
@click.argument("folder", type=FILE)
@click.option("--out", type=FILE, help="The page.  [default: FOLDER/index.html]")
@json_option
def catalog(folder: Path, out: Path | None, as_json: bool) -> None:
    """Write one HTML page about all stores in FOLDER: datasets, videos, what they lack, recipes, sizes, licences, how to open each.

    It is the part of `train view` that needs no runs. Example: features catalog features
    """
    from longtake.features.catalog.build import catalog_site
    from longtake.features.catalog.site import one_page

    site, stores = catalog_site(folder)
    out = out or folder / "index.html"
    write_whole(out, one_page(site))
    num_stores = len(stores.rows) - stores.num_faults
    facts = {"out": str(out), "stores": num_stores, "unreadable": stores.num_faults}
    _show(as_json, facts, [f"{out}: {num_stores} stores, {stores.num_faults} cannot be read"])


@main.command("card")
@store_argument
@click.option("--out", type=FILE, help="The file, such as README.md.  [default: print it]")
@click.option("--croissant", is_flag=True, help="Write Croissant 1.1 metadata (JSON-LD) instead.")
def card(store: Path | str, out: Path | None, croissant: bool) -> None:
    """Write a page of Markdown to share STORE with: its content, how it was made, the licences of dataset and weights, BibTeX.

    Example: features card features/rg.h5 --out README.md
    """
    from longtake.features.tools.card import store_card
    from longtake.features.tools.croissant import croissant_of

    with _open(store) as opened:
        text = croissant_of(opened) if croissant else store_card(opened)
    if out is None:
        click.echo(printable_lines(text), nl=False)
    else:
        write_whole(out, text)


@main.command("labels")
@click.option("--layout", type=NamesOf(_layouts), required=True, help="Layout of the label files.")
@dataset_option(required=True, help="Dataset whose card checks the labels.")
@labels_option(required=True, help="Label file of the authors; may be repeated.")
@click.option("--out", type=FILE, required=True, help="The table, a manifest for `extract run --manifest`.")
@json_option
def label_table(layout: str, dataset: str, labels: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Turn the authors' label files into a manifest, for datasets whose labels must not be redistributed.

    Example: features labels --layout finediving --dataset finediving --labels fine-grained_annotation_aqa.pkl --labels train_split.pkl --labels test_split.pkl --out finediving.csv
    """
    from longtake.features.imports.layouts import write_label_table

    num_videos, splits = write_label_table(layout, labels, find_card(dataset), out)
    counts = ", ".join(f"{name} {count}" for name, count in splits.items())
    _show(
        as_json, {"out": str(out), "videos": num_videos, "splits": splits}, [f"{out}: {num_videos} videos ({counts})"]
    )


def _labels_of(row: ManifestRow) -> str:
    named = {
        "split": row.split,
        "category": row.category,
        **{f"score_{name}": f"{value:g}" for name, value in row.scores.items()},
    }
    return " ".join(f"{name}={value}" for name, value in named.items() if value) or "none"


@main.command("import")
@click.argument("source", type=FILE)
@click.option("--layout", type=NamesOf(lambda: [*_layouts(), *MAPPED, "text"]), required=True, help="Layout of SOURCE.")
@dataset_option(help="Dataset whose card gives categories, score ranges and prompts.")
@manifest_option(help="Instead of --dataset, for your own videos: a CSV of their labels.")
@click.option("--out", type=LocalStorePath(), required=True, help="The store; features join it if it exists.")
@click.option("--backbone", help="Name of the backbone the features come from, such as vst (all layouts but text).")
@click.option("--modality", type=click.Choice(["video", "audio", "image"]), default="video", show_default=True,
              help="Input of that backbone; sound is `audio`.")  # fmt: skip
@click.option("--files", "pattern", help="Only these files of the folder SOURCE, such as '*_rgb_VST.npy'.")
@click.option("--ids", default="", metavar="PATTERN",
              help="Where the ids are (layout files): paths such as '{split}/**/{id}_rgb.npy'; the column of ids of a table.")  # fmt: skip
@click.option("--features", default="", metavar="NAME",
              help="Name of the features in the files (layout files), '{id}' where names are those of videos, columns such as 'f*'; the "
              "kind, such as rgb (layout video_features).")  # fmt: skip
@click.option("--seconds", default="", metavar="NAME",
              help="Times of the clips (layout files): a name in the files, or files such as '{id}_timestamps_ms.npy'.")  # fmt: skip
@click.option("--axes", metavar="WORDS",
              help="What each axis of the arrays is, such as mean,clip,feature.  [default: clip,feature]")  # fmt: skip
@labels_option(
    help="Label file of the authors, or a manifest; repeat for train and test. Default: the table of the dataset. With layout files also "
    "COLUMN=NAME, such as score_total=y, for labels in the files or under other names in the manifest."
)
@click.option("--dry-run", is_flag=True, help="Show what would be imported, and write nothing.")
@click.option("--weights", default="unknown", help="Weights that the features were made with, if known.")
@click.option("--clip-length", type=int, help="Frames per clip, if known.")
@click.option("--clip-stride", type=int, help="Frames between the starts of clips, if known.")
@click.option("--fps", type=float, help="Frames per second, if known.")
@click.option("--dtype", type=DTYPES, default="float32", show_default=True)
@click.option("--text", "prompt_set", help="Prompt set whose texts SOURCE encodes (layout text), such as mlavl.")
@beside_option
@click.option("--encoder", default="unknown", help="Text encoder (layout text), such as vifi-clip.")
@json_option
def import_features(
    source: Path, layout: str, dataset: str | None, manifest: Path | None, out: Path, backbone: str | None, modality: str,
    pattern: str | None, labels: tuple[Path, ...], weights: str, clip_length: int | None, clip_stride: int | None,
    fps: float | None, dtype: str, prompt_set: str | None, beside: bool, encoder: str, ids: str, features: str, seconds: str,
    axes: str | None, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Import features made elsewhere, in SOURCE, into a store with their labels.

    Your own videos: features import folder --layout gdlt --manifest mine.csv --backbone vst --out features/mine.h5

    Any other files: features import tree --layout files --ids '**/{id}.npz' --features rgb --manifest mine.csv --backbone i3d --out features/mine.h5 --dry-run

    Layouts: gdlt (folder of .npy), pamfn (dictionaries by category), skating-mixer (FS1000), finefs, logo, finediving; files (any
    other), video_features; text (one array of text features).

    Example: features import VST --layout gdlt --dataset rg --backbone vst --labels train.txt --labels test.txt --out features/rg.h5
    """
    from longtake.features.imports.importer import KnownRecipe, import_text, import_videos, read_label_files
    from longtake.features.tools.summary import first

    if layout not in MAPPED and (ids or features or seconds or axes):
        raise click.UsageError("--ids, --features, --seconds and --axes are for the layouts files and video_features")
    if layout in MAPPED and pattern:
        raise click.UsageError(f"layout {layout} finds files by --ids, not --files")
    if (dataset and manifest) or (layout not in MAPPED and not (dataset or manifest)):
        raise click.UsageError("name the videos with --dataset NAME or, for your own videos, --manifest FILE")
    if manifest is not None and (layout == "text" or labels):
        raise click.UsageError(
            "--manifest is a table of labels; it excludes --labels, and it has no prompts for layout text"
        )
    if layout == "text" and dry_run:
        raise click.UsageError("--dry-run is for features of videos, not for layout text")
    if layout == "text":
        card = find_card(dataset or "")
        if prompt_set is None:
            raise click.UsageError(
                f"layout text needs --text NAME; {dataset} has the prompt sets {', '.join(card.prompts)}"
            )
        text = import_text(source, out, card, prompt_set, encoder=encoder, weights=weights)
        facts = {"out": str(out), "text": text.name, "texts": len(text.texts), "dim": text.header.dim}
        lines = [f"{out}: prompt set {text.name}, {len(text.texts)} texts x {text.header.dim}"]
    else:
        if backbone is None:
            raise click.UsageError(f"layout {layout} needs --backbone NAME: the files do not name their backbone")
        known = KnownRecipe(weights, clip_length, clip_stride, fps, modality=modality)
        found, origin = None, ""
        if layout in MAPPED:
            from longtake.features.imports.mapped import find_and_label
            from longtake.features.imports.mapping import Mapped

            mapped = Mapped(layout, ids, features, seconds, axes, clip_length, clip_stride, fps)
            found, table = find_and_label(source, mapped, [*map(str, labels)], dataset, manifest, out)
            origin = mapped.origin
        else:
            table = read_manifest(manifest) if manifest else read_label_files(layout, labels, dataset or "")
        done = import_videos(
            layout, source, out, table, backbone=backbone, known=known, dtype=dtype, beside=beside, pattern=pattern,
            found=found, origin=origin, dry_run=dry_run,
        )  # fmt: skip
        facts = {"out": str(out), **vars(done), "header": done.header.to_dict(), "recipe_id": done.header.recipe_id}
        what = "would hold" if dry_run else ""
        lines = [
            f"{out}: {what} {done.num_videos} videos, {done.num_clips} clips x {done.header.dim}".replace(":  ", ": ")
        ]
        if dry_run:
            from tabulate import tabulate

            scores = {row.video_id: row for row in table.rows}
            rows = [[*row, _labels_of(scores[row[0]])] for row in done.shown]
            lines += [
                "  " + line
                for line in tabulate(
                    rows, ["video", "from", "clips x dim", "seconds", "labels"], disable_numparse=True
                ).split("\n")
            ]
        if names := done.without_labels:
            lines.append(f"  {len(names)} videos without labels, left out: {first(names)}")
        if names := done.without_features:
            lines.append(f"  {len(names)} labelled videos without features: {first(names)}")
        lines += [f"  bad, left out: {fault}" for fault in done.faults]
    _show(as_json, facts, lines)
    if layout != "text" and done.faults:
        raise SystemExit(1)


for command in COMMANDS:
    main.add_command(command)
add_completion(main, "features")

if __name__ == "__main__":
    main()
