"""Import features made elsewhere into a store, with their labels and what is known of their recipe."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

import numpy as np

from longtake.errors import LongtakeError, LongtakeWarning, listed, printable
from longtake.features.content import StreamItem
from longtake.features.errors import FeaturesError, InvalidFeatures
from longtake.features.found_parts import find_parts
from longtake.features.imports.axes import look_transposed
from longtake.features.imports.layouts import LAYOUTS, SourceVideo, find_videos
from longtake.features.imports.mapping import Found
from longtake.features.imports.safe_pickle import read_array
from longtake.features.joins import require_may_join, require_one_recipe
from longtake.features.labels import Labels, labels_of, no_labels
from longtake.features.parts import add_text, pack, pack_or_wait, part_writer, parts_folder
from longtake.features.store import open_store, store_exists
from longtake.features.types import FeatureHeader, TextFeatures, TextHeader, VideoFeatures, VideoRecord, underflows
from longtake.files import file_sha256
from longtake.manifests.card import Card, find_card
from longtake.manifests.table import Manifest, composed, find_manifest

SHOWN = 10
"""Videos of a dry run."""


@dataclass(frozen=True)
class KnownRecipe:
    """What the user knows of the recipe of imported features; None is unknown, and stays unknown in the store."""

    weights: str = "unknown"
    clip_length: int | None = None
    clip_stride: int | None = None
    fps: float | None = None
    tail: str | None = None
    modality: str = "video"
    """`video`, `audio` or `image`. The files do not contain it."""

    def __post_init__(self) -> None:
        for name in ("clip_length", "clip_stride", "fps"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise FeaturesError(f"--{name.replace('_', '-')} must be a number above 0, got {value}")


@dataclass(frozen=True)
class Imported:
    header: FeatureHeader
    num_videos: int
    num_clips: int
    without_labels: tuple[str, ...]
    """Videos without labels, which are left out."""
    without_features: tuple[str, ...]
    """Labelled videos that are not in the files."""
    faults: tuple[str, ...] = ()
    """Bad files and videos, which are left out."""
    shown: tuple[tuple[str, str, str, str], ...] = ()
    """Of a dry run, for the first videos: id, place, clips and width, and the seconds from the first clip to the last."""


def read_label_files(layout: str, files: Sequence[Path], dataset: str) -> Manifest:
    """The authors' label files of a dataset, or its own table if there are no files."""
    return LAYOUTS[layout].labels(files, find_card(dataset)) if files else find_manifest(dataset)


def import_videos(
    layout: str, source: Path, out: Path, manifest: Manifest, *, backbone: str, known: KnownRecipe,
    dtype: str = "float32", pattern: str | None = None, beside: bool = False, found: Found | None = None, origin: str = "",
    dry_run: bool = False,
) -> Imported:  # fmt: skip
    """Import features in one of `LAYOUTS`, or those that a mapping `found`, into the store at `out`, which may exist. Bad files are left out
    and are in the answer. Raises `InvalidFeatures` if all are bad or if widths differ, and `FeaturesError` if there is nothing to import."""
    require_may_join(out, manifest.name, manifest.card)
    videos = found.videos if found else find_videos(layout, source, pattern)
    labels = labels_of(manifest)
    videos = _spelled(videos, labels.video_ids)
    wanted = [video_id for video_id in labels.video_ids if video_id in videos]
    if not wanted:
        raise FeaturesError(
            f"none of the {len(videos)} videos in {source} is a video of {manifest.name}; "
            f"there: {', '.join(list(videos)[:3])}, ...; wanted: {', '.join(labels.video_ids[:3])}, ..."
            + ("; say with --ids and --features where the ids are" if found else "")
        )
    shapes, faults = _shapes(videos, wanted, dtype)
    dims = {shape[1] for shape in shapes.values()}
    faults += found.faults if found else ()
    if not shapes:
        raise InvalidFeatures(f"{source}:{listed(faults)}")
    if look_transposed(list(shapes.values()), has_rule="axes" in origin):
        first_axis = next(iter(shapes.values()))[0]
        raise InvalidFeatures(
            f"{source}: the first axis of all {len(shapes)} arrays is {first_axis}, and the second {', '.join(map(str, sorted(dims)[:5]))}, so "
            f"these seem to be (dim, clips): say --layout files --axes feature,clip, or --axes clip,feature if they are (clips, dim)"
        )
    if len(dims) > 1:
        first = {dim: next(v for v, shape in shapes.items() if shape[1] == dim) for dim in sorted(dims)}
        raise InvalidFeatures(
            f"{source}: videos of different widths: "
            + ", ".join(f"{dim} ({videos[v].path.name})" for dim, v in first.items())
        )
    header = FeatureHeader(
        backbone=backbone, modality=known.modality, dim=dims.pop(), weights=known.weights, weights_sha256=None,
        weights_random=False, clip_length=known.clip_length, clip_stride=known.clip_stride, tail=known.tail,
        fps=known.fps, precision=None, origin=origin or f"imported: {layout}",
    )  # fmt: skip
    now, digest = datetime.now(UTC).isoformat(timespec="seconds"), cache(file_sha256)
    items = []
    for video_id in shapes:
        path = videos[video_id].path
        record = VideoRecord(video_id, source_name=printable(path.name), source_sha256=digest(path), finished_utc=now)
        read = partial(_video, record, videos[video_id], header, dtype)
        items.append(StreamItem(record, shapes[video_id][0], read))
    _require_new(out, header, beside, dry_run)
    if not dry_run:
        _add(out, manifest, labels, header, items, beside)
    return Imported(
        header,
        len(shapes),
        sum(shape[0] for shape in shapes.values()),
        tuple(sorted(set(videos) - set(labels.video_ids))),
        tuple(video_id for video_id in labels.video_ids if video_id not in videos),
        tuple(faults),
        _first(videos, shapes, header) if dry_run else (),
    )


