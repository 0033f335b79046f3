"""Corrected labels and cards in a store."""

from dataclasses import replace

import numpy as np
import pytest

from longtake.features.labels import LabelRow, labels_of
from longtake.features.store import open_store, write_store
from longtake.features.tools.inspect import verify
from longtake.manifests.table import find_manifest
from tests.features.fakes import KINDS, locked_by_another, make_store, run


@pytest.mark.parametrize("suffix", KINDS)
def test_new_labels_leave_features_alone(tmp_path, suffix):
    path = make_store(tmp_path / f"s{suffix}", {"a": 3, "b": 4})
    with open_store(path) as store:
        before, checksums = store.stream().read_all(), store.stream().videos.checksums
    (tmp_path / "m.csv").write_text("video_id,split,category,score_total\na,test,B,7.5\nc,train,B,1\n")
    assert "labels of 1 videos changed, 1 added" in run("relabel", path, "--manifest", tmp_path / "m.csv")
    with open_store(path) as store:
        rows = {v: store.labels.row(i) for i, v in enumerate(store.labels.video_ids)}
        assert rows == {
            "a": LabelRow("test", "B", {"total": 7.5}),
            "b": LabelRow("train", "A", {"total": 1.0}),
            "c": LabelRow("train", "B", {"total": 1}),
        }
        np.testing.assert_array_equal(store.stream().read_all(), before)
        assert store.stream().videos.checksums == checksums and verify(store) == []
    output = run("verify", path, "--manifest", tmp_path / "m.csv", status=1)
    assert "c: missing" in output and "a: missing" not in output
    (tmp_path / "m.csv").write_text("video_id,split,category,score_total\na,test,B,8\n")
    assert "labels: a: " in run("verify", path, "--manifest", tmp_path / "m.csv", status=1)
    assert "name the source of the labels" in run("relabel", path, status=2)
    assert "is a store of d; these labels are of rg" in run("relabel", path, "--dataset", "rg", status=2)
    (tmp_path / "others.csv").write_text("video_id,score_total\nx,1\n")
    assert "these labels are of others" in run("relabel", path, "--manifest", tmp_path / "others.csv", status=2)


def test_labels_of_a_store_that_another_process_publishes(tmp_path, monkeypatch):
    path = make_store(tmp_path / "s.h5", {"a": 3})
    kept = path.read_bytes()
    (tmp_path / "m.csv").write_text("video_id,split\na,test\n")
    holder = locked_by_another(path, monkeypatch)
    refused = run("relabel", path, "--manifest", tmp_path / "m.csv", status=2)
    assert f"{path} is locked by {holder}" in refused
    assert path.read_bytes() == kept


def test_what_new_labels_do_not_say_stays(tmp_path):
    path = make_store(tmp_path / "s.h5", {"a": 3, "b": 4})
    (tmp_path / "m.csv").write_text("video_id,split\na,test\n")
    run("relabel", path, "--manifest", tmp_path / "m.csv")
    with open_store(path) as store:
        rows = {v: store.labels.row(i) for i, v in enumerate(store.labels.video_ids)}
    assert rows["a"].split == "test" and rows["a"].category == rows["b"].category == "A"
    assert rows["a"].scores.keys() == rows["b"].scores.keys() == {"total"}


def test_new_labels_are_checked_against_the_card(tmp_path):
    known = find_manifest("fisv")
    first = known.rows[0].video_id
    path = tmp_path / "fisv.h5"
    write_store(path, dataset="fisv", card=known.card, labels=labels_of(known), streams=[])
    for line, reason in (
        ("split\n{},val", "unknown split 'val'"),
        ("score_tes\n{},999", "score_tes 999 is outside"),
        ("score_artistry\n{},1", "unknown column 'score_artistry'"),
    ):
        (tmp_path / "m.csv").write_text(f"video_id,{line.format(first)}\n")
        assert reason in run("relabel", path, "--manifest", tmp_path / "m.csv", status=2)
    assert "is a store of fisv, not of rg" in run("verify", path, "--dataset", "rg", status=2)


@pytest.mark.parametrize("suffix", KINDS)
def test_groups_and_folds_are_put_into_a_store(tmp_path, suffix):
    path = make_store(tmp_path / f"s{suffix}", {"a": 3, "b": 4})
    (tmp_path / "m.csv").write_text("video_id,split,group_skater\na,fold1,s1\nb,fold2,s2\n")
    assert "labels of 2 videos changed" in run("relabel", path, "--manifest", tmp_path / "m.csv")
    with open_store(path) as store:
        assert store.labels.groups == {"skater": ("s1", "s2")} and store.labels.splits == ("fold1", "fold2")
        assert store.labels.scores.tolist() == [[0.0], [1.0]]
    assert "group     skater: 2 in 2 videos" in run("info", path)
    (tmp_path / "m.csv").write_text("video_id,group_skater,group_event\na,,e1\nb,s3,e1\n")
    run("relabel", path, "--manifest", tmp_path / "m.csv")
    with open_store(path) as store:
        assert store.labels.groups == {"skater": ("s1", "s3"), "event": ("e1", "e1")}
    before = make_store(tmp_path / f"old{suffix}", {"a": 3, "b": 4})
    assert "group skater: only in the first" in run("diff", path, before, status=1)
    run("convert", path, tmp_path / "copy.h5")
    run("diff", path, tmp_path / "copy.h5")
    (tmp_path / "m.csv").write_text("video_id,split\na,fold1\nb,fold2\n")
    run("relabel", before, "--manifest", tmp_path / "m.csv")
    run("merge", before, path, "--out", tmp_path / "joined.h5")
    with open_store(tmp_path / "joined.h5") as store:
        assert store.labels.groups == {"skater": ("s1", "s3"), "event": ("e1", "e1")}


def test_the_store_of_a_dataset_gets_its_groups(tmp_path):
    """A store with a card, made before the table had groups."""
    known = find_manifest("fisv")
    bare = replace(known, rows=tuple(replace(row, groups={}) for row in known.rows))
    path = tmp_path / "fisv.h5"
    write_store(path, dataset="fisv", card=known.card, labels=labels_of(bare), streams=[])
    assert run("verify", path, "--dataset", "fisv").endswith("0 faults\n")
    assert "labels of 500 videos changed" in run("relabel", path, "--dataset", "fisv")
    with open_store(path) as store:
        assert store.labels.equals(labels_of(known)) and set(store.labels.groups) == {"skater", "event"}
