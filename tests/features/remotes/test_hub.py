"""The hub, through huggingface_hub itself: what travels, and what two writers do."""

from __future__ import annotations

import threading

import pytest

from longtake.features.errors import FeaturesError, NotAStore, NotInStore
from longtake.features.remotes.history import read_index, versions
from longtake.features.remotes.hub import HubPlace
from longtake.features.remotes.place import open_place
from tests.features.hub_server import REPO, hub_server
from tests.features.remotes.places import differences, pull_name, push_path
from tests.features.remotes.test_push import IDS, ONE, wide

pytest.importorskip("huggingface_hub")
REMOTE = f"hf://datasets/{REPO}/stores"
REQUESTS = 8000
"""More than tables, manifest and index take here."""


def test_round_trip_and_bytes(tmp_path, monkeypatch):
    with hub_server(monkeypatch) as hub:
        store = wide(tmp_path / "a.h5")
        push_path(store, REMOTE)
        assert len(IDS) * ONE < sum(hub.sent_bytes) < len(IDS) * ONE + REQUESTS
        assert len(hub.commits) == 3, "the version with all its files, and the index"
        hub.sent_bytes.clear()
        assert not push_path(store, REMOTE).is_new and sum(hub.sent_bytes) < REQUESTS
        push_path(wide(tmp_path / "b.h5", "abcdxefgh"), REMOTE)
        assert ONE < sum(hub.sent_bytes) < ONE + 2 * REQUESTS
        hub.read_bytes.clear()
        part = pull_name("rg@1", REMOTE, only=["c"])
        assert part.num_bytes == ONE and ONE < sum(hub.read_bytes) < ONE + REQUESTS
        assert differences(pull_name("rg@1", REMOTE).path, store) == []
        assert differences(pull_name("rg", REMOTE).path, tmp_path / "b.h5") == []
        with pytest.raises(NotInStore, match="no store 'fisv'"):
            pull_name("fisv", REMOTE)


def test_of_two_commits_at_one_time_none_is_lost(tmp_path, monkeypatch):
    """Another writer commits just before ours, the first time: the hub refuses ours, and it is made again."""
    with hub_server(monkeypatch) as hub:
        stores = [wide(tmp_path / f"{n}.h5", IDS[: n + 2]) for n in range(2)]
        once = iter([lambda: push_path(stores[1], REMOTE)])

        def another_first():
            if (push := next(once, None)) is not None:
                thread = threading.Thread(target=push)
                thread.start()
                thread.join()

        hub.before_commit = another_first
        push_path(stores[0], REMOTE)
        assert hub.conflicts == 1
        assert [v.num_labels for v in versions(open_place(REMOTE), "rg")] == [3, 2]
        assert read_index(open_place(REMOTE))["rg"].number == 2
        for number, store in ((1, stores[1]), (2, stores[0])):
            assert differences(pull_name(f"rg@{number}", REMOTE).path, store) == []


def test_what_is_no_place_on_the_hub(monkeypatch):
    for wrong in (
        "hf://lab/stores",
        "hf://datasets/lab",
        "hf://models/lab/stores",
        "hf://datasets/a%2f/x",
        "hf://datasets/a/b/c@d",
    ):
        with pytest.raises(FeaturesError, match="not a place for stores on the hub"):
            HubPlace(wrong)
    with hub_server(monkeypatch):
        with pytest.raises(FeaturesError, match="no dataset repository lab/other"):
            HubPlace("hf://datasets/lab/other").require_writable()
    monkeypatch.setattr(HubPlace, "_head", lambda self: (_ for _ in ()).throw(OSError("no route to the hub")))
    with pytest.raises(NotAStore, match="cannot write hf://datasets/lab/stores/stores: no route to the hub"):
        HubPlace(REMOTE).require_writable()


def test_the_parts_of_an_address():
    place = HubPlace("hf://datasets/lab/stores@v1.2/a/b/")
    assert (
        place._at("x") == "datasets/lab/stores@v1.2/a/b/x"
        and HubPlace("hf://datasets/lab/s")._at("x") == "datasets/lab/s@main/x"
    )
