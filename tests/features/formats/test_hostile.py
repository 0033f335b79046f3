"""Hostile trees are refused with one line: they do not fill the memory, run code or lead out of the store."""

import numpy as np
import pytest

from longtake.errors import LongtakeError
from longtake.features.store import open_store
from tests.features import raw
from tests.features.formats.hostile import changed, put, refused, stream_of, touch_everything


def boundaries(values):
    def change(tree):
        raw.with_stages(tree)["labels"]["boundary_seconds"] = values

    return changed(change)


BOTH = {
    "wrong magic": changed(lambda tree: tree["@"].update(format="something else")),
    "another version": changed(lambda tree: tree["@"].update(format_version=9)),
    "no labels": changed(lambda tree: tree.pop("labels")),
    "labels of another length": changed(lambda tree: tree["labels"].update(split=raw.text(["a"]))),
    "a video labelled twice": changed(lambda tree: tree["labels"].update(video_id=raw.text(["a", "a", "b", "c"]))),
    "scores of text": changed(lambda tree: tree["labels"].update(scores=raw.text(["1"] * 4))),
    "boundaries of another length": boundaries(np.zeros((3, 2))),
    "boundaries that go back": boundaries(np.array([[2.0, 1.0]] * 4)),
    "boundaries after a missing one": boundaries(np.array([[np.nan, 1.0]] * 4)),
    "boundaries that never come": boundaries(np.array([[1.0, np.inf]] * 4)),
    "boundaries of text": boundaries(raw.text(["1"] * 4)),
    "boundaries without their array": changed(lambda tree: tree["labels"]["@"].update(num_boundaries=2)),
    "groups without their array": changed(lambda tree: tree["labels"]["@"].update(group_names='["skater"]')),
    "a group whose name leaves": changed(lambda tree: tree["labels"]["@"].update(group_names='["/../card"]')),
    "groups of no list": changed(lambda tree: tree["labels"]["@"].update(group_names='{"skater": 1}')),
    "groups of another length": changed(
        lambda tree: raw.with_groups(tree)["labels"].update(group_event=raw.text(["e"]))
    ),
    "offsets beyond": put("offsets", np.array([0, 3, 203, 203, 999])),
    "offsets negative": put("offsets", np.array([0, -3, 203, 203, 204])),
    "offsets enormous": put("offsets", np.array([0, 3, 1 << 62, 1 << 62, 204])),
    "offsets of floats": put("offsets", np.array([0, np.nan, 203, 203, 204])),
    "no offsets": put("offsets", np.zeros(0, np.int64)),
    "features of integers": put("features", lambda values: values.astype(np.int32)),
    "features with NaN": put("features", lambda values: values * np.nan),
    "features too narrow": put("features", lambda values: values[:, :5]),
    "an id that leaves": put("videos/video_id", raw.text(["../../x", "b", "c", "d"])),
    "an absolute id": put("videos/video_id", raw.text(["/etc/passwd", "b", "c", "d"])),
    "an id that is not text": put("videos/video_id", np.array([b"\xff\xfe", b"b", b"c", b"d"])),
    "an unknown status": put("videos/status", raw.text(["ok", "ok", "perhaps", "ok"])),
    "a column of another length": put("videos/fps", np.zeros(7)),
    "times of another length": put("start_seconds", np.zeros(7)),
    "a missing column": changed(lambda tree: stream_of(tree)["videos"].pop("error_stage")),
    "a recipe that is not JSON": changed(lambda tree: stream_of(tree)["@"].update(header="{")),
    "a recipe of another release": changed(lambda tree: stream_of(tree)["@"].update(header='{"format_version": 9}')),
    "a recipe of lists": changed(lambda tree: stream_of(tree)["@"].update(header="[1]")),
    **{
        f"a card that is {what}": changed(lambda tree, text=text: tree.update(card=raw.text([text])))
        for what, text in {"no card": '{"name": 3}', "cut off": '{"name": "rg"', "a long number": "1" * 5000}.items()
    },
}


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
@pytest.mark.parametrize("what", BOTH)
def test_false_declarations_of_both_kinds(tmp_path, what, suffix):
    path = tmp_path / f"s{suffix}"
    BOTH[what](path)
    if what.startswith("a card"):
        with pytest.raises(LongtakeError), open_store(path) as store:
            assert store.card
        return
    refused(path)


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_the_unchanged_example_is_not_refused(tmp_path, suffix):
    raw.write(tmp_path / f"s{suffix}", raw.example())
    touch_everything(tmp_path / f"s{suffix}")
