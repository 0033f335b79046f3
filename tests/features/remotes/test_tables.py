"""Tables there and back, and tables of people who want to do harm."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from longtake.features.errors import InvalidFeatures, NotAStore
from longtake.features.labels import Labels
from longtake.features.remotes.pieces import Piece
from longtake.features.remotes.tables import (
    VideoRow,
    labels_bytes,
    labels_from,
    require_clips_if_ok,
    rows_bytes,
    rows_from,
)
from longtake.features.types import FAILED, VideoRecord

A, B = "a" * 64, "b" * 64
LABELS = Labels(
    ("v1", "é 2"), ("train", ""), ("Ball", ""), ("total", "pcs"), np.array([[0.1 + 0.2, np.nan], [1e-300, 3]]),
    np.array([[1.5], [np.nan]]), {"skater": ("x", "")},
)  # fmt: skip
ROWS = [
    VideoRow(VideoRecord("v1", duration_seconds=1 / 3, source_name="v1.mp4"), B, 7, Piece(A, 5, B)),
    VideoRow(VideoRecord("v2", FAILED, error_message="brö\nken"), "", 0, None),
]


def test_there_and_back():
    assert labels_from(labels_bytes(LABELS), "it").equals(LABELS)
    none = Labels((), (), (), (), np.zeros((0, 0)))
    assert labels_from(labels_bytes(none), "it").equals(none)
    back = rows_from(rows_bytes(ROWS), "it")
    assert [row.identity for row in back] == [row.identity for row in ROWS] and back[0].piece == ROWS[0].piece


def test_the_identity_is_that_of_the_content():
    moved = replace(ROWS[0], piece=Piece(B, 9, B))
    other = replace(ROWS[0], piece=Piece(A, 5, A))
    assert moved.identity == ROWS[0].identity != other.identity


def changed(data: bytes, **changes: object) -> bytes:
    return json.dumps({**json.loads(data), **changes}).encode()


@pytest.mark.parametrize("changes", [
    {"video_ids": ["../../x", "y"]}, {"video_ids": ["a", "a"]}, {"video_ids": ["a"]}, {"splits": [1, 2]}, {"splits": ["a\0", ""]},
    {"splits": ["\ud800", ""]}, {"scores": [[1], [2]]}, {"scores": [["1", 2], [3, 4]]}, {"scores": [[1e300, 2], [3, 4]]},
    {"scores": [[True, 2], [3, 4]]}, {"boundaries": [[1], []]}, {"groups": {"../x": ["a", "b"]}}, {"groups": {"skater": ["a"]}},
    {"more": 1}, {"boundaries": [[1, 0], [None, None]]},
])  # fmt: skip
def test_hostile_labels(changes):
    with pytest.raises(NotAStore):
        labels_from(changed(labels_bytes(LABELS), **changes), "it")


def columns(**changes: object) -> dict:
    return {"columns": {**json.loads(rows_bytes(ROWS))["columns"], **changes}}


@pytest.mark.parametrize("changes", [
    {"num_clips": [7]}, {"num_clips": [-7, 0]}, {"num_clips": [1 << 40, 0]}, {"num_clips": [7.0, 0]}, {"num_clips": [0, 0]},
    {"num_clips": [7, 1]}, {"packs": ["../../etc/passwd"]}, {"pack": [1, -1]}, {"pack": [-1, -1]}, {"pack": [True, -1]},
    {"offset": [-5, 0]}, {"offset": [1 << 50, 0]}, {"sha256": ["x", ""]}, {"columns": {}}, columns(video_id=["../x", "y"]),
    columns(video_id=["v1", "v1"]), columns(status=["ok", "good"]), columns(fps=["1", 2]), columns(fps=[1e300, 2]),
    columns(source_name=[1, 2]), columns(decoder=["a\0b", ""]),
])  # fmt: skip
def test_hostile_tables(changes):
    with pytest.raises(NotAStore):
        rows_from(changed(rows_bytes(ROWS), **changes), "it")


def test_columns_of_later_releases_are_left_out():
    assert len(rows_from(changed(rows_bytes(ROWS), **columns(later=[1, 2])), "it")) == 2
    with pytest.raises(NotAStore, match="damaged"):
        rows_from(b"{", "it")


def test_clips_belong_to_a_status():
    with pytest.raises(InvalidFeatures, match="status failed, but 3 clips"):
        require_clips_if_ok(ROWS[1].record, 3)
