"""Pushes: what travels, what two pushers and kills leave, and who may push what."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from longtake.features.errors import FeaturesError, InvalidFeatures, NotAStore, NotInStore
from longtake.features.remotes import push as push_module
from longtake.features.remotes.folder import FolderPlace
from longtake.features.remotes.history import latest, read_index, versions
from longtake.features.remotes.pieces import video_num_bytes
from longtake.features.remotes.place import open_place
from longtake.features.remotes.push import content_of, name_for
from longtake.features.store import open_store
from longtake.features.tools.share import share
from longtake.features.types import FAILED, OK
from tests.calls import ROOT
from tests.features.fakes import header, labels, plan, store_of, video, write_store
from tests.features.remotes.places import KINDS, differences, pull_name, push_path, remote_of

WIDE = header(dim=256)
IDS = "abcdefgh"
LENGTHS = dict.fromkeys(IDS + "xyz", 40)
ONE = video_num_bytes(40, 256, np.dtype("float32"))
"""Bytes of one video."""
TABLES = 6000
"""More than tables, manifest and the file of a version take here."""


def wide(path, ids=IDS, **choices):
    return store_of(path, ids, head=WIDE, lengths=LENGTHS, **choices)


@pytest.mark.parametrize("kind, suffix", [("folder", ".h5"), ("folder", ".zarr"), ("s3", ".h5")])
def test_only_what_changed_travels(tmp_path, monkeypatch, kind, suffix):
    with remote_of(kind, tmp_path, monkeypatch) as remote:
        first = push_path(wide(tmp_path / f"a{suffix}"), remote)
        assert len(IDS) * ONE < first.num_bytes < len(IDS) * ONE + TABLES
        again = push_path(tmp_path / f"a{suffix}", remote)
        assert (again.is_new, again.num_files, again.num_bytes, again.version.number) == (False, 0, 0, 1)
        # The same content in the other format is the same content.
        other = wide(tmp_path / ("b.zarr" if suffix == ".h5" else "b.h5"))
        assert push_path(other, remote).num_bytes == 0
        grown = push_path(wide(tmp_path / f"c{suffix}", "abcdXefgh".replace("X", "x")), remote)
        assert ONE < grown.num_bytes < ONE + TABLES and grown.version.changes.added == 1
        if kind != "folder":
            return  # The rest is the same everywhere, and takes long over a network.
        corrected = wide(tmp_path / f"d{suffix}", "abcdxefgh", table=labels(list("abcdxefgh"), [9.0] * 9))
        relabelled = push_path(corrected, remote)
        assert relabelled.num_bytes < TABLES and relabelled.version.changes.labels
        back = push_path(tmp_path / f"a{suffix}", remote)
        assert back.num_bytes < TABLES and back.version.changes.removed == 1
        assert [v.number for v in versions(open_place(remote), "rg")] == [1, 2, 3, 4]
        for number, store in ((1, "a"), (2, "c"), (3, "d"), (4, "a")):
            assert differences(pull_name(f"rg@{number}", remote).path, tmp_path / f"{store}{suffix}") == []


def test_another_backbone_is_an_addition(tmp_path):
    one = wide(tmp_path / "a.h5")
    push_path(one, tmp_path / "remote")
    other = header("other", dim=2)
    with open_store(one) as store:
        videos = [store.stream().read(name) for name in IDS]
    more = [video(name, 3, 2) for name in "ab"] + [video("c", 0, 2)]
    write_store(tmp_path / "b.h5", dataset="d", card=None, labels=labels(list(IDS), [float(ord(v)) for v in IDS]),
                streams=[plan(WIDE, videos), plan(other, more)])  # fmt: skip
    done = push_path(tmp_path / "b.h5", tmp_path / "remote")
    assert done.num_bytes < TABLES and done.version.changes.streams_added == (other.stream_name,)
    assert differences(pull_name("rg", tmp_path / "remote").path, tmp_path / "b.h5") == []
    with open_store(pull_name("rg", tmp_path / "remote").path) as store:
        assert store.stream("other").records[2].error_message == "bröken"


def test_every_kind_of_content_arrives(tmp_path):
    """Halves, failed videos, missing scores, boundaries, groups and texts are in the fakes of other tests; here the types."""
    store = store_of(tmp_path / "a.h5", "ab", dtype="float16")
    push_path(store, tmp_path / "remote")
    pulled = pull_name("rg", tmp_path / "remote").path
    assert differences(store, pulled) == []
    with open_store(pulled) as opened:
        assert opened.stream().features.dtype == np.float16 and opened.stream().records[0].status == OK


@pytest.mark.parametrize("kind", KINDS)
def test_two_pushers_at_one_time_lose_nothing(tmp_path, monkeypatch, kind):
    """Both wait for each other after they have looked for the newest version, so both want the same number."""
    with remote_of(kind, tmp_path, monkeypatch) as remote:
        stores = [store_of(tmp_path / f"{n}.h5", ids) for n, ids in enumerate(("ab", "abc", "abcd"))]
        push_path(stores[0], remote)
        both = threading.Barrier(2)
        usual = push_module._send
        monkeypatch.setattr(push_module, "_send", lambda *arguments: (usual(*arguments), both.wait(30))[0])
        done = []
        threads = [threading.Thread(target=lambda s=store: done.append(push_path(s, remote))) for store in stores[1:]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(one.version.number for one in done) == [2, 3]
        assert len({one.version.label for one in done}) == 2
        for one in done:
            wanted = stores[1] if one.version.num_labels == 3 else stores[2]
            assert differences(pull_name(one.version.full_name, remote).path, wanted) == []
        assert read_index(open_place(remote))["rg"].number == 3


def test_a_push_that_stops_at_any_step_leaves_a_whole_remote(tmp_path, monkeypatch):
    """Every write of a push fails in turn, before it is done and after it."""
    old, new = store_of(tmp_path / "old.h5", "ab"), store_of(tmp_path / "new.h5", "abc")
    writes = ("put", "create", "replace_all")
    step = 0
    while True:
        for when in ("before", "after"):
            remote = tmp_path / f"{step}-{when}"
            push_path(old, remote)
            left = [step]

            def stopping(usual, left=left, when=when):
                def write(*arguments):
                    left[0] -= 1
                    if left[0] == -1 and when == "before":
                        raise KeyboardInterrupt
                    done = usual(*arguments)
                    if left[0] == -1:
                        raise KeyboardInterrupt
                    return done

                return write

            with monkeypatch.context() as patch:
                for name in writes:
                    patch.setattr(FolderPlace, name, stopping(getattr(FolderPlace, name)))
                try:
                    push_path(new, remote)
                except KeyboardInterrupt:
                    pass
            have = versions(open_place(remote), "rg")
            assert len(have) in (1, 2)
            for version in have:
                out = tmp_path / "pulled" / f"{remote.name}-{version.number}.h5"
                assert (
                    differences(pull_name(version.full_name, remote, out=out).path, old if version.number == 1 else new)
                    == []
                )
            push_path(new, remote)
            assert len(versions(open_place(remote), "rg")) == 2 and read_index(open_place(remote))["rg"].number == 2
        if left[0] >= 0:
            break
        step += 1
    assert step >= 5, "a push writes packs, texts, the version and the index"


PUSH = """
import sys
from tests.features.remotes.places import push_path
print("ready", flush=True)
for path in sys.argv[2:]:
    push_path(path, sys.argv[1])
