"""A feature store, independent of its file format: open it, read it, and describe a new one to be written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from longtake.features.columns import ArrayLike
from longtake.features.content import Content, Storage, StreamPlan
from longtake.features.errors import NotAStore, NotInStore
from longtake.features.labels import Labels
from longtake.features.remote import name_of
from longtake.features.store_name import parse_store_name
from longtake.features.stream import Stream
from longtake.features.types import TextFeatures
from longtake.files import is_url
from longtake.manifests.card import Card
from longtake.notebooks import data_frame, html_facts

STORES = {
    ".h5": "longtake.features.formats.hdf5",
    ".hdf5": "longtake.features.formats.hdf5",
    ".zarr": "longtake.features.formats.zarr3",
}
"""Suffix -> module that is a `Format`."""
MOST_NAME_BYTES = 180
RESOLVER = "longtake.features.remotes.resolve"
"""Module that finds stores by name; like formats, it is above this one."""


@dataclass(frozen=True, repr=False)
class Store:
    """An open store. Use it as a context manager, or call `close`."""

    path: Path | str
    """A path or a URL."""
    dataset: str
    card_json: str
    created_utc: str
    num_bytes: int | None
    """On disk; None for a store at a URL that is not one file."""
    storage: Storage
    read_labels: Callable[[], tuple[Labels, Mapping[str, ArrayLike]]]
    streams: tuple[Stream, ...]
    texts: tuple[TextFeatures, ...]
    close: Callable[[], None]

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        contents = [stream.name for stream in self.streams] + [f"texts {text.name}" for text in self.texts]
        return f"Store({str(self.path)!r}: {self.dataset}, {', '.join(contents) or 'empty'})"

    def _repr_html_(self) -> str:
        facts = {"dataset": self.dataset, "written": self.created_utc, "videos with labels": len(self.labels)}
        streams = {stream.name: stream.summary for stream in self.streams}
        return html_facts(str(self.path), {**facts, **streams, "prompt sets": len(self.texts)})

    def to_pandas(self) -> Any:
        """The labels, one row per video: a pandas DataFrame. Raises `LongtakeError` if pandas is not installed."""
        return data_frame(self.labels.to_columns())

    @cached_property
    def _labels(self) -> tuple[Labels, Mapping[str, ArrayLike]]:
        return self.read_labels()

    @property
    def labels(self) -> Labels:
        return self._labels[0]

    @property
    def label_texts(self) -> Mapping[str, ArrayLike]:
        """The columns of text of the labels, as they are in the file."""
        return self._labels[1]

    @property
    def card(self) -> Card | None:
        return None if self.card_json == "null" else Card.from_json(self.card_json)

    def stream(self, choice: str | None = None) -> Stream:
        """The stream of `backbone` or `backbone@recipe`; None is the only stream of the store.

        Raises `NotInStore` if no stream or several streams match.
        """
        have = ", ".join(stream.name for stream in self.streams) or "none"
        backbone, _, recipe = (choice or "").partition("@")
        backbone = backbone.replace("/", ":")  # `timm/NAME` as `extract run` takes it
        named = [stream for stream in self.streams if backbone in ("", stream.header.backbone)]
        found = [stream for stream in named if stream.header.recipe_id.startswith(recipe)]
        if not found:
            wanted = f"features of {choice!r}" if choice else "features"
            raise NotInStore(f"{self.path} holds no {wanted}; it holds {have}")
        if len(found) > 1:
            raise NotInStore(
                f"{self.path} holds several streams: {have}. Choose one with --backbone NAME or NAME@RECIPE"
            )
        return found[0]

    def text(self, name: str) -> TextFeatures:
        """The prompt set of `name` or `name@recipe`. Raises `NotInStore` as `stream` does."""
        have = ", ".join(text.full_name for text in self.texts) or "none"
        wanted, _, recipe = name.partition("@")
        found = [t for t in self.texts if t.name == wanted and t.header.recipe_id.startswith(recipe)]
        if not found:
            raise NotInStore(
                f"{self.path} holds no text features of the prompt set {name!r}; it holds {have}. "
                f"Add them with: extract text --dataset {self.dataset} --out {self.path}"
            )
        if len(found) > 1:
            raise NotInStore(f"{self.path} holds several prompt sets {wanted!r}: {have}. Choose one as NAME@RECIPE")
        return found[0]


class Format(Protocol):
    """A module of `STORES`. A path is a `Path` on this machine; a URL is text."""

    def exists(self, path: Path | str) -> bool: ...

    def open_file(self, path: Path | str) -> Store: ...

    def write_file(self, path: Path | str, content: Content) -> None: ...


def check_store_name(path: Path | str) -> None:
    """Raise `NotAStore` if the name does not end as a store's does, or is too long. Work that ends in a store checks this before it starts."""
    _format_of(path)
    if (length := len(os.fsencode(name_of(path)))) > MOST_NAME_BYTES:
        raise NotAStore(
            f"{path}: the name of a store may have {MOST_NAME_BYTES} bytes, so that names of temporary files fit, got {length}"
        )


def _format_of(path: Path | str) -> Format:
    suffix = Path(name_of(path)).suffix
    if suffix not in STORES:
        known = ", ".join(STORES)
        raise NotAStore(f"{path}: the name of a store must end in {known}, got {repr(suffix) if suffix else 'none'}")
    return cast(Format, import_module(STORES[suffix]))


def _place(path: Path | str) -> Path | str:
    return path if is_url(path) else Path(path)


def store_exists(path: Path | str) -> bool:
    """Whether a store was published at `path`; incomplete files of a killed writer do not count. False for an HDF5 file at a URL, where
    none can be written. Raises `NotAStore` for a URL that cannot be reached."""
    return _format_of(path).exists(_place(path))


def storage_for(path: Path | str, source: Store) -> Storage:
    """The storage of a copy of `source` at `path`. A copy in another format gets the default compression of that format."""
    if _format_of(path) is _format_of(source.path):
        return source.storage
    return replace(source.storage, compression=Storage.compression)


def find_store(path: Path | str) -> Path | str:
    """The path of the store that a name such as `rg@2026-11-29` means, which is pulled if it is not here yet; a path or URL as it is. Raises
    `NotInStore` for a name that means nothing."""
    name = None if is_url(path) or Path(path).exists() else parse_store_name(path)
    if name is None:
        return path
    found: Path = import_module(RESOLVER).resolve(name)
    return found


def open_store(path: Path | str) -> Store:
    """Open a store for reading, from a path, a URL (https://, s3://, ...) or a name (`rg@2026-11-29`, see `find_store`). Raises `NotAStore` if
    it is missing or damaged."""
    path = find_store(path)
    return _format_of(path).open_file(_place(path))


def write_store(
    path: Path | str, *, dataset: str, card: Card | None, labels: Labels, streams: Iterable[StreamPlan],
    texts: Iterable[TextFeatures] = (), storage: Storage | None = None, replaced: Store | None = None, named_axes: bool = True,
) -> None:  # fmt: skip
    """Publish a whole store at `path`. Readers see the old store or the new one. `replaced` is the old one, where it has been read."""
    card_json = "null" if card is None else card.to_json()
    before, columns = (replaced.labels.texts, replaced.label_texts) if replaced else ({}, {})
    label_texts = {name: columns[name] for name, values in labels.texts.items() if before.get(name) == values}
    content = Content(
        dataset, card_json, labels, list(streams), list(texts), storage or Storage(), label_texts, named_axes
    )
    place = _place(path)
    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
    _format_of(path).write_file(place, content)
