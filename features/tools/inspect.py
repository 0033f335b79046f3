"""Describe a store, verify it, list its videos, and compare two. Results are plain data, which the command prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from longtake.errors import LongtakeError
from longtake.features.errors import Damaged, FeaturesError, InvalidFeatures, NotAStore
from longtake.features.failures import failures_of
from longtake.features.joins import card_differences
from longtake.features.labels import NO_LABELS, Labels, label_conflicts
from longtake.features.store import Store
from longtake.features.stream import Clips, Stream
from longtake.features.types import OK, VideoFeatures, VideoRecord
from longtake.manifests.card import Card
from longtake.manifests.pretrained import licence_of


def describe(store: Store) -> dict[str, Any]:
    """The facts that `features info` prints."""
    labels = store.labels
    with_boundary = np.sum(~np.isnan(labels.boundaries), axis=0).tolist()
    return {
        "path": str(store.path),
        "bytes": store.num_bytes,
        "dataset": store.dataset,
        "created_utc": store.created_utc,
        "title": store.card.title if store.card else None,
        "licence": store.card.licence if store.card else None,
        "videos_labelled": len(labels),
        "splits": _counts(labels.splits),
        "categories": _counts(labels.categories),
        "groups": {
            name: {"of": len(set(values) - {""}), "videos": sum(map(bool, values))}
            for name, values in labels.groups.items()
        },
        "scores": dict(zip(labels.score_names, np.sum(~np.isnan(labels.scores), axis=0).tolist())),
        "boundaries": {str(number): count for number, count in enumerate(with_boundary, 1)},
        "random_weights": any(s.header.weights_random for s in store.streams)
        or any(t.header.weights_random for t in store.texts),
        "streams": [_describe_stream(store, stream) for stream in store.streams],
        "text": [
            {
                "name": text.name,
                "recipe_id": text.header.recipe_id,
                "encoder": text.header.encoder,
                "weights": text.header.weights,
                "weights_licence": licence_of(text.header.weights),
                "weights_random": text.header.weights_random,
                "dim": text.header.dim,
                "groups": _counts(text.groups),
            }
            for text in store.texts
        ],
    }


def _describe_stream(store: Store, stream: Stream) -> dict[str, Any]:
    held = {record.video_id for record in stream.records}
    clips = [count for count in stream.counts if count]
    return {
        "name": stream.name,
        "recipe": stream.header.to_dict(),
        "weights_licence": licence_of(stream.header.weights),
        "dtype": str(stream.features.dtype),
        "videos": sum(record.status == OK for record in stream.records),
        "clips": stream.num_clips,
        "clips_per_video": [min(clips), int(np.median(clips)), max(clips)] if clips else [],
        "failed": [asdict(failure) for failure in failures_of(stream.records)],
        "decoders": _counts(tuple(record.decoder for record in stream.records)),
        "damaged": {
            r.video_id: int(r.damaged_frames) for r in stream.records if r.status == OK and r.damaged_frames > 0
        },
        "missing": [video_id for video_id in store.labels.video_ids if video_id not in held],
    }


def _counts(values: tuple[str, ...]) -> dict[str, int]:
    return {value: count for value, count in Counter(values).items() if value}


def list_videos(store: Store, backbone: str | None = None) -> list[dict[str, Any]]:
    """The record, labels and number of clips of each video of a stream. Raises `NotInStore`."""
    stream, labels = store.stream(backbone), store.labels.rows()
    return [
        {**asdict(record), **asdict(labels.get(record.video_id, NO_LABELS)), "clips": num_clips}
        for record, num_clips in zip(stream.records, stream.counts)
    ]


def verify(store: Store, expected: Labels | None = None) -> list[str]:
    """Every fault of a store, one line each: values, checksums, times, videos without labels. Reads all of the store.

    With the labels of a manifest as `expected`, also missing videos and labels that differ.
    """
    return [fault for faults in faults_by_kind(store, expected).values() for fault in faults]


def faults_by_kind(store: Store, expected: Labels | None = None) -> dict[str, list[str]]:
    """What `verify` returns, by kind: `damage`, `labels`, `missing`, `unlabelled`, `twice`, `boundaries`, `card`; kinds without a fault are left out."""
    faults = {"damage": damaged(store)}
    # What the rest would need but cannot be read is among the faults already.
    with suppress(LongtakeError):
        faults |= _contradictions(store, expected)
    return {kind: found for kind, found in faults.items() if found}


def damaged(store: Store) -> list[str]:
    """What cannot be read, breaks the contract or does not match its checksum, one line each. Reads all of the store."""
    faults = _unreadable(lambda: store.labels)
    for stream in store.streams:
        unreadable = _unreadable(partial(_read_table, stream))
        faults += unreadable or _damaged_videos(stream)
    return faults


def _read_table(stream: Stream) -> object:
    return stream.videos.video_ids, stream.records, stream.videos.checksums


def _unreadable(read: Callable[[], object]) -> list[str]:
    try:
        read()
        return []
    except LongtakeError as error:
        return [str(error)]


def _damaged_videos(stream: Stream) -> list[str]:
    faults = []
    row = 0
    try:
        for row, (record, clips) in enumerate(stream.each()):
            faults += _fault(stream, row, record, clips)
        return faults
    except NotAStore:
        pass
    # A block cannot be read: from here on, read single videos to find which.
    for later in range(row, len(stream.videos)):
        record = stream.records[later]
        begin, end = int(stream.offsets[later]), int(stream.offsets[later + 1])
        try:
            faults += _fault(stream, later, record, stream.read_clips(begin, end))
        except Damaged as error:
            faults.append(str(error))
        except NotAStore as error:
            faults.append(f"{stream.name} {record.video_id}: {error}")
    return list(dict.fromkeys(faults))


def _fault(stream: Stream, row: int, record: VideoRecord, clips: Clips) -> list[str]:
    try:
        features, starts, ends = clips
        video = VideoFeatures(record, features, starts, ends)
    except InvalidFeatures as error:
        return [f"{stream.name} {error}"]
    if video.sha256 != stream.videos.checksums[row]:
        return [f"{stream.name} {record.video_id}: its features do not match their checksum"]
    return []


def _contradictions(store: Store, expected: Labels | None) -> dict[str, list[str]]:
    """Where labels, streams, the card and the expected labels contradict each other, by kind."""
    faults: dict[str, list[str]] = {
        kind: [] for kind in ("labels", "missing", "unlabelled", "twice", "boundaries", "card")
    }
    if expected is not None:
        faults["labels"] = [f"labels: {line}" for line in label_conflicts(store.labels, expected)]
        for stream in store.streams:
            held = {v for v, status in zip(stream.videos.video_ids, stream.videos.statuses) if status == OK}
            faults["missing"] += [f"{stream.name} {name}: missing" for name in expected.video_ids if name not in held]
    known = set(store.labels.video_ids)
    for stream in store.streams:
        ids = stream.videos.video_ids
        faults["unlabelled"] += [f"{stream.name} {name}: not among the labels" for name in ids if name not in known]
        if len(set(ids)) != len(ids):
            faults["twice"].append(f"{stream.name}: a video is in it twice")
        faults["boundaries"] += _boundaries_outside(store.labels, stream)
    faults["card"] = _out_of_range(store.labels, store.card) if store.card else []
    return faults


def _boundaries_outside(labels: Labels, stream: Stream) -> list[str]:
    faults = []
    # Of imported features whose times are unknown, seconds say nothing.
    rows = stream.rows() if labels.boundaries.size and stream.header.times_known else {}
    for video_id, boundaries in zip(labels.video_ids, labels.boundaries):
        known = boundaries[~np.isnan(boundaries)]
        begin, end = (int(stream.offsets[rows[video_id] + i]) for i in (0, 1)) if video_id in rows else (0, 0)
        if begin == end or not len(known):
            continue
        first = float(np.min(stream.start_seconds[begin:end]))
        last = float(np.max(stream.end_seconds[begin:end]))
        faults += [
            f"{stream.name} {video_id}: boundary of stages at {value:g} s, outside its clips, {first:g} to {last:g} s"
            for value in known[(known <= first) | (known >= last)]
        ]
    return faults


def _out_of_range(labels: Labels, card: Card) -> list[str]:
    faults = []
    for kind, values, allowed in (
        ("split", labels.splits, card.splits),
        ("category", labels.categories, card.categories),
        ("score", labels.score_names, tuple(card.scores)),
    ):
        unknown = sorted({value for value in values if value and value not in allowed}) if allowed else ()
        faults += [f"labels: the card of {card.name} has no {kind} {value!r}" for value in unknown]
    for video_id, row in labels.rows().items():
        for name, score in row.scores.items():
            limits = card.scores.get(name)
            if limits and not limits.minimum <= score <= limits.maximum:
                outside = f"outside {limits.minimum:g} to {limits.maximum:g}"
                faults.append(f"{video_id}: score {name} is {score:g}, {outside}")
    return faults


@dataclass(frozen=True)
class Difference:
    """One difference of two stores."""

    kind: str
    """`damage`, `dataset`, `card`, `labels`, `group`, `stream`, `video`, `values`, `times`, `text`."""
    what: str
    detail: str


def diff(one: Store, other: Store) -> list[Difference]:
    """All differences in content, and what is damaged. Reads all of both. Dates and the order of streams are ignored."""
    found = [Difference("damage", str(store.path), fault) for store in (one, other) for fault in damaged(store)]
    if one.dataset != other.dataset:
        found.append(Difference("dataset", one.dataset, f"{one.dataset} against {other.dataset}"))
    found += [Difference("card", name, "differs") for name in card_differences(one.card, other.card)]
    found += [Difference("labels", line.split(":")[0], line) for line in label_conflicts(one.labels, other.labels)]
    found += _only("group", set(one.labels.groups), set(other.labels.groups))
    found += _only("labels", set(one.labels.video_ids), set(other.labels.video_ids))
    ours, theirs = ({s.name: s for s in store.streams} for store in (one, other))
    found += _only("stream", set(ours), set(theirs))
    by_backbone = {s.header.backbone: s for s in other.streams}
    for name in sorted(set(ours) - set(theirs)):
        twin = by_backbone.get(ours[name].header.backbone)
        if twin is not None:
            fields = ours[name].header.differences(twin.header)
            detail = "; ".join(f"{field}: {a!r} against {b!r}" for field, (a, b) in fields.items())
            found.append(Difference("stream", name, f"recipes differ in {detail}"))
    for name in sorted(set(ours) & set(theirs)):
        found += _diff_stream(ours[name], theirs[name])
    our_texts, their_texts = ({text.full_name: text for text in store.texts} for store in (one, other))
    found += _only("text", set(our_texts), set(their_texts))
    for name in sorted(set(our_texts) & set(their_texts)):
        if not our_texts[name].equals(their_texts[name]):
            found.append(Difference("text", name, "texts or their features differ"))
    return found


def _only(kind: str, ours: set[str], theirs: set[str]) -> list[Difference]:
    found = [Difference(kind, name, "only in the first") for name in sorted(ours - theirs)]
    return found + [Difference(kind, name, "only in the second") for name in sorted(theirs - ours)]


def _diff_stream(ours: Stream, theirs: Stream) -> list[Difference]:
    our_rows, their_rows = ours.rows(), theirs.rows()
    our_times, their_times = (np.stack([s.start_seconds[:], s.end_seconds[:]], 1) for s in (ours, theirs))
    found = _only("video", set(our_rows), set(their_rows))
    for video_id in (v for v in our_rows if v in their_rows):
        a, b = our_rows[video_id], their_rows[video_id]
        clips = [slice(*stream.offsets[row : row + 2]) for stream, row in ((ours, a), (theirs, b))]
        if ours.records[a].status != theirs.records[b].status:
            detail = f"status {ours.records[a].status} against {theirs.records[b].status}"
            found.append(Difference("video", f"{ours.name} {video_id}", detail))
        elif ours.videos.checksums[a] != theirs.videos.checksums[b]:
            found.append(Difference("values", f"{ours.name} {video_id}", _compare(ours, a, theirs, b)))
        elif not np.array_equal(our_times[clips[0]], their_times[clips[1]]):
            found.append(Difference("times", f"{ours.name} {video_id}", "its clips start or end at other seconds"))
    return found


def _compare(ours: Stream, a: int, theirs: Stream, b: int) -> str:
    try:
        one, other = ours.read(a).features.astype(np.float64), theirs.read(b).features.astype(np.float64)
    except FeaturesError as error:
        return str(error)
    if one.shape != other.shape:
        return f"{len(one)} clips against {len(other)}"
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosine = np.sum(one * other, axis=1) / np.where(lengths > 0, lengths, 1)
    return f"largest difference {np.abs(one - other).max():.3g}, lowest cosine {cosine.min():.6f}"
