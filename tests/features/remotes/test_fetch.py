"""Fetching pieces: together where they are adjacent, once, resumed, and compared."""

from __future__ import annotations

import pytest

from longtake.features.errors import NotAStore
from longtake.features.remotes import fetch as fetch_module
from longtake.features.remotes.fetch import Wanted, fetch, runs_of
from longtake.features.remotes.packs import PackWriter
from longtake.features.remotes.pieces import pack_path
from longtake.features.remotes.place import open_place
from tests.features.remotes.places import Counted

DATA = [bytes([number]) * (number + 3) for number in range(9)]


@pytest.fixture
def pushed(tmp_path):
    """A place that counts, and the pieces of DATA in it."""
    place = open_place(tmp_path / "remote")
    writer = PackWriter(place, {})
    shas = [writer.add(data) for data in DATA]
    writer.close()
    return Counted(place), [Wanted(writer.pieces[sha256], len(data)) for sha256, data in zip(shas, DATA)]


def test_adjacent_pieces_are_one_request_and_none_is_fetched_twice(tmp_path, pushed):
    place, wanted = pushed
    chosen = [wanted[i] for i in (6, 1, 2, 2, 3)]
    fetched, num_bytes = fetch(place, chosen, tmp_path / "here")
    assert [fetched.read(one.piece.sha256) for one in chosen] == [DATA[i] for i in (6, 1, 2, 2, 3)]
    assert len(place.asked) == 2 and num_bytes == place.read_bytes["packs"] == 9 + 4 + 5 + 6
    assert fetch(place, chosen, tmp_path / "here")[1] == 0 and len(place.asked) == 2
    assert wanted[0].piece.sha256 not in fetched
    assert runs_of([]) == [] and fetch(place, [], tmp_path / "none")[1] == 0


def test_limits_of_runs_and_requests(tmp_path, monkeypatch, pushed):
    place, wanted = pushed
    monkeypatch.setattr(fetch_module, "RUN_BYTES", 8)
    monkeypatch.setattr(fetch_module, "SLICE_BYTES", 4)
    fetched, num_bytes = fetch(place, wanted, tmp_path / "here")
    assert [fetched.read(one.piece.sha256) for one in wanted] == DATA and num_bytes == sum(map(len, DATA))
    assert len(runs_of(wanted)) == 8 and max(len(data) for data in DATA) > 8


def test_what_was_fetched_before_is_compared(tmp_path, pushed):
    place, wanted = pushed
    fetch(place, wanted, tmp_path / "here")
    (run,) = (tmp_path / "here").iterdir()
    run.write_bytes(run.read_bytes()[:-1] + b"?")
    assert fetch(place, wanted, tmp_path / "here")[1] == sum(map(len, DATA))
    fetched, _ = fetch(place, wanted, tmp_path / "here")
    run.write_bytes(bytes(run.stat().st_size))
    with pytest.raises(NotAStore, match="has changed since it was fetched"):
        fetched.read(wanted[4].piece.sha256)


@pytest.mark.parametrize(
    "change", [lambda data: data[:-2], lambda data: data[:5] + b"??" + data[7:]], ids=["shorter", "other"]
)
def test_a_remote_that_is_damaged_leaves_nothing(tmp_path, pushed, change):
    place, wanted = pushed
    path = tmp_path / "remote" / pack_path(wanted[0].piece.pack)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(NotAStore, match="damaged"):
        fetch(place, wanted, tmp_path / "here")
    assert list((tmp_path / "here").iterdir()) == []