def _spelled(videos: Mapping[str, SourceVideo], video_ids: Sequence[str]) -> dict[str, SourceVideo]:
    """The videos by their ids as the labels write them: some systems decompose the accents in names of files. Raises `InvalidFeatures`."""
    as_labelled = {composed(video_id): video_id for video_id in video_ids}
    made: dict[str, SourceVideo] = {}
    for found, video in videos.items():
        video_id = as_labelled.get(composed(found), found)
        if video_id in made:
            raise InvalidFeatures(
                f"{made[video_id].path} and {video.path} are both video {video_id}: remove one of them"
            )
        made[video_id] = video
    return made


def _first(
    videos: Mapping[str, SourceVideo], shapes: Mapping[str, tuple[int, int]], header: FeatureHeader
) -> tuple[tuple[str, str, str, str], ...]:
    rows = []
    for video_id, (num_clips, dim) in list(shapes.items())[:SHOWN]:
        spans = _spans(videos[video_id], num_clips, header)
        span = f"{spans[0, 0]:.2f} to {spans[-1, 1]:.2f} s" if spans is not None else "unknown"
        rows.append((video_id, videos[video_id].where or videos[video_id].path.name, f"{num_clips} x {dim}", span))
    return tuple(rows)


def _spans(video: SourceVideo, num_clips: int, header: FeatureHeader) -> np.ndarray | None:
    """Start and end of each clip: those of the files, else by the rule; None where there is neither."""
    if video.seconds is not None:
        return video.seconds(num_clips)
    if header.clip_length is None or header.clip_stride is None or header.fps is None:
        return None
    starts = np.arange(num_clips) * header.clip_stride / header.fps
    return np.stack([starts, starts + header.clip_length / header.fps], 1)


def _shapes(
    videos: Mapping[str, SourceVideo], wanted: Sequence[str], dtype: str
) -> tuple[dict[str, tuple[int, int]], list[str]]:
    shapes: dict[str, tuple[int, int]] = {}
    faults = []
    for video_id in wanted:
        try:
            array = videos[video_id].read()
        except InvalidFeatures as error:
            faults.append(str(error) if video_id in str(error) else f"{video_id}: {error}")
            continue
        name = f"{videos[video_id].path.name}: {video_id}"
        if not isinstance(array, np.ndarray):
            faults.append(f"{name}: {type(array).__name__}; floats of (clips, dim) expected")
        elif array.ndim != 2 or array.dtype.kind != "f" or 0 in array.shape:
            faults.append(f"{name}: {array.dtype} {array.shape}; floats of (clips, dim) expected")
        elif not np.isfinite(array).all():
            faults.append(f"{name}: contains NaN or infinity")
        elif not np.isfinite(_converted(array, dtype)).all():
            faults.append(f"{name}: values up to {np.abs(array).max():.3g} are too large for {dtype}")
        elif (seconds := videos[video_id].seconds) is not None:
            try:
                seconds(len(array))
                shapes[video_id] = array.shape
            except InvalidFeatures as error:
                faults.append(f"{name}: {error}")
        else:
            shapes[video_id] = array.shape
    return shapes, faults


