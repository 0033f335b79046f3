"""Merging stores: nothing lost, nothing mixed, nothing overwritten."""

import dataclasses

import pytest

from longtake.features.errors import StoreConflict
from longtake.features.labels import labels_of
from longtake.features.store import open_store, write_store
from longtake.features.tools.inspect import diff, verify
from longtake.features.tools.merge import merge
from longtake.manifests.card import find_card
from longtake.manifests.table import find_manifest
from tests.features.fakes import (
    KINDS,
    header,
    labels,
    run,
    store_of,
    text_features,
)


@pytest.mark.parametrize("suffix", KINDS)
def test_disjoint_and_overlapping_stores(tmp_path, suffix):
    one = store_of(tmp_path / "1.h5", "abc", texts=[text_features()])
    other = store_of(tmp_path / "2.zarr", "cde", texts=[text_features()])
    third = store_of(tmp_path / "3.h5", "f", head=header("other", 5))
    merged = tmp_path / f"m{suffix}"
    assert "2 streams of 6 videos" in run("merge", one, other, third, "--out", merged)
    whole = store_of(tmp_path / "whole.h5", "abcde", texts=[text_features()])
    with open_store(merged) as ours, open_store(whole) as theirs:
        assert verify(ours) == []
        assert not [d for d in diff(theirs, ours) if "only in the second" not in d.detail]
        assert ours.labels.video_ids == tuple("abcdef") and len(ours.texts) == 1


def test_a_failure_gives_way_to_success(tmp_path):
    failed = store_of(tmp_path / "1.h5", "ab", lengths={"a": 0})
    whole = store_of(tmp_path / "2.h5", "ab", lengths={"b": 0})
    merge([failed, whole], tmp_path / "m.h5")
    with open_store(tmp_path / "m.h5") as store:
        assert store.stream().videos.statuses == ("ok", "ok")


def test_what_disagrees_is_listed_and_refused(tmp_path):
    one = store_of(tmp_path / "1.h5", "abc")
    lengths = {v: 7 for v in "ab"}
    refused = run(
        "merge", one, store_of(tmp_path / "2.h5", "abc", lengths=lengths), "--out", tmp_path / "m.h5", status=2
    )
    assert "features differ for 2 videos" in refused and " a: other values" in refused and " b: other values" in refused
    other = store_of(tmp_path / "3.h5", "abc", table=labels(list("abc"), [97.0, 5.0, 99.0]))
    refused = run("merge", one, other, "--out", tmp_path / "m.h5", status=2)
    assert "labels differ for 1 videos" in refused and "total 98 against train, A, total 5" in refused
    half = store_of(tmp_path / "4.h5", "d", dtype="float16")
    assert "features convert --dtype" in run("merge", one, half, "--out", tmp_path / "m.h5", status=2)
    recipe = store_of(tmp_path / "5.h5", "d", head=header(tail="drop", fps=25.0))
    refused = run("merge", one, recipe, "--out", tmp_path / "m.h5", status=2)
    assert "tail: 'pad' before, 'drop' now" in refused and "fps: None before, 25.0 now" in refused
    assert "exists" in run("merge", one, "--out", one, status=2)
    assert not (tmp_path / "m.h5").exists()
    run("merge", one, recipe, "--out", tmp_path / "m.h5", "--beside")
    with open_store(tmp_path / "m.h5") as store:
        assert len(store.streams) == 2
    write_store(tmp_path / "6.h5", dataset="other", card=None, labels=labels(["z"]), streams=[])
    with pytest.raises(StoreConflict, match="different datasets: d, other"):
        merge([one, tmp_path / "6.h5"], tmp_path / "n.h5")


def test_a_corrected_card_reaches_the_store(tmp_path, monkeypatch):
    card = find_card("fisv")
    limits = card.scores["tes"]
    stores = {}
    for name, top in (("one", limits.maximum), ("other", limits.maximum + 5)):
        changed = dataclasses.replace(card, scores={**card.scores, "tes": dataclasses.replace(limits, maximum=top)})
        stores[name] = tmp_path / f"{name}.h5"
        own = labels_of(find_manifest("fisv")).subset([len(stores)])
        write_store(stores[name], dataset="fisv", card=changed, labels=own, streams=[])
    assert "card scores: differs" in run("diff", stores["one"], stores["other"], status=1)
    said = run("merge", *stores.values(), "--out", tmp_path / "m.h5", status=2)
    assert "differ in scores: give both stores the right card" in said and not (tmp_path / "m.h5").exists()
    assert "its card was replaced" in run("relabel", stores["other"], "--dataset", "fisv")
    assert "its card" not in run("relabel", stores["other"], "--dataset", "fisv")
    with open_store(stores["other"]) as store:
        assert store.card == card
    run("relabel", stores["one"], "--dataset", "fisv")
    run("merge", *stores.values(), "--out", tmp_path / "m.h5")
