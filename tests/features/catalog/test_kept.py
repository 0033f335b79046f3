"""What is kept of stores is what they hold; and stores are read also when the cache is damaged."""

import os
import sqlite3
from contextlib import closing

import pytest

from longtake.features.catalog import build
from longtake.features.catalog.build import add_stores
from longtake.features.catalog.kept import NAME, Kept, stamp_of
from longtake.features.catalog.site import Site
from longtake.features.catalog.stores import read_store
from longtake.features.catalog.walk import STORE, Found
from tests.features.fakes import KINDS, make_store


@pytest.fixture
def reads(monkeypatch):
    """The names of stores that were read."""
    names, read = [], build.read_store
    monkeypatch.setattr(build, "read_store", lambda one, number: names.append(one.name) or read(one, number))
    return names


def data(tmp_path, *paths):
    site = Site()
    with Kept(tmp_path / "cache") as kept:
        add_stores(site, [Found(path.name, path, STORE) for path in paths], kept=kept)
    return {name: site.json(name) for name in site.data}


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_is_read_once_until_it_changes(tmp_path, reads, kind):
    path, other = make_store(tmp_path / f"s{kind}", {"a": 2, "b": 0}), make_store(tmp_path / f"t{kind}", {"c": 2})
    first = data(tmp_path, path, other)
    assert data(tmp_path, path, other) == first and len(reads) == 2
    # The numbers of stores are those of the call.
    assert b'"store": 1' in data(tmp_path, other, path)["videos-0"] and len(reads) == 2
    make_store(path, {"a": 2, "b": 3})
    changed = data(tmp_path, path, other)
    assert reads[2:] == [path.name] and changed != first
    with Kept(tmp_path / "none") as kept:
        assert kept.find(path, stamp_of(path)) is None


def test_what_cannot_be_read_is_tried_again(tmp_path, reads):
    (tmp_path / "x.h5").write_text("no store")
    data(tmp_path, tmp_path / "x.h5")
    data(tmp_path, tmp_path / "x.h5")
    assert len(reads) == 2


def test_a_damaged_cache(tmp_path, reads):
    path = make_store(tmp_path / "s.h5", {"a": 2})
    first = data(tmp_path, path)
    cache = tmp_path / "cache" / NAME
    assert cache.stat().st_mode & 0o77 == 0, "labels are for their owner"
    for value in ("", "[", "[1, 2]", '[{"name": "s"}, {}]', "[{}, null]"):
        with sqlite3.connect(cache) as database:
            database.execute("update stores set value = ?", (value,))
        database.close()
        assert data(tmp_path, path) == first
    cache.write_bytes(b"no database" * 1000)
    assert data(tmp_path, path) == first
    assert len(reads) == 7


def test_two_processes_do_not_wait_for_each_other(tmp_path, reads):
    paths = [make_store(tmp_path / f"{name}.h5", {"a": 2}) for name in "st"]
    with Kept(tmp_path / "cache") as kept:
        table = read_store(Found("s", paths[0], STORE), 0)
        kept.keep("/elsewhere", "stamp", *table)
        with closing(sqlite3.connect(tmp_path / "cache" / NAME, timeout=0)) as other:
            other.execute("insert into stores values ('x', '', '')")  # Not locked between two stores.
            for name in ("a", "b", "c"):
                kept.keep(name, "stamp", *table)  # Locked by the other: it waits once.
        assert kept.find("/elsewhere", "stamp") is not None and kept.find("c", "stamp") is None
        assert not kept._writes


def test_names_that_are_no_text(tmp_path, reads):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    path = make_store(folder / "s.h5", {"a": 2})
    assert data(tmp_path, path) == data(tmp_path, path) and len(reads) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written(tmp_path, reads):
    (tmp_path / "cache").mkdir(mode=0o500)
    path = make_store(tmp_path / "s.h5", {"a": 2})
    assert data(tmp_path, path) == data(tmp_path, path) and len(reads) == 2


def test_urls_are_always_read():
    assert stamp_of("s3://lab/s.zarr") == "" and stamp_of("/nowhere/s.h5") == ""
