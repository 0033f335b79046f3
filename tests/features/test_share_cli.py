"""The commands by which stores are shared, as a person types them."""

from __future__ import annotations

import json

import pytest

from longtake.train.cli import main as train
from tests.calls import invoke
from tests.features.fakes import run, store_of
from tests.features.tools.test_terms import store_with
from tests.train.planted import planted_store


@pytest.fixture(autouse=True)
def own_library(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAKE_LIBRARY", str(tmp_path / "library"))
    monkeypatch.delenv("LONGTAKE_REMOTE", raising=False)


def test_push_versions_pull_log_diff(tmp_path, monkeypatch):
    remote = tmp_path / "remote"
    store = store_of(tmp_path / "a.h5", "ab")
    said = run("push", store, remote, "--note", "first one")
    assert "d@20" in said and "+fake@" in said and "the dataset d: its licence is unknown" in said
    assert "holds this already; nothing was pushed" in run("push", store, remote)
    run("push", store_of(tmp_path / "b.h5", "abc"), remote)
    monkeypatch.setenv("LONGTAKE_REMOTE", str(remote))
    assert "holds this already" in run("push", tmp_path / "b.h5")
    assert len(run("versions", "d").splitlines()) == 2 and "2 versions" in run("versions")
    assert [facts["number"] for facts in json.loads(run("versions", "d", "--json"))] == [1, 2]
    said = run("pull", "d@1")
    assert "2 videos; fetched" in said and "was here already" in run("pull", "d@1")
    said = run("diff", "d@1", "d@2", status=1)
    assert "c: only in the second" in said and "labels" in said
    log = run("log", store)
    assert "first one" in log and f"= {store}" in log.splitlines()[0] and "1 videos added" in log
    assert "2 videos, 8 clips" in run("info", "d@1") or "2 videos" in run("info", "d@1")
    assert "@misc{d-20" in run("cite", "d@1") and "nothing to cite" in run("cite", store, status=2)


def test_a_licence_refuses_and_a_permission_is_shown(tmp_path):
    from dataclasses import replace

    from longtake.manifests.card import find_card

    store_with(tmp_path / "a.h5", replace(find_card("rg"), forbids_sharing="Keep it."), "random:0").close()
    said = run("push", tmp_path / "a.h5", tmp_path / "remote", "--name", "rg", status=2)
    assert "the dataset rg: Keep it." in said and "--permission" in said and not (tmp_path / "remote").exists()
    said = run("push", tmp_path / "a.h5", tmp_path / "remote", "--name", "rg", "--permission", "J. Doe")
    assert "passed on with permission (J. Doe), against the dataset rg: Keep it." in said
    assert "permission: J. Doe" in run("log", "rg", "--from", tmp_path / "remote")
    run("pull", "rg", "--from", tmp_path / "remote")
    assert "@misc{rg," in run("cite", "rg") and "content" in run("cite", "rg@1")
    assert '"http://mlcommons.org/croissant/1.1"' in run("card", "rg", "--croissant")


@pytest.mark.parametrize("arguments, words", [
    (("pull", "rg"), "set LONGTAKE_REMOTE"), (("pull", "RG", "--from", "x"), "not the name of a store"),
    (("versions", "rg", "--from", "empty"), "no store 'rg'"), (("push", "a.h5", "https://example.org/x"), "read only"),
    (("pull", "rg", "--from", "x", "--out", "s3://a/b.zarr"), "is remote"), (("info", "rg"), "rg was not pulled"), (("push", "a.h5"), "name the remote after STORE"),
])  # fmt: skip
def test_mistakes(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    store_of(tmp_path / "a.h5", "ab")
    assert words in run(*arguments, status=2)


def test_heads_are_trained_by_name(tmp_path, monkeypatch):
    store = planted_store(tmp_path / "s.h5", num_train=12, num_test=4)
    run("push", store, tmp_path / "remote", "--name", "rg")
    monkeypatch.setenv("LONGTAKE_REMOTE", str(tmp_path / "remote"))
    by_name = invoke(
        train, "heads", "--features", "rg@1", "--head", "ridge", "--out", tmp_path / "one", "--json"
    ).stdout
    by_path = invoke(train, "heads", "--features", store, "--head", "ridge", "--out", tmp_path / "two", "--json").stdout
    tables = [json.loads(text)["table"] for text in (by_name, by_path)]
    assert [[row[key] for row in tables[0] for key in ("spearman", "mse")]] == [
        [row[key] for row in tables[1] for key in ("spearman", "mse")]
    ]
