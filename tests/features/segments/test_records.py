"""Descriptions of videos: what is written is read, and nothing else is accepted."""

import json
from dataclasses import replace

import numpy as np
import pytest

from longtake.features.errors import InvalidFeatures
from longtake.features.labels import LabelRow
from longtake.features.segments.records import Definition, describe, read_video
from tests.features.fakes import header, video

ONE, OTHER = header(), header("other", 5, weights="v")
ROW = LabelRow("train", "Ball", {"total": 1.5}, (1.0, 2.0), {"skater": "ä"})
SAID = Definition("d", (ONE.to_json(), OTHER.to_json()), ("total",))


def described(one=None, other=None):
    text, arrays = describe(ROW, {ONE: one or video("a", 2), OTHER: other or video("a", 3, 5, dtype="float16")}, 77)
    return json.loads(text), b"".join(arrays)


def read(values, data):
    return read_video(json.dumps(values).encode(), 16, len(data), SAID, [ONE, OTHER])


def test_a_video_of_two_backbones():
    values, data = described()
    found = read(values, data)
    assert (found.video_id, found.dataset, found.score_names, found.labels) == ("a", "d", ("total",), ROW)
    assert found.written_ns == 77 and Definition.of(SAID.to_json()) == SAID
    for stored, expected in zip(found.streams, (video("a", 2), video("a", 3, 5, dtype="float16"))):
        begin = stored.offset - 16
        decoded = stored.decode(bytearray(data[begin : begin + stored.num_bytes]))
        np.testing.assert_array_equal(decoded.features, expected.features)
        np.testing.assert_array_equal(decoded.end_seconds, expected.end_seconds)
        assert repr(decoded.record) == repr(expected.record) and decoded.features.dtype == expected.features.dtype
        assert stored.features_sha256 == expected.sha256
        changed = bytearray(data[begin : begin + stored.num_bytes])
        changed[-1] ^= 1
        assert stored.decode(changed) is None


def test_one_backbone_failed():
    values, data = described(other=video("a", 0, 5))
    found = read(values, data)
    assert [stored.record.status for stored in found.streams] == ["ok", "failed"]
    assert found.streams[1].record.error_message == "bröken" and found.streams[1].num_bytes == 0


def test_a_number_that_is_not_finite_is_unknown():
    made = video("a", 2)
    values, data = described(replace(made, record=replace(made.record, fps=float("inf"), duration_seconds=2.0)))
    record = read(values, data).streams[0].record
    assert np.isnan(record.fps) and record.duration_seconds == 2


@pytest.mark.parametrize("changes", [{"dataset": "\ud800"}, {"score_names": ("a\0",)}])
def test_hostile_definitions_are_refused(changes):
    with pytest.raises(InvalidFeatures, match="no store can hold"):
        Definition.of(replace(SAID, **changes).to_json())


def test_features_of_another_width():
    with pytest.raises(InvalidFeatures, match="3 wide expected"):
        describe(ROW, {ONE: video("a", 2, 4)}, 0)


@pytest.mark.parametrize(
    "path, value",
    [
        ((), []), (("more",), 1), (("written_ns",), -1), (("written_ns",), 1.5), (("written_ns",), 1 << 70),
        (("labels", "split"), None), (("labels", "scores"), {"total": "1"}), (("labels", "boundaries"), 3),
        (("labels", "groups"), {"skater": 1}), (("labels", "groups"), []), (("records",), {}), (("records", 0), {"status": "ok"}),
        (("records", 0, "video_id"), "../a"), (("records", 0, "video_id"), "a\0"), (("records", 0, "fps"), "25"),
        (("records", 0, "fps"), float("inf")), (("records", 0, "fps"), True), (("records", 0, "__class__"), "x"),
        (("records", 0, "status"), "fine"), (("streams",), []), (("streams", 0, "clips"), 0), (("streams", 0, "clips"), 10**9),
        (("streams", 0, "clips"), True), (("records", 0, "fps"), 10**400), (("records", 0, "error_message"), "\ud800"),
        (("records", 0, "status"), "failed"), (("labels", "split"), "\ud800"), (("labels", "scores"), {"total": 10**400}),
        (("labels", "scores"), {"total": float("inf")}), (("labels", "boundaries"), [2, 1]), (("labels", "groups"), {"Bad Name": "x"}),
        (("streams", 0, "sha256"), "\0" * 64), (("streams", 0, "dtype"), []), (("streams", 0, "dtype"), "object"), (("streams", 0, "header"), 2),
        (("streams", 0, "header"), 1), (("streams", 0, "record"), -1), (("streams", 0, "sha256"), 5), (("streams", 0, "xxh3_64"), "?"),
    ],
)  # fmt: skip
def test_hostile_values_are_refused(path, value):
    values, data = described()
    if not path:
        values = value
    else:
        place = values
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
    with pytest.raises(InvalidFeatures):
        read(values, data)


def test_two_videos_in_one_frame():
    one = video("a", 2)
    other = video("a", 3, 5)
    values, data = described(one, replace(other, record=replace(other.record, video_id="b")))
    with pytest.raises(InvalidFeatures, match="several videos"):
        read(values, data)
