"""The meaning of --weights, and the registered entries."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from longtake.extract.backbones import get_spec, weights
from longtake.extract.backbones.download import fetch
from longtake.extract.backbones.weights import resolve
from longtake.extract.errors import WeightsError
from tests.extract.backbones.server import SHA256, Server, entry_for


def test_resolve(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = get_spec("i3d")
    monkeypatch.setitem(weights.TABLE, "toy", entry_for(server.url))
    monkeypatch.setitem(weights.TABLE, "alien", replace(entry_for(server.url), name="alien", backbone="vst"))
    random = resolve("random:7", spec)
    assert (random.name, random.path, random.sha256, random.is_random, random.seed) == ("random:7", None, None, True, 7)
    assert resolve("random", spec).name == "random:0"
    named = resolve("toy", spec)
    assert (named.name, named.sha256, named.is_random) == ("toy", SHA256, False)
    assert resolve(None, replace(spec, default_weights="toy")) == named
    own = tmp_path / "mine.pt"
    own.write_bytes(b"abc")
    assert resolve(str(own), spec).sha256 == hashlib.sha256(b"abc").hexdigest()
    for argument, message in (
        ("random:x", "whole number"),
        ("random:-1", "whole number"),
        ("alien", "are for vst, not for i3d"),
        ("i3d_rgb_imagenets", "did you mean i3d_rgb_imagenet"),
        (str(tmp_path), "neither a file nor registered weights"),
        ("", "neither a file nor registered weights"),
    ):
        with pytest.raises(WeightsError, match=message):
            resolve(argument, spec)


def test_weights_that_must_be_downloaded_by_hand(cache: Path) -> None:
    by_hand = [entry for entry in weights.TABLE.values() if entry.by_hand]
    assert by_hand
    for entry in by_hand:
        with pytest.raises(
            WeightsError, match="have to be fetched by hand: https://.* Then give the file with --weights"
        ):
            fetch(entry)


def test_registered_entries_are_complete() -> None:
    names = [entry.file_name for entry in weights.TABLE.values()]
    assert len(set(names)) == len(names)
    for entry in weights.TABLE.values():
        assert weights.TABLE[entry.name] is entry
        assert entry.url.startswith("https://") and entry.licence and entry.citation
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
