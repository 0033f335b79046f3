"""Croissant metadata, read by mlcroissant, the package of its authors."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from longtake.features.store import open_store, write_store
from longtake.features.tools import croissant as module
from longtake.features.tools.croissant import croissant_of
from longtake.files import file_sha256
from longtake.manifests.card import find_card
from tests.features.fakes import header, labels, plan, video

IDS = ["a", "b é", "c"]


def made(path, scores=(1.5, np.nan, 3.0), **card):
    write_store(path, dataset="rg", card=replace(find_card("rg"), **card), labels=labels(IDS, list(scores)),
                streams=[plan(header(), [video(name, 3) for name in IDS])])  # fmt: skip
    return path


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def test_mlcroissant_accepts_it_and_reads_the_labels(tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant")
    path = made(tmp_path / "a.h5", doi="10.1145/12")
    with open_store(path) as store:
        (tmp_path / "croissant.json").write_text(croissant_of(store))
    dataset = mlcroissant.Dataset(jsonld=tmp_path / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors and not dataset.metadata.ctx.issues.warnings
    assert dataset.metadata.ctx.conforms_to.value.endswith("/1.1")
    records = list(dataset.records("videos"))
    assert [text(record["videos/video_id"]) for record in records] == IDS
    assert [text(record["videos/split"]) for record in records] == ["train"] * 3
    assert records[0]["videos/score_total"] == 1.5 and records[2]["videos/score_total"] == 3.0
    missing = records[1]["videos/score_total"]
    assert missing is None or np.isnan(missing), "a missing score is missing, never 0"


def test_the_facts(tmp_path, monkeypatch):
    path = made(tmp_path / "a.h5", doi="10.1145/12", title="T\n\x1b")
    with open_store(path) as store:
        facts = json.loads(croissant_of(store))
        assert (
            facts["distribution"][0]["sha256"] == file_sha256(path) and facts["sameAs"] == "https://doi.org/10.1145/12"
        )
        assert facts["license"] == find_card("rg").licence and "@misc{rg" in facts["citeAs"]
        monkeypatch.setattr(module, "MOST_ROWS", 2)
        assert "recordSet" not in json.loads(croissant_of(store))
    made(tmp_path / "b.zarr")
    with open_store(tmp_path / "b.zarr") as store:
        assert json.loads(croissant_of(store))["distribution"] == []
