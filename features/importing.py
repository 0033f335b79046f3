"""Features made elsewhere become a store, with their labels and what little is known of how they were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path

import numpy as np

from features.errors import FeaturesError, InvalidFeatures
from features.parts import pack
from features.restricted import read_array
from features.store import StreamItem, StreamPlan, open_store, write_store
from features.types import FeatureHeader, Labels, TextFeatures, TextHeader, VideoFeatures, VideoRecord
from manifests.card import Card
from manifests.table import Manifest

LAYOUTS = {
    "gdlt": "a folder of <video_id>.npy, each (clips, dim), as the GDLT authors share them",
    "text": "one array of text features, .npy or torch, in the order of a prompt set of the dataset's card",
}


@dataclass(frozen=True)
class KnownRecipe:
    """What the user knows of how imported features were made; None is unknown, and stays so in the store."""

    weights: str = "unknown"
    clip_length: int | None = None
    clip_stride: int | None = None
    fps: float | None = None
    tail: str | None = None


@dataclass(frozen=True)
class Imported:
    header: FeatureHeader
    num_videos: int
    num_clips: int
    without_labels: tuple[str, ...]
    """Files whose video the labels do not know; they are left out."""
    without_features: tuple[str, ...]
    """Labelled videos without a file."""


def labels_of(manifest: Manifest) -> Labels:
    """A manifest as the store keeps it."""
    rows = manifest.rows
    scores = np.full((len(rows), len(manifest.score_names)), np.nan)
    for index, row in enumerate(rows):
        for column, name in enumerate(manifest.score_names):
            scores[index, column] = row.scores.get(name, np.nan)
    return Labels(
        tuple(row.video_id for row in rows),
        tuple(row.split or "" for row in rows),
        tuple(row.category or "" for row in rows),
        tuple(manifest.score_names),
        scores,
    )


def import_gdlt(
    source: Path, out: Path, manifest: Manifest, *, backbone: str, known: KnownRecipe, dtype: str = "float32"
) -> Imported:
    """A folder of `<video_id>.npy` into the store at `out`, which may exist. Raises `InvalidFeatures` for every bad file
    together."""
    if not source.is_dir():
        raise FeaturesError(f"{source} is not a folder; layout gdlt is {LAYOUTS['gdlt']}")
    files = {path.stem: path for path in sorted(source.glob("*.npy"))}
    if not files:
        raise FeaturesError(f"{source} holds no .npy file; layout gdlt is {LAYOUTS['gdlt']}")
    labels = labels_of(manifest)
    wanted = [video_id for video_id in labels.video_ids if video_id in files]
    if not wanted:
        raise FeaturesError(
            f"none of the {len(files)} files in {source} is named after a video of {manifest.name}; "
            f"files: {', '.join(list(files)[:3])}, ...; videos: {', '.join(labels.video_ids[:3])}, ..."
        )
    shapes, faults = _shapes(files, wanted)
    dims = {shape[1] for shape in shapes.values()}
    if len(dims) > 1:
        faults.append(f"files are of different widths: {', '.join(map(str, sorted(dims)))}")
    if faults:
        more = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise InvalidFeatures(f"{source}:\n  " + "\n  ".join(faults[:20]) + more)
    header = FeatureHeader(
        backbone=backbone, modality="video", dim=dims.pop(), weights=known.weights, weights_sha256=None,
        weights_random=False, clip_length=known.clip_length, clip_stride=known.clip_stride, tail=known.tail,
        fps=known.fps, precision=None, origin="imported: gdlt",
    )  # fmt: skip
    items = [
        StreamItem(_record(files[v]), shapes[v][0], lambda v=v: _video(files[v], header, np.dtype(dtype)))
        for v in wanted
    ]
    plan = StreamPlan(header, np.dtype(dtype), items)
    _add(out, manifest, labels, [plan], [])
    return Imported(
        header,
        len(wanted),
        sum(shape[0] for shape in shapes.values()),
        tuple(sorted(set(files) - set(labels.video_ids))),
        tuple(video_id for video_id in labels.video_ids if video_id not in files),
    )


def _shapes(files: dict[str, Path], wanted: Sequence[str]) -> tuple[dict[str, tuple[int, int]], list[str]]:
    shapes: dict[str, tuple[int, int]] = {}
    faults = []
    for video_id in wanted:
        try:
            array = read_array(files[video_id])
        except InvalidFeatures as error:
            faults.append(str(error))
            continue
        if array.ndim != 2 or array.dtype.kind != "f" or 0 in array.shape:
            faults.append(f"{files[video_id].name}: {array.dtype} {array.shape}; floats of (clips, dim) expected")
        elif not np.isfinite(array).all():
            faults.append(f"{files[video_id].name}: holds NaN or infinity")
        else:
            shapes[video_id] = array.shape
    return shapes, faults


def _record(path: Path) -> VideoRecord:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return VideoRecord(path.stem, source_name=path.name, source_sha256=_file_sha256(path), finished_utc=now)


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _video(path: Path, header: FeatureHeader, dtype: np.dtype) -> VideoFeatures:
    with np.errstate(over="ignore"):  # what float16 cannot hold becomes infinite, which VideoFeatures refuses
        array = read_array(path).astype(dtype)
    # Clip times follow from the rule where it is known; otherwise clips are counted, one a second.
    rule = header.clip_length, header.clip_stride, header.fps
    length, stride, fps = rule if None not in rule else (1, 1, 1.0)
    starts = np.arange(len(array)) * stride / fps
    return VideoFeatures(_record(path), array, starts, starts + length / fps)


def import_text(source: Path, out: Path, card: Card, prompt_set: str, *, encoder: str, weights: str) -> TextFeatures:
    """Ready text features, whose rows follow the card's prompt set, into a store that exists."""
    if prompt_set not in card.prompts:
        raise FeaturesError(f"{card.name} has no prompt set {prompt_set!r}; it has {', '.join(card.prompts) or 'none'}")
    array = read_array(source)
    prompts = card.prompts[prompt_set]
    if array.ndim != 2 or len(array) != len(prompts.texts):
        raise InvalidFeatures(
            f"{source} has shape {array.shape}; prompt set {prompt_set} of {card.name} has {len(prompts.texts)} texts, "
            f"so ({len(prompts.texts)}, dim) is expected"
        )
    header = TextHeader(
        encoder, int(array.shape[1]), weights, None, weights_random=False, origin=f"imported: {_file_sha256(source)}"
    )
    groups = tuple(group for group, texts in prompts.groups.items() for _ in texts)
    text = TextFeatures(prompt_set, header, prompts.texts, groups, array.astype(np.float32))
    add_text(out, card.name, text)
    return text