print("done", flush=True)
"""


def kill_at_random(tmp_path, rounds: int, seed: int) -> None:
    draw = random.Random(seed)
    stores = [wide(tmp_path / f"{n}.h5", IDS[: n + 3]) for n in range(4)]
    remote, killed = tmp_path / "remote", 0
    for _ in range(rounds):
        call = [sys.executable, "-c", PUSH, str(remote), *map(str, stores)]
        with subprocess.Popen(call, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(draw.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
            killed += "done" not in process.stdout.read()
        for version in versions(open_place(remote), "rg"):
            out = tmp_path / "pulled.h5"
            found = pull_name(version.full_name, remote, out=out)
            assert differences(found.path, stores[found.version.num_labels - 3]) == []
            out.unlink()
    assert killed, "every push ended before it was killed"
    push_path(stores[0], remote)
    assert read_index(open_place(remote))["rg"].number == latest(open_place(remote), "rg").number
    assert not list(remote.glob("stores/**/.*")), "files of killed pushes are removed"


def test_pushes_that_are_killed(tmp_path):
    kill_at_random(tmp_path, rounds=2, seed=1)


@pytest.mark.slow
def test_many_pushes_that_are_killed(tmp_path):
    kill_at_random(tmp_path, rounds=15, seed=2)


def test_the_name_is_that_of_the_dataset(tmp_path):
    store = store_of(tmp_path / "a.h5", "a")
    with open_store(store) as opened:
        assert name_for(opened, None) == "d" and name_for(opened, "rg-2") == "rg-2"
        for wrong in ("RG", "../x", "a.h5", "a@1", "a b"):
            with pytest.raises(FeaturesError, match="--name"):
                name_for(opened, wrong)


@pytest.mark.parametrize("gone, newest, label", [
    (0, None, "2026-11-29"), (0, "2026-11-28.4", "2026-11-29"), (0, "2026-11-29", "2026-11-29.2"), (0, "2026-11-29.2", "2026-11-29.3"),
    (0, "2026-12-05", "2026-12-05.2"), (1, None, "2026-11-29.2"), (2, "2026-11-28", "2026-11-29.3"), (1, "2026-11-29.2", "2026-11-29.4"),
])  # fmt: skip
def test_labels_only_grow(gone, newest, label):
    """A clock that is behind makes no label that is before, or equal to, another."""
    before = newest and type("V", (), {"label": newest, "number": 7})
    last = gone + (7 if newest else 0)
    assert push_module._label(datetime(2026, 11, 29, 23, 59, tzinfo=UTC), before, last) == label


@pytest.mark.parametrize("is_pushed_first", [False, True])
def test_numbers_and_labels_of_a_version_that_was_taken_back_are_not_given_again(tmp_path, is_pushed_first):
    remote = tmp_path / "remote"
    push_path(wide(tmp_path / "a.h5"), remote)
    gone = share(wide(tmp_path / "b.h5", "abc"), str(remote), name="rg")[0].version
    (remote / "stores" / "rg" / "000002.json").unlink()
    if is_pushed_first:
        share(tmp_path / "a.h5", str(remote), name="rg")  # nothing new, and the index forgets the version
    made = push_path(wide(tmp_path / "c.h5", "abcd"), remote).version
    assert (gone.number, made.number) == (2, 3) and made.label != gone.label
    assert pull_name("rg", remote).version == made and pull_name("rg@3", remote).version == made
    with pytest.raises(NotInStore, match="no version rg@2"):
        pull_name("rg@2", remote)


def test_a_remote_that_lost_files_gets_them_again(tmp_path):
    """Pieces of the version before are only used where their pack is whole."""
    remote = tmp_path / "remote"
    push_path(wide(tmp_path / "a.h5"), remote)
    (pack,) = (path for path in remote.glob("packs/*/*"))
    pack.write_bytes(pack.read_bytes()[: 2 * ONE])
    done = push_path(wide(tmp_path / "b.h5", "abcdefghx"), remote)
    assert 7 * ONE < done.num_bytes < 7 * ONE + TABLES
    assert differences(pull_name("rg@2", remote).path, tmp_path / "b.h5") == []


def test_a_damaged_table_does_not_stop_the_next_push(tmp_path):
    remote = tmp_path / "remote"
    push_path(wide(tmp_path / "a.h5"), remote)
    for text in remote.glob("texts/*/*"):
        text.write_bytes(b"damaged")
    with pytest.raises(NotAStore, match="damaged"):
        pull_name("rg", remote)
    push_path(wide(tmp_path / "b.h5", "abcdefghx"), remote)
    assert differences(pull_name("rg", remote).path, tmp_path / "b.h5") == []


def test_a_damaged_store_is_not_pushed(tmp_path):
    path = wide(tmp_path / "a.h5")
    data = bytearray(path.read_bytes())
    with open_store(path) as store:
        place = bytes(data).index(store.stream().read("c").features.tobytes())
    data[place + 5] ^= 1
    path.write_bytes(data)
    with pytest.raises(NotAStore, match="c"):
        push_path(path, tmp_path / "remote")
    assert latest(open_place(tmp_path / "remote"), "rg") is None


def test_a_failed_video_with_clips_is_not_pushed(tmp_path):
    path = store_of(tmp_path / "a.h5", "ab")
    with open_store(path) as store:
        videos = store.stream().videos
        vars(videos)["records"] = [replace(record, status=FAILED) for record in videos.records]
        with pytest.raises(InvalidFeatures, match="status failed, but"):
            content_of(store)


def test_what_no_reader_would_take_is_not_published(tmp_path):
    store = store_of(tmp_path / "a.h5", "ab", table=labels(list("ab"), [1e300, 1.0]))
    with pytest.raises(NotAStore, match="table of labels"):
        push_path(store, tmp_path / "remote")
    with open_store(store_of(tmp_path / "b.h5", "ab")) as opened, pytest.raises(FeaturesError, match="shorten --note"):
        push_module.push(opened, str(tmp_path / "remote"), name="rg", terms=push_module.Terms(), note="x" * (1 << 20))
    assert versions(open_place(tmp_path / "remote"), "rg") == []


def test_a_pulled_store_has_the_content_that_was_pushed(tmp_path):
    push_path(store_of(tmp_path / "a.zarr", "ab"), tmp_path / "remote")
    assert not push_path(pull_name("rg", tmp_path / "remote").path, tmp_path / "remote").is_new
