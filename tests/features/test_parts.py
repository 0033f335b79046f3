"""Parts and packing: nothing lost, nothing half-visible."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from longtake.features import compose, parts
from longtake.features.errors import InvalidFeatures, StoreConflict
from longtake.features.parts import add_text, pack, parts_folder, read_finished
from longtake.features.store import open_store
from longtake.features.tools.convert import convert
from longtake.features.tools.inspect import verify
from longtake.manifests.card import find_card
from tests.features.fakes import header, labels, list_parts, lock, make_store, text_features, video, write_part

ROOT = Path(__file__).resolve().parents[2]
IDS = ["a", "b", "c", "d"]


def part(store, video_id, num_clips, seed=0, head=None):
    head = head or header()
    own = labels(IDS).subset([IDS.index(video_id)])
    return write_part(store, "d", own, {head: video(video_id, num_clips, head.dim, seed)})


def publish(store, **changes):
    return pack(store, dataset="d", card=None, labels=changes.pop("labels", labels(IDS)), **changes)


def test_parts_become_a_store_in_the_manifests_order(tmp_path):
    store = tmp_path / "s.h5"
    for video_id in ("c", "a"):
        part(store, video_id, 3)
    assert publish(store).num_videos == 2
    part(store, "b", 2)
    assert set(read_finished(store, "d", None).records[header().recipe_id]) == {"a", "b", "c"}
    publish(store)
    with open_store(store) as opened:
        assert [record.video_id for record in opened.stream().records] == ["a", "b", "c"]
        assert np.diff(opened.stream().offsets).tolist() == [3, 2, 3]
    assert not parts_folder(store).exists()


def test_a_later_part_wins_but_failure_never_replaces_success(tmp_path):
    store = tmp_path / "s.h5"
    part(store, "a", 0)
    publish(store)
    part(store, "a", 3, seed=1)
    publish(store)
    part(store, "a", 0)
    part(store, "b", 4, seed=2)
    publish(store)
    part(store, "b", 4, seed=3)
    publish(store)
    with open_store(store) as opened:
        stream = opened.stream()
        np.testing.assert_array_equal(stream.read(0).features, video("a", 3, seed=1).features)
        np.testing.assert_array_equal(stream.read(1).features, video("b", 4, seed=3).features)


def test_labels_are_refreshed_without_touching_features(tmp_path):
    store = tmp_path / "s.h5"
    part(store, "a", 3)
    publish(store)
    publish(store, labels=labels(["a"], [99.0]), texts=[text_features()])
    with open_store(store) as opened:
        rows = {video_id: opened.labels.row(i) for i, video_id in enumerate(opened.labels.video_ids)}
        assert rows["a"].scores == {"total": 99.0} and rows["b"].scores == {"total": 1.0}
        assert opened.stream().num_clips == 3 and len(opened.texts) == 1


def test_nothing_to_pack_writes_nothing(tmp_path):
    store = tmp_path / "s.h5"
    part(store, "a", 3)
    publish(store)
    before = store.stat().st_mtime_ns
    assert publish(store).published
    assert store.stat().st_mtime_ns == before


def narrow_store(store):
    """A store of one video that was converted to float16."""
    part(store, "a", 3)
    publish(store)
    wide = store.rename(store.with_name("wide.h5"))
    convert(wide, store, dtype="float16")


def test_parts_of_videos_that_the_table_no_longer_knows(tmp_path):
    """A killed run left them, and then a row was removed from the table: they keep their own labels."""
    store = tmp_path / "s.h5"
    for video_id in ("d", "a", "c"):
        part(store, video_id, 3)
    publish(store, labels=labels(["c", "b"]))
    with open_store(store) as opened:
        assert set(opened.labels.video_ids) == set("abcd")
        rows = {video_id: opened.labels.row(i) for i, video_id in enumerate(opened.labels.video_ids)}
        whole = labels(IDS)
        assert all(rows[v].scores == whole.row(IDS.index(v)).scores for v in ("a", "d"))
        assert {record.video_id for record in opened.stream().records} == {"a", "c", "d"}


def test_finishing_order_leaves_no_trace(tmp_path):
    for store, order in ((tmp_path / "s.h5", "dac"), (tmp_path / "t.h5", "cad")):
        for video_id in order:
            part(store, video_id, 3)
        publish(store, labels=labels(["b"]))
    with open_store(tmp_path / "s.h5") as one, open_store(tmp_path / "t.h5") as other:
        assert one.labels.video_ids == other.labels.video_ids == ("b", "a", "c", "d")


def test_a_locked_store_is_not_published(tmp_path):
    store = tmp_path / "s.h5"
    part(store, "a", 3)
    path = lock(store, "1@another-machine")
    packed = publish(store)
    assert (packed.published, packed.num_waiting) == (False, 1) and not store.exists()
    assert packed.trouble(store) == (
        f"{store} is locked by process 1@another-machine ({path}). If that process is gone, delete the lock file. "
        f"1 finished videos are kept in {parts_folder(store)}; run the same command again to publish them"
    )
    path.unlink()
    assert publish(store).published


def test_packers_that_come_and_go(tmp_path):
    """Each removes the empty folder when it is done, while the others make it."""
    store = tmp_path / "s.h5"
    part(store, "a", 3)
    publish(store)
    # Processes, not threads: a lock names a process.
    code = (
        "import sys, pathlib; from tests.features.test_parts import publish\n"
        "for _ in range(60): publish(pathlib.Path(sys.argv[1]))"
    )
    packers = [
        subprocess.Popen([sys.executable, "-c", code, store], cwd=ROOT, stderr=subprocess.PIPE) for _ in range(3)
    ]
    assert [packer.communicate()[1] for packer in packers] == [b""] * 3


def test_a_folder_that_cannot_be(tmp_path):
    """A link to a disk that is not mounted: an error after a limited number of tries."""
    (tmp_path / "features").symlink_to(tmp_path / "gone" / "features")
    for work in (publish, lambda store: part(store, "a", 3)):
        with pytest.raises(FileExistsError, match="features"):
            work(tmp_path / "features" / "s.h5")


def test_a_folder_that_a_packer_takes_away_before_a_part_is_there(tmp_path, monkeypatch):
    store, begin, calls = tmp_path / "s.h5", os.open, []

    def taken_away(path, *arguments):
        if str(path).endswith(".open") and not calls:
            calls.append(path)
            Path(path).parent.rmdir()
        return begin(path, *arguments)

    monkeypatch.setattr(os, "open", taken_away)
    part(store, "a", 3)
    assert len(calls) == 1 and publish(store).num_videos == 1


def test_an_old_part_of_many_videos_is_copied_in_blocks(tmp_path, monkeypatch):
    """Imports of earlier releases left such parts. Videos that are replaced, added or kept are whole."""
    store = make_store(tmp_path / "s.h5", {"a": 3, "b": 2, "c": 4})
    made = make_store(tmp_path / "more.h5", {"b": 5, "c": 4, "d": 6}, seed=7)
    with open_store(store) as before, open_store(made) as more:
        expected = {row: before.stream().read(row).features for row in "a"}
        expected |= {row: more.stream().read(row).features for row in "bcd"}
    parts_folder(store).mkdir()
    made.rename(parts_folder(store) / "more.h5")
    monkeypatch.setattr(compose, "_old_item", None)
    assert publish(store).num_videos == 1 and not parts_folder(store).exists()
    with open_store(store) as opened:
        assert [record.video_id for record in opened.stream().records] == list("abcd")
        for video_id, features in expected.items():
            np.testing.assert_array_equal(opened.stream().read(video_id).features, features)
        assert not verify(opened)


def test_numbers_that_do_not_fit(tmp_path):
    store = tmp_path / "s.h5"
    narrow_store(store)
    head = header()
    large = replace(video("b", 2, head.dim, 1), features=np.full((2, head.dim), 1e5, np.float32))
    write_part(store, "d", labels(IDS).subset([1]), {head: large})
    with pytest.raises(
        InvalidFeatures, match="b: values up to 1e\\+05 do not fit the float16 of the store.*--dtype float32"
    ):
        publish(store)


def test_texts_before_the_first_video_is_published(tmp_path):
    store = tmp_path / "s.h5"
    part(store, "a", 3)
    add_text(store, "d", None, text_features())
    with open_store(store) as opened:
        assert opened.labels.video_ids == ("a",) and len(opened.texts) == 1


def test_parts_of_another_dataset(tmp_path):
    store = tmp_path / "s.h5"
    part(store, "a", 3)
    card = find_card("rg")
    with pytest.raises(StoreConflict, match="store of d, and this is of rg"):
        read_finished(store, "rg", card)
    with pytest.raises(StoreConflict, match="store of d, and this is of rg"):
        pack(store, dataset="rg", card=card, labels=labels(IDS))
    with pytest.raises(StoreConflict, match="store of d, and this is of rg"):
        add_text(store, "rg", card, text_features())
    assert len(list_parts(store)) == 1


def test_a_part_that_is_packed_while_it_is_looked_at(tmp_path, monkeypatch):
    store = tmp_path / "s.h5"
    for video_id in ("a", "b"):
        part(store, video_id, 3)
    find = parts.find_parts
    published = []

    def others_publish_now(folder, *arguments):
        found = find(folder, *arguments)
        if not published:
            published.append(True)
            monkeypatch.setattr(parts, "find_parts", find)
            publish(store)
        return found

    monkeypatch.setattr(parts, "find_parts", others_publish_now)
    assert set(read_finished(store, "d", None).records[header().recipe_id]) == {"a", "b"} and published


def test_a_store_that_was_made_narrower_grows(tmp_path):
    store = tmp_path / "s.h5"
    narrow_store(store)
    part(store, "b", 2, seed=1)
    publish(store)
    with open_store(store) as opened:
        stream = opened.stream()
        assert stream.features.dtype == np.float16
        np.testing.assert_array_equal(stream.read("b").features, video("b", 2, seed=1).features.astype(np.float16))
        assert verify(opened) == []