def add_text(out: Path, dataset: str, text: TextFeatures) -> None:
    """Put a prompt set into the store at `out`, in place of one of the same recipe; the store is made if need be."""
    no_labels = Labels((), (), (), (), np.zeros((0, 0)))
    if not pack(out, dataset=dataset, card=None, labels=no_labels, texts=[text]).published:
        raise FeaturesError(f"another process is publishing {out}; try again when it is done")


def _add(out: Path, manifest: Manifest, labels: Labels, plans: list[StreamPlan], texts: list[TextFeatures]) -> None:
    if not out.exists():
        write_store(out, dataset=manifest.name, card=manifest.card, labels=labels, streams=plans, texts=texts)
        return
    with open_store(out) as store:
        names = {stream.name for stream in store.streams}
    if any(f"{p.header.backbone}@{p.header.recipe_id}" in names for p in plans):
        raise FeaturesError(
            f"{out} already holds {plans[0].header.backbone} features of this recipe; choose another --out"
        )
    # As parts, the new stream joins the store by the one mechanism there is.
    staged = out.with_name(out.name + ".parts") / f"import@{plans[0].header.recipe_id}.h5"
    write_store(staged, dataset=manifest.name, card=None, labels=labels, streams=plans)
    if not pack(out, dataset=manifest.name, card=manifest.card, labels=labels, texts=texts).published:
        raise FeaturesError(f"another process is publishing {out}; the import waits in {staged} for the next run")
