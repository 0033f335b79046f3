"""Versions and the index: what a reader finds after races and kills."""

from __future__ import annotations

import json
import threading

import pytest

from longtake.features.errors import NotAStore, NotInStore
from longtake.features.remotes import history
from longtake.features.remotes.history import (
    INDEX,
    find_version,
    latest,
    newest_of_each,
    publish,
    update_index,
    versions,
)
from longtake.features.remotes.place import open_place
from longtake.features.remotes.web import WebPlace
from longtake.features.store_name import StoreName
from tests.features.remotes.test_versions import VERSION
from tests.features.servers import http_server


def add(place, name="rg", label="2026-11-29"):
    def make(before):
        number = before.number + 1 if before else 1
        return history.Version(**{**vars(VERSION), "name": name, "number": number, "label": f"{label}.{number}"})

    return publish(place, name, make)


def test_versions_are_found_by_number_and_by_date(tmp_path):
    place = open_place(tmp_path)
    for _ in range(3):
        add(place)
    assert [v.number for v in versions(place, "rg")] == [1, 2, 3] and latest(place, "rg").number == 3
    assert (
        find_version(place, StoreName("rg", "2")).number
        == find_version(place, StoreName("rg", "2026-11-29.2")).number
        == 2
    )
    with pytest.raises(NotInStore, match="no store 'rgg'; did you mean rg"):
        find_version(place, StoreName("rgg"))
    for wrong in ("4", "2026-11-30"):
        with pytest.raises(NotInStore, match=f"no version rg@{wrong}.*2026-11-29.1, 2026-11-29.2"):
            find_version(place, StoreName("rg", wrong))


def test_many_writers_lose_no_version_and_the_index_has_them_all(tmp_path):
    def push(name):
        for _ in range(4):
            add(open_place(tmp_path), name)
            update_index(open_place(tmp_path))

    threads = [threading.Thread(target=push, args=(name,)) for name in ("a", "a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    place = open_place(tmp_path)
    assert {name: len(versions(place, name)) for name in "abc"} == {"a": 8, "b": 4, "c": 4}
    assert {name: newest.number for name, newest in history.read_index(place).items()} == {"a": 8, "b": 4, "c": 4}


def test_a_reader_that_cannot_list_looks_beyond_an_old_index(tmp_path):
    """As a push that was killed before the index leaves it."""
    place = open_place(tmp_path)
    add(place)
    with http_server(tmp_path) as (url, _):
        assert latest(WebPlace(url), "rg").number == 1
        update_index(place)
        add(place)
        add(place)
        assert latest(WebPlace(url), "rg").number == 3 and len(versions(WebPlace(url), "rg")) == 3
        assert [one.number for one in newest_of_each(WebPlace(url))] == [1]
        update_index(place)
        assert [one.number for one in newest_of_each(WebPlace(url))] == [3]


def test_a_version_that_was_removed_is_left_out(tmp_path):
    place = open_place(tmp_path)
    for _ in range(3):
        add(place)
    update_index(place)
    (tmp_path / "stores" / "rg" / "000002.json").unlink()
    assert [v.number for v in versions(place, "rg")] == [1, 3]
    with http_server(tmp_path) as (url, _):
        assert [v.number for v in versions(WebPlace(url), "rg")] == [1, 3]


@pytest.mark.parametrize("text", [b"", b"[]", b'{"format": "longtake-remote", "format_version": 9}', b"<html>",
                                  b'{"format": "longtake-remote", "format_version": 1, "stores": {"../x": {}}}'])  # fmt: skip
def test_a_damaged_index_is_an_error_and_the_next_push_repairs_it(tmp_path, text):
    place = open_place(tmp_path)
    add(place)
    (tmp_path / INDEX).write_bytes(text)
    with http_server(tmp_path) as (url, _), pytest.raises(NotAStore, match=r"index\.json"):
        newest_of_each(WebPlace(url))
    update_index(place)
    assert json.loads((tmp_path / INDEX).read_bytes())["stores"]["rg"]["number"] == 1


def test_a_push_that_is_always_overtaken_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "MOST_TRIES", 3)
    place = open_place(tmp_path)
    monkeypatch.setattr(type(place), "create", lambda *_: False)
    with pytest.raises(NotAStore, match="3 other versions of rg"):
        add(place)


def test_an_index_that_names_versions_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "MOST_MISSING", 5)
    place = open_place(tmp_path)
    add(place)
    update_index(place)
    index = json.loads((tmp_path / INDEX).read_bytes())
    index["stores"]["rg"]["number"] = 900_000
    (tmp_path / INDEX).write_text(json.dumps(index))
    with (
        http_server(tmp_path) as (url, _),
        pytest.raises(NotAStore, match="versions of rg that its index names are missing"),
    ):
        latest(WebPlace(url), "rg")
