from __future__ import annotations

import json
from dataclasses import replace

import pytest

from longtake.features.errors import FeaturesError, StoreConflict
from longtake.features.remotes.history import versions
from longtake.features.remotes.place import open_place
from longtake.features.remotes.pull import pull
from longtake.features.store import open_store
from longtake.features.store_name import StoreName
from longtake.features.tools import share as share_module
from longtake.features.tools.share import share
from longtake.manifests.card import find_card
from tests.features.fakes import header, store_of
from tests.features.tools.test_terms import store_with


def test_a_version_has_its_pages_and_a_refused_push_leaves_nothing(tmp_path):
    remote = tmp_path / "remote"
    store_with(tmp_path / "a.h5", find_card("rg"), "random:0").close()
    done, unknown = share(tmp_path / "a.h5", str(remote), name="rg")
    assert unknown == [] and done.version.licence == find_card("rg").licence
    folder = remote / "stores" / "rg" / "000001"
    assert "# Features of Rhythmic Gymnastics" in (folder / "README.md").read_text()
    assert (
        "features info rg@" in (folder / "README.md").read_text()
        and "@misc{rg," in (folder / "citation.bib").read_text()
    )
    facts = json.loads((folder / "croissant.json").read_text())
    assert (folder / facts["distribution"][0]["contentUrl"]).resolve() == remote / "stores" / "rg" / "000001.json"
    store_with(tmp_path / "b.h5", replace(find_card("rg"), forbids_sharing="not outside the lab"), "random:0").close()
    with pytest.raises(FeaturesError, match="not outside the lab"):
        share(tmp_path / "b.h5", str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()
    share(tmp_path / "b.h5", str(remote), name="rg", permission="J. Doe", note="second")
    last = versions(open_place(remote), "rg")[-1]
    assert (last.permission, last.note, last.clauses) == ("J. Doe", "second", ("the dataset rg: not outside the lab",))


def test_a_push_of_nothing_new_repairs_an_old_index(tmp_path):
    store_with(tmp_path / "a.h5").close()
    share(tmp_path / "a.h5", str(tmp_path / "remote"))
    (tmp_path / "remote" / "index.json").unlink()
    assert not share(tmp_path / "a.h5", str(tmp_path / "remote"))[0].is_new
    assert (tmp_path / "remote" / "index.json").exists()


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAKE_LIBRARY", str(tmp_path / "library"))


def test_a_store_is_added_to_the_newest_version(tmp_path, library):
    """Other videos, another backbone, and then something that differs."""
    remote = str(tmp_path / "remote")
    first, more = store_of(tmp_path / "first.h5", "ab"), store_of(tmp_path / "more.zarr", "bc")
    other = store_of(tmp_path / "other.h5", "a", head=header("second"))
    for number, path in enumerate((first, more, other), 1):
        done, _ = share(path, remote, name="rg", add=True)
        assert done.is_new and done.version.number == number and done.version.changes.removed == 0
    held = pull(StoreName("rg"), remote, out=tmp_path / "held.h5").path
    with open_store(held) as store:
        videos = {
            stream.name.partition("@")[0]: sorted(record.video_id for record in stream.records)
            for stream in store.streams
        }
        assert videos["second"] == ["a"] and [ids for name, ids in videos.items() if name != "second"] == [list("abc")]
    assert not share(more, remote, name="rg", add=True)[0].is_new
    store_of(tmp_path / "wrong.h5", "a", lengths={"a": 9})
    with pytest.raises(StoreConflict):
        share(tmp_path / "wrong.h5", remote, name="rg", add=True)
    assert len(versions(open_place(remote), "rg")) == 3


@pytest.mark.parametrize("begun", [False, True])
def test_an_addition_is_made_again_when_another_was_faster(tmp_path, library, monkeypatch, begun):
    remote, usual = str(tmp_path / "remote"), share_module.push
    paths = [store_of(tmp_path / f"{ids}.h5", ids) for ids in ("a", "b", "c")]
    if begun:
        share(paths[0], remote, name="rg")
    waiting = [paths[1]]

    def late(*arguments, **options):
        while waiting:
            share(waiting.pop(), remote, name="rg", add=True)
        return usual(*arguments, **options)

    monkeypatch.setattr(share_module, "push", late)
    share(paths[2], remote, name="rg", add=True)
    with open_store(pull(StoreName("rg"), remote, out=tmp_path / "held.h5").path) as store:
        assert sorted(record.video_id for record in store.stream().records) == (list("abc") if begun else list("bc"))
