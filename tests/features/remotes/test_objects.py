from __future__ import annotations

import fsspec
import pytest

from longtake.errors import LongtakeWarning
from longtake.features.errors import FeaturesError, NotAStore
from longtake.features.remotes.objects import PROBE, ObjectPlace
from tests.features.fakes import store_of
from tests.features.remotes.places import differences, pull_name, push_path
from tests.features.servers import s3_server


def test_round_trip_over_s3_sends_only_what_is_new(tmp_path, monkeypatch):
    with s3_server(monkeypatch) as bucket:
        remote = f"s3://{bucket}/{tmp_path.name}/stores"
        store = store_of(tmp_path / "a.zarr", "abc")
        assert push_path(store, remote).is_new
        again = push_path(store, remote)
        assert not again.is_new and (again.num_files, again.num_bytes) == (0, 0)
        assert differences(pull_name("rg@1", remote).path, store) == []


def test_a_server_that_ignores_the_condition_is_refused(monkeypatch):
    with s3_server(monkeypatch) as bucket:
        filesystem = fsspec.filesystem("s3")
        place = ObjectPlace(f"s3://{bucket}/ignores")
        place.require_writable()
        assert filesystem.exists(f"{bucket}/ignores/{PROBE}")
        usual = type(filesystem)._call_s3

        async def without_condition(self, *arguments, IfNoneMatch=None, **rest):
            return await usual(self, *arguments, **rest)

        monkeypatch.setattr(type(filesystem), "_call_s3", without_condition)
        with pytest.raises(FeaturesError, match="ignores conditional writes"):
            place.require_writable()


def test_a_lost_answer_is_no_second_version(monkeypatch):
    """The client repeats a request whose answer was lost, and then finds its own file."""
    with s3_server(monkeypatch) as bucket:
        place = ObjectPlace(f"s3://{bucket}/answers")
        place.put("stores/a", b"mine")
        assert place.create("stores/a", b"mine") and not place.create("stores/a", b"other")


def test_a_bucket_that_is_missing_is_no_empty_remote(monkeypatch):
    with s3_server(monkeypatch), pytest.raises(NotAStore, match="cannot write s3://nowhere"):
        ObjectPlace("s3://nowhere/stores").put("a", b"x")


def test_other_places_are_written_with_a_warning():
    place = ObjectPlace("memory://lab")
    with pytest.warns(LongtakeWarning, match="no conditional writes"):
        place.require_writable()
    assert place.create("a/b/c", b"x") and not place.create("a/b/c", b"y")
    assert place.walk("a") == ["b/c"] and place.read("a/b/c", 9) == b"x"


def test_passwords_are_not_shown(monkeypatch):
    def refuse(url):
        assert url == "sftp://me:secret@lab/stores/a"
        raise OSError("no route")

    for module in ("remote", "remotes.objects"):
        monkeypatch.setattr(f"longtake.features.{module}.open_filesystem", refuse)
    place = ObjectPlace("sftp://me:secret@lab/stores")
    for call in (lambda: place.read("a", 9), lambda: place.size("a"), lambda: place.put("a", b"x")):
        with pytest.raises(NotAStore, match="sftp://lab/stores/a: no route"):
            call()
    assert place.url == "sftp://lab/stores"