def _video(record: VideoRecord, video: SourceVideo, header: FeatureHeader, dtype: str) -> VideoFeatures:
    source = np.asarray(video.read())
    array = _converted(source, dtype)
    if lost := underflows(source, array):
        message = f"{record.video_id}: {lost} values became 0, because {dtype} has no number so small"
        warnings.warn(message, LongtakeWarning, stacklevel=2)
    spans = _spans(video, len(array), header)
    if spans is None:  # Without a known rule, each clip gets one second.
        starts = np.arange(len(array), dtype=np.float64)
        spans = np.stack([starts, starts + 1], 1)
    return VideoFeatures(record, array, spans[:, 0], spans[:, 1])


def _converted(array: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):  # values too large for the type become infinite
        return array.astype(dtype, copy=False)


def import_text(source: Path, out: Path, card: Card, prompt_set: str, *, encoder: str, weights: str) -> TextFeatures:
    """Import text features, whose rows are the texts of a prompt set of the card, into the store at `out`, which may exist. Raises
    `InvalidFeatures` for an array that does not fit the texts, `FeaturesError` for a prompt set that the card does not have."""
    if prompt_set not in card.prompts:
        raise FeaturesError(f"{card.name} has no prompt set {prompt_set!r}; it has {', '.join(card.prompts) or 'none'}")
    array = read_array(source)
    prompts = card.prompts[prompt_set]
    if array.ndim != 2 or len(array) != len(prompts.texts) or array.dtype.kind not in "fiu":
        raise InvalidFeatures(
            f"{source} holds {array.dtype} {array.shape}; prompt set {prompt_set} of {card.name} has {len(prompts.texts)} texts, "
            f"so numbers of ({len(prompts.texts)}, dim) are expected"
        )
    header = TextHeader(
        encoder, int(array.shape[1]), weights, None, weights_random=False, origin=f"imported: {file_sha256(source)}"
    )
    groups = tuple(group for group, texts in prompts.groups.items() for _ in texts)
    text = TextFeatures(prompt_set, header, prompts.texts, groups, array.astype(np.float32))
    add_text(out, card.name, card, text)
    return text


def _require_new(out: Path, header: FeatureHeader, beside: bool, dry_run: bool) -> None:
    held: list[FeatureHeader] = []
    if store_exists(out):
        with open_store(out) as store:
            held, dataset = [stream.header for stream in store.streams], store.dataset
    if any(other.recipe_id == header.recipe_id for other in held):
        if not dry_run:
            _remove_parts(out, dataset, header)
        raise FeaturesError(f"{out} already holds {header.backbone} features of this recipe; choose another --out")
    if not beside:
        require_one_recipe(held, [header], out)


def _remove_parts(out: Path, dataset: str, header: FeatureHeader) -> None:
    """Those of the same import, which may have been killed after it was published. Parts of others stay."""
    with suppress(LongtakeError, OSError):
        recipes = {
            one.recipe_id
            for found in find_parts(parts_folder(out), memory=0)
            for part in found.parts
            for one in part.headers()
        }
        if recipes == {header.recipe_id}:
            pack(out, dataset=dataset, card=None, labels=no_labels())


def _add(
    out: Path, manifest: Manifest, labels: Labels, header: FeatureHeader, items: Sequence[StreamItem], beside: bool
) -> None:
    # The videos are written to a segment and packed: another process may publish the same store. It is seen when it is whole.
    row_of = {video_id: row for row, video_id in enumerate(labels.video_ids)}
    with part_writer(out, at_once=False) as parts:
        for item in items:
            video = item.read()
            parts.append(manifest.name, labels.subset([row_of[video.record.video_id]]), {header: video})
    packed = pack_or_wait(
        out, dataset=manifest.name, card=manifest.card, labels=labels, beside=beside, headers=[header]
    )
    packed.require_published(out)
