"""What every kind of place must do."""

from __future__ import annotations

import threading

import pytest

from longtake.features.errors import FeaturesError, NotAStore
from longtake.features.remotes.place import open_place
from tests.features.remotes.places import KINDS, remote_of


@pytest.mark.parametrize("kind", KINDS)
def test_every_place_keeps_the_contract(tmp_path, monkeypatch, kind):
    with remote_of(kind, tmp_path, monkeypatch) as remote:
        place = open_place(remote)
        place.require_writable()
        place.require_writable()
        assert place.read("a/b", 9) is None and place.size("a/b") is None and place.walk("a") == []
        place.put("packs/x", b"0123456789")
        assert place.create("a/b", b"first") and not place.create("a/b", b"second")
        assert place.read("a/b", 5) == b"first" and place.size("packs/x") == 10
        assert place.read_range("packs/x", 2, 5) == b"234" and place.read_range("packs/x", 8, 20) == b"89"
        with pytest.raises(NotAStore, match="more than 4 bytes"):
            place.read("a/b", 4)
        with pytest.raises(NotAStore, match="packs/none"):
            place.read_range("packs/none", 0, 3)
        place.replace_all({"a/c": b"old", "a/d/e": b"1"})
        place.replace_all({"a/c": b"new"})
        assert place.read("a/c", 9) == b"new" and sorted(place.walk("a")) == ["b", "c", "d/e"]


@pytest.mark.parametrize("kind", KINDS)
def test_of_many_writers_of_one_name_one_wins(tmp_path, monkeypatch, kind):
    with remote_of(kind, tmp_path, monkeypatch) as remote:
        won: list[bytes] = []

        def write(number: int) -> None:
            data = f"writer {number}".encode()
            if open_place(remote).create("versions/1", data):
                won.append(data)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1 and open_place(remote).read("versions/1", 99) == won[0]


def test_a_remote_needs_a_name():
    with pytest.raises(FeaturesError, match="name a remote"):
        open_place("")
