from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from longtake.features.errors import FeaturesError
from longtake.features.remote import without_password
from longtake.features.remotes.library import (
    find_held,
    held,
    is_offline,
    library_folder,
    read_record,
    record,
    require_free,
    store_path,
)
from longtake.features.store_name import StoreName
from tests.features.remotes.test_versions import VERSION


def put(version, remote="s3://lab"):
    record(version, remote)
    store_path(version).write_bytes(b"a store")


def test_versions_are_found_by_date_and_number(library):
    assert held("rg") == [] and find_held(StoreName("rg")) is None
    first = replace(VERSION, number=1, label="2026-11-29")
    put(VERSION)
    put(first)
    assert [one.version.number for one in held("rg")] == [1, 2]
    assert find_held(StoreName("rg")).version == VERSION
    assert find_held(StoreName("rg", "1")).path == library / "rg" / "2026-11-29.h5"
    assert find_held(StoreName("rg", "2026-11-29.2")).remote == "s3://lab"
    assert find_held(StoreName("rg", "2026-11-28")) is None


def test_a_record_without_a_store_and_a_store_without_a_record(library):
    record(VERSION, "s3://lab")
    assert held("rg") == []
    require_free(replace(VERSION, content_id="b" * 64), "s3://other")  # a pull that failed takes no name
    put(VERSION)
    path = store_path(VERSION)
    path.with_name("other.h5").write_bytes(b"")
    path.rename(path.with_name("2026-11-30.h5"))
    assert held("rg") == [] and read_record(path) is not None
    path.with_name("2026-11-29.2.json").write_bytes(b"{")
    assert read_record(path) is None


def test_another_store_of_one_name_is_not_replaced(library):
    put(VERSION)
    require_free(VERSION, "s3://other")
    with pytest.raises(FeaturesError, match="of s3://lab, with other content than that of s3://other"):
        require_free(replace(VERSION, content_id="b" * 64), "s3://other")


def test_where_the_library_is(monkeypatch, tmp_path):
    assert library_folder() == tmp_path / "library"
    monkeypatch.delenv("LONGTAKE_LIBRARY")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert library_folder() == Path(tmp_path / "data" / "longtake" / "stores")
    for value, offline in (("", False), ("0", False), ("1", True)):
        monkeypatch.setenv("LONGTAKE_OFFLINE", value)
        assert is_offline() is offline


def test_passwords_are_not_recorded(library):
    record(VERSION, "https://me:secret@example.org/stores")
    assert "secret" not in (library / "rg" / "2026-11-29.2.json").read_text()
    assert (
        without_password("https://me:secret@example.org/s") == "https://example.org/s"
        and without_password("/a@b") == "/a@b"
    )


def test_a_number_that_two_remotes_have_is_not_guessed(library):
    put(VERSION, "s3://one")
    put(replace(VERSION, label="2026-12-01", content_id="b" * 64), "s3://two")
    for name in (StoreName("rg"), StoreName("rg", "2")):
        with pytest.raises(
            FeaturesError, match=r"could be several stores .*rg@2026-11-29.2 of s3://one, rg@2026-12-01 of s3://two"
        ):
            find_held(name)
        assert find_held(name, "s3://two").version.label == "2026-12-01"
    assert find_held(StoreName("rg", "2026-11-29.2")).remote == "s3://one"
