from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from longtake.features.errors import NotAStore
from longtake.features.remotes.pieces import Ref
from longtake.features.remotes.versions import Changes, StreamFacts, Version, number_in, version_from, version_path

A = "a" * 64
VERSION = Version(
    name="rg", number=2, label="2026-11-29.2", created_utc="2026-11-29T00:00:00+00:00", dataset="rg", manifest=Ref(A, 9), content_id=A,
    num_bytes=9, num_labels=3, streams=(StreamFacts("vst@0", 3, 9, 4, "w", False, 9),), changes=Changes(added=2, labels=True),
)  # fmt: skip


def test_there_and_back():
    assert version_from(VERSION.to_bytes(), "rg", 2, "it") == VERSION
    assert VERSION.full_name == "rg@2026-11-29.2" and VERSION.changes.line == "2 videos added, labels corrected"
    assert Changes().line == "descriptions" and Changes(streams_added=("a",), streams_removed=("b",)).line == "+a, -b"
    assert number_in(version_path("rg", 2).removeprefix("stores/")) == ("rg", 2)
    assert number_in("rg/000000.json") is number_in("rg/000001/README.md") is number_in("../000001.json") is None


@pytest.mark.parametrize("changes", [
    {"name": "../x"}, {"name": "other"}, {"number": 3}, {"number": -1}, {"label": "../../x"}, {"label": "2026-11-29/x"}, {"num_bytes": -1},
    {"content_id": "x"}, {"manifest": {"sha256": "../x", "num_bytes": 1}}, {"manifest": {"sha256": A, "num_bytes": "1"}}, {"format": "x"},
    {"format_version": 2}, {"streams": [{}]}, {"licence": "\ud800"}, {"unknown": 1},
])  # fmt: skip
def test_hostile_versions(changes):
    with pytest.raises(NotAStore):
        version_from(json.dumps({**asdict(VERSION), **changes}).encode(), "rg", 2, "it")


def test_what_is_not_a_version():
    for data in (b"", b"[]", b"{}", b"<html>", b"\xff"):
        with pytest.raises(NotAStore):
            version_from(data, "rg", 2, "it")
    with pytest.raises(NotAStore, match="newer release"):
        version_from(replace(VERSION, format_version=7).to_bytes(), "rg", 2, "it")
