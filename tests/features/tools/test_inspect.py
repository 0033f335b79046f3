"""Describing, verifying and comparing stores."""

import dataclasses
import json

import h5py
import numpy as np
import pytest

from longtake.features.labels import Labels, labels_of
from longtake.features.store import open_store, write_store
from longtake.features.tools.inspect import diff, verify
from longtake.manifests.table import find_manifest
from tests.features import raw
from tests.features.fakes import header, labels, make_store, plan, run, store_of, text_features, video


def test_verify_knows_the_words_of_the_card(tmp_path):
    known = find_manifest("rg")
    rows = labels_of(known)
    strange = Labels(
        rows.video_ids, ("val", *rows.splits[1:]), ("Rope", *rows.categories[1:]), ("style",), rows.scores[:, :1]
    )
    write_store(tmp_path / "rg.h5", dataset="rg", card=known.card, labels=strange, streams=[])
    message = run("verify", tmp_path / "rg.h5", status=1)
    for word in ("split 'val'", "category 'Rope'", "score 'style'"):
        assert f"the card of rg has no {word}" in message


def test_verify_knows_the_ranges_of_the_card(tmp_path):
    known = find_manifest("fisv")
    rows = labels_of(known)
    limits = known.card.scores["tes"]
    scores = np.full_like(rows.scores, np.nan)
    scores[:4, 0] = limits.minimum, limits.maximum, limits.minimum - 0.5, limits.maximum + 0.5
    table = dataclasses.replace(rows, scores=scores)
    write_store(tmp_path / "s.h5", dataset="fisv", card=known.card, labels=table, streams=[])
    (one, other) = json.loads(run("verify", tmp_path / "s.h5", "--json", status=1))["faults"]
    allowed = f"outside {limits.minimum:g} to {limits.maximum:g}"
    assert one == f"{rows.video_ids[2]}: score tes is {limits.minimum - 0.5:g}, {allowed}"
    assert other == f"{rows.video_ids[3]}: score tes is {limits.maximum + 0.5:g}, {allowed}"


def test_verify_finds_a_video_that_is_in_a_stream_twice(tmp_path):
    streams = [plan(header(), [video("a", 2), video("b", 3), video("a", 2)])]
    write_store(tmp_path / "s.h5", dataset="d", card=None, labels=labels(["a", "b"]), streams=streams)
    name = f"fake@{header().recipe_id}"
    assert json.loads(run("verify", tmp_path / "s.h5", "--json", status=1))["faults"] == [
        f"{name}: a video is in it twice"
    ]


@pytest.mark.parametrize("change", [{"texts": ("a", "c")}, {"groups": ("g", "g")}, {"features": np.zeros((2, 2))}])
def test_prompt_sets_that_differ(tmp_path, change):
    """Of one recipe; prompt sets of several recipes are kept side by side."""
    texts = text_features()
    other = dataclasses.replace(texts, **change)
    one = store_of(tmp_path / "1.h5", "ab", texts=[texts])
    refused = run("merge", one, store_of(tmp_path / "2.h5", "ab", texts=[other]), "--out", tmp_path / "m.h5", status=2)
    assert f"2.h5: prompt set qgvl@{texts.header.recipe_id} with other values" in refused
    assert not (tmp_path / "m.h5").exists()
    another_recipe = dataclasses.replace(other, header=dataclasses.replace(texts.header, weights="v"))
    message = run("merge", one, store_of(tmp_path / "3.h5", "ab", texts=[another_recipe]), "--out", tmp_path / "m.h5")
    assert "2 prompt sets" in message


def test_a_store_without_permission(tmp_path, monkeypatch):
    path = make_store(tmp_path / "s.h5", {"a": 3})

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(h5py, "File", forbidden)
    assert f"no permission to read {path}" in run("info", path, status=2)


def test_stores_of_two_names_differ(tmp_path):
    one, other = make_store(tmp_path / "1.h5", {"a": 3}), make_store(tmp_path / "2.h5", {"a": 3})
    run("diff", one, other)
    raw.as_version_1(other)
    with h5py.File(other, "r+") as file:
        file.attrs["dataset"] = "else"
    assert "against else" in run("diff", one, other, status=1)


def test_verify_finds_changed_numbers(tmp_path):
    path = make_store(tmp_path / "s.h5", {"a": 5, "b": 4})
    with h5py.File(path, "r+") as file:
        features = next(iter(file["streams"].values()))["features"]
        features[1, 1] += 1
        features[7, 0] = np.nan
    with open_store(path) as store:
        faults = verify(store)
    assert len(faults) == 2
    assert all(f"{name}: its features do not match their checksum" in fault for name, fault in zip("ab", faults))


def test_diff_says_what_differs(tmp_path):
    one = make_store(tmp_path / "1.h5", {"a": 5, "b": 4, "c": 3})
    other = make_store(tmp_path / "2.h5", {"a": 5, "b": 0, "d": 3}, seed=7)
    third = make_store(tmp_path / "3.h5", {"a": 5}, head=header(tail="drop"))
    with open_store(one) as x, open_store(other) as y, open_store(third) as z:
        found = {(d.kind, d.what.split()[-1]): d.detail for d in diff(x, y)}
        recipes = [d.detail for d in diff(x, z) if d.kind == "stream"]
    assert "lowest cosine" in found["values", "a"]
    assert found["video", "b"] == "status ok against failed"
    assert found["video", "c"] == "only in the first" and found["video", "d"] == "only in the second"
    assert any("tail: 'pad' against 'drop'" in detail for detail in recipes)
