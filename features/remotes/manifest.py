"""The manifest of a version: its card, and which texts hold its labels, tables and prompt sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from longtake.checks import build, read_json
from longtake.errors import LongtakeError
from longtake.features.content import Storage
from longtake.features.errors import InvalidFeatures, NotAStore
from longtake.features.labels import Labels
from longtake.features.remotes.pieces import MOST_PACKED_BYTES, Ref, hash_of, json_bytes, text_path, unpacked
from longtake.features.remotes.place import Place
from longtake.features.remotes.tables import VideoRow, labels_from, require_texts, rows_from
from longtake.features.types import FeatureHeader, TextFeatures, TextHeader
from longtake.manifests.card import Card

DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class StreamRef:
    header: str
    """JSON."""
    dtype: str
    rows: Ref

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise InvalidFeatures(f"features of the type {self.dtype[:20]!r}")

    @property
    def read_header(self) -> FeatureHeader:
        return FeatureHeader.from_json(self.header)

    @property
    def numpy_dtype(self) -> np.dtype:
        return np.dtype(self.dtype)


@dataclass(frozen=True)
class TextRef:
    name: str
    header: str
    texts: tuple[str, ...]
    groups: tuple[str, ...]
    features: Ref

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name or "@" in self.name:
            raise InvalidFeatures(f"a prompt set named {self.name[:80]!r}")
        require_texts((self.name, *self.texts, *self.groups), f"prompt set {self.name[:80]}")


@dataclass(frozen=True)
class Manifest:
    dataset: str
    card_json: str
    storage: Storage
    labels: Ref
    streams: tuple[StreamRef, ...]
    texts: tuple[TextRef, ...]

    def __post_init__(self) -> None:
        require_texts((self.dataset, self.card_json), "it")

    def to_bytes(self) -> bytes:
        return json_bytes(asdict(self))

    @property
    def card(self) -> Card | None:
        return None if self.card_json == "null" else Card.from_json(self.card_json)

    @property
    def headers(self) -> Mapping[str, StreamRef]:
        """`backbone@recipe_id` -> its stream."""
        return {stream.read_header.stream_name: stream for stream in self.streams}

    def content_id(self, rows: Mapping[str, Sequence[VideoRow]]) -> str:
        """Of the content, without the places of its bytes; `rows` of each stream by its name."""
        streams = {
            name: [ref.dtype, hash_of("\n".join(row.identity for row in rows[name]).encode())]
            for name, ref in self.headers.items()
        }
        facts = [self.dataset, self.card_json, self.labels.sha256, streams, [asdict(text) for text in self.texts]]
        return hash_of(json_bytes(facts))


def read_text(place: Place, ref: Ref) -> bytes:
    """Raises `NotAStore` if it is missing or damaged."""
    path = text_path(ref.sha256)
    packed = place.read(path, MOST_PACKED_BYTES)
    if packed is None:
        raise NotAStore(f"{place.url}/{path} is missing: the remote is not whole")
    return unpacked(packed, ref, f"{place.url}/{path}")


def read_manifest(place: Place, ref: Ref) -> Manifest:
    where = f"{place.url}/{text_path(ref.sha256)}"
    return build(Manifest, read_json(read_text(place, ref), where, NotAStore), where, NotAStore)


def read_labels(place: Place, manifest: Manifest) -> Labels:
    return labels_from(read_text(place, manifest.labels), f"{place.url}/{text_path(manifest.labels.sha256)}")


def read_rows(place: Place, stream: StreamRef) -> list[VideoRow]:
    return rows_from(read_text(place, stream.rows), f"{place.url}/{text_path(stream.rows.sha256)}")


def read_prompt_sets(place: Place, texts: Sequence[TextRef]) -> list[TextFeatures]:
    """Raises `NotAStore` for one that is damaged, or in the manifest twice."""
    found = [_read_prompt_set(place, text) for text in texts]
    if len({text.full_name for text in found}) < len(found):
        raise NotAStore(f"{place.url}: a prompt set is in the manifest twice")
    return found


def _read_prompt_set(place: Place, text: TextRef) -> TextFeatures:
    where = f"{place.url}/{text_path(text.features.sha256)}"
    data = read_text(place, text.features)
    try:
        header = TextHeader.from_json(text.header, where)
        if not 1 <= header.dim <= 1 << 20 or len(data) != len(text.texts) * header.dim * 4:
            raise NotAStore(f"{where}: {len(text.texts)} texts of {header.dim} values, but {len(data)} bytes")
        features = np.frombuffer(data, "<f4").reshape(len(text.texts), header.dim).astype(np.float32, copy=False)
        return TextFeatures(text.name, header, text.texts, text.groups, features)
    except LongtakeError as error:
        raise NotAStore(f"{where}: {error}") from error
