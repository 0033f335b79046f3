"""What `features info` prints: the facts of a store in lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from longtake.features.failures import MOST_SHOWN, Failure, failure_lines

RANDOM_NOTE = "RANDOM weights: these features are for trying things out, not for results"


def summary(facts: Mapping[str, Any], show_all: bool = False) -> Iterator[str]:
    """Lines of the facts that `describe` gives; lists of videos are cut unless all are asked for."""
    yield f"{facts['path']}: {facts['title'] or facts['dataset']} {size(facts['bytes'])}"
    yield f"  written   {facts['created_utc']}"
    yield f"  videos    {facts['videos_labelled']} ({counted(facts['splits'])})"
    yield f"  category  {counted(facts['categories'])}"
    for name, group in facts["groups"].items():
        yield f"  group     {name}: {group['of']} in {group['videos']} videos"
    yield f"  scores    {counted(facts['scores'])}"
    if facts["boundaries"]:
        yield f"  stages    videos with boundary {counted(facts['boundaries'])}"
    for stream in facts["streams"]:
        yield from _stream(stream, show_all)
    for text in facts["text"]:
        yield f"  text {text['name']}@{text['recipe_id']}: {text['encoder']}, {text['dim']} wide, {counted(text['groups'])}"
        if text["weights_random"]:
            yield f"    {RANDOM_NOTE}"


def _stream(stream: Mapping[str, Any], show_all: bool) -> Iterator[str]:
    recipe = stream["recipe"]
    yield f"  {stream['name']}: {stream['videos']} videos, {stream['clips']} clips x {recipe['dim']} {stream['dtype']}"
    if recipe["weights_random"]:
        yield f"    {RANDOM_NOTE}"
    yield f"    weights {recipe['weights']}, sha256 {recipe['weights_sha256'] or 'unknown'}"
    yield f"    {_clips_of(recipe)}"
    if len(stream["decoders"]) > 1:
        yield f"    videos read: {', '.join(f'{count} by {name}' for name, count in stream['decoders'].items())}"
    if stream["damaged"]:
        counts = first([f"{video_id} ({count})" for video_id, count in stream["damaged"].items()], show_all)
        yield f"    damaged pictures in {counts}"
    if stream["missing"]:
        yield f"    missing {len(stream['missing'])}: {first(stream['missing'], show_all)}"
    for line in failure_lines([Failure(**failure) for failure in stream["failed"]], show_all):
        yield f"    {line}"


def _clips_of(recipe: Mapping[str, Any]) -> str:
    length, stride, tail = (recipe[name] or "unknown" for name in ("clip_length", "clip_stride", "tail"))
    # Without a rate, extracted features have every frame; of imported features the rate is not known.
    rate = "an unknown rate" if recipe["origin"].startswith("imported") else "every frame"
    if recipe["fps"] is not None:
        rate = f"{recipe['fps']:g} frames per second"
    return f"clips of {length} every {stride} at {rate}, tail {tail}"


def size(num_bytes: int | None) -> str:
    return "" if num_bytes is None else f" ({num_bytes / 1e6:.1f} MB)"


def counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def first(names: Sequence[str], show_all: bool = False) -> str:
    """The first names of a long list, or all."""
    if show_all or len(names) <= MOST_SHOWN:
        return ", ".join(names)
    return ", ".join([*names[:MOST_SHOWN], "..."])
