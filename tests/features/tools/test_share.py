from __future__ import annotations

import json
from dataclasses import replace

import pytest

from longtake.features.errors import FeaturesError
from longtake.features.remotes.history import versions
from longtake.features.remotes.place import open_place
from longtake.features.tools.share import share
from longtake.manifests.card import find_card
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
