"""Croissant 1.1 metadata of a store: JSON-LD that search engines of datasets and other people's loaders read.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longtake.features.store import Store
from longtake.features.tools.cite import bibtex
from longtake.files import file_sha256

MOST_ROWS = 5000
"""Videos whose labels are in the metadata themselves; more are described only."""
CONTEXT: dict[str, Any] = {
    "@language": "en", "@vocab": "https://schema.org/", "arrayShape": "cr:arrayShape", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo", "containedIn": "cr:containedIn", "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/", "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty", "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract",
    "field": "cr:field", "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject", "fileSet": "cr:fileSet", "format": "cr:format",
    "includes": "cr:includes", "isArray": "cr:isArray", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key",
    "md5": "cr:md5", "name": {"@container": "@language"}, "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace",
    "samplingRate": "cr:samplingRate", "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source",
    "subField": "cr:subField", "transform": "cr:transform",
}  # fmt: skip


@dataclass(frozen=True)
class File:
    """A file of the store, as it is distributed."""

    name: str
    url: str
    """Absolute, or relative to the metadata."""
    num_bytes: int
    sha256: str
    encoding: str


def croissant(store: Store, files: Sequence[File], *, version: str, date: str) -> bytes:
    """The JSON of a `sc:Dataset`. `version` is three numbers with dots; `date` is a day, empty if it is not known."""
    card = store.card
    facts: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": f"{store.dataset}-features",
        "description": f"Features of {card.title if card else store.dataset}, made with Longtake: "
        + "; ".join(f"{s.header.backbone}, {len(s.videos)} videos, {s.num_clips} clips x {s.header.dim}" for s in store.streams),
        "version": version,
        **({"datePublished": date} if date else {}),
        "license": (card.licence if card else "") or "unknown",
        "url": files[0].url if files else f"urn:longtake:{store.dataset}",
        "distribution": [_file(file) for file in files],
        "citeAs": bibtex(store),
    }  # fmt: skip
    if card is not None:
        facts["creator"] = [
            {"@type": "sc:Person", "name": name.strip()} for name in card.authors.split(",") if name.strip()
        ]
        if card.doi:
            facts["sameAs"] = f"https://doi.org/{card.doi}"
    if 0 < len(store.labels) <= MOST_ROWS:
        facts["recordSet"] = [_videos(store)]
    return json.dumps(facts, indent=1, ensure_ascii=True, allow_nan=False).encode()


def croissant_of(store: Store) -> str:
    """Of a store as it is: an HDF5 file is in it with its SHA-256, a Zarr store or URL only described."""
    files = []
    if isinstance(store.path, Path) and store.path.is_file():
        size = store.path.stat().st_size
        files = [File(store.path.name, store.path.name, size, file_sha256(store.path), "application/x-hdf5")]
    # The specification wants three numbers; the date is text of an untrusted file.
    day = re.match(r"([0-9]{4})-0?([0-9]+)-0?([0-9]+)", store.created_utc)
    version, date = (".".join(day.groups()), day[0]) if day else ("0.0.0", "")
    return croissant(store, files, version=version, date=date).decode() + "\n"


def _file(file: File) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject", "@id": file.name, "name": file.name, "contentUrl": file.url, "contentSize": f"{file.num_bytes} B",
        "encodingFormat": file.encoding, "sha256": file.sha256,
    }  # fmt: skip


def _videos(store: Store) -> dict[str, Any]:
    """The labels, one record per video. A missing score is null, never 0."""
    columns = {name: list(values) for name, values in store.labels.to_columns().items()}
    fields = [_field(name, values) for name, values in columns.items()]
    rows = [dict(zip((f"videos/{name}" for name in columns), map(_value, row))) for row in zip(*columns.values())]
    return {"@type": "cr:RecordSet", "@id": "videos", "name": "videos", "description": "Labels of each video.",
            "key": {"@id": "videos/video_id"}, "field": fields, "data": rows}  # fmt: skip


def _field(name: str, values: Iterable[object]) -> dict[str, Any]:
    kind = "sc:Float" if any(isinstance(value, float) for value in values) else "sc:Text"
    return {"@type": "cr:Field", "@id": f"videos/{name}", "name": name, "dataType": kind}


def _value(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
