"""Names of stores in Python and in commands: found in the library, pulled from the configured remote, or refused with what to do."""

from __future__ import annotations

import shutil

import pytest

from longtake import open_store
from longtake.errors import LongtakeWarning
from longtake.features.errors import FeaturesError, NotAStore, NotInStore
from longtake.features.store import find_store
from tests.features.fakes import store_of
from tests.features.remotes.places import pull_name, push_path


@pytest.fixture
def remote(tmp_path):
    for number, ids in enumerate(("ab", "abc")):
        push_path(store_of(tmp_path / f"{number}.h5", ids), tmp_path / "remote")
    return tmp_path / "remote"


def num_videos(name):
    with open_store(name) as store:
        return len(store.stream().videos)


def test_a_pulled_version_opens_without_the_remote(remote):
    pull_name("rg@1", remote)
    shutil.rmtree(remote)
    assert num_videos("rg@1") == 2 and num_videos("rg") == 2
    with pytest.raises(
        NotInStore, match=r"rg@2 was not pulled \(there are .*features pull rg@2 --from REMOTE, or set LONGTAKE_REMOTE"
    ):
        open_store("rg@2")


def test_what_is_not_here_comes_from_the_configured_remote(remote, monkeypatch):
    monkeypatch.setenv("LONGTAKE_REMOTE", str(remote))
    with pytest.warns(LongtakeWarning, match=r"pulled rg@.* from .*remote to "):
        assert num_videos("rg@1") == 2
    with pytest.warns(LongtakeWarning, match="pulled"):
        assert num_videos("rg") == 3, "without a version, the newest one"
    assert num_videos("rg") == 3
    with pytest.raises(NotInStore, match="no store 'fisv'"):
        open_store("fisv")


def test_offline(remote, monkeypatch):
    pull_name("rg@1", remote)
    monkeypatch.setenv("LONGTAKE_REMOTE", str(remote))
    monkeypatch.setenv("LONGTAKE_OFFLINE", "1")
    assert num_videos("rg") == 2
    with pytest.raises(
        NotInStore, match="fisv was not pulled: the library .* holds rg; LONGTAKE_OFFLINE forbids to pull it from"
    ):
        open_store("fisv")


def test_a_remote_that_cannot_be_reached(remote, monkeypatch):
    pull_name("rg@1", remote)
    monkeypatch.setenv("LONGTAKE_REMOTE", "http://127.0.0.1:9")
    with pytest.warns(LongtakeWarning, match=r"cannot read .*; rg@.*, the newest version that was pulled, is used"):
        assert num_videos("rg") == 2
    with pytest.raises(NotAStore, match="cannot read"):
        open_store("rg@2")


def test_a_store_of_another_remote_is_named(tmp_path, remote, monkeypatch):
    pull_name("rg@1", remote)
    monkeypatch.setenv("LONGTAKE_REMOTE", str(tmp_path / "other"))
    with pytest.warns(LongtakeWarning, match="was pulled from .*remote; LONGTAKE_REMOTE is .*other"):
        assert num_videos("rg@1") == 2


def test_a_path_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rg").mkdir()
    assert find_store("rg") == "rg" and find_store("a/b.h5") == "a/b.h5" and find_store("s3://lab/rg") == "s3://lab/rg"
    with pytest.raises(NotAStore, match="must end in"):
        open_store("rg")


def test_a_version_of_another_remote_with_the_same_date_is_not_taken_for_the_newest(tmp_path, remote, monkeypatch):
    other = store_of(tmp_path / "other.h5", "abcd")
    push_path(other, tmp_path / "elsewhere")
    pull_name("rg", tmp_path / "elsewhere")
    (remote / "stores" / "rg" / "000002.json").unlink()
    monkeypatch.setenv("LONGTAKE_REMOTE", str(remote))
    with pytest.raises(FeaturesError, match="with other content than that of"):
        open_store("rg")
