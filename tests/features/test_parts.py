"""Parts and packing: nothing lost, nothing half-visible."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from longtake.errors import LongtakeWarning
from longtake.features import compose, parts
from longtake.features.errors import InvalidFeatures, StoreConflict
from longtake.features.finished import read_finished
from longtake.features.found_parts import MEMORY_PER_BYTE, find_parts
from longtake.features.parts import add_text, pack, part_writer, parts_folder
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


def many(store, videos=12, per_segment=3):
    """Segments of videos that were finished in another order than that of the labels."""
    names = [f"v{number:02}" for number in range(videos)]
    for begin in range(videos - per_segment, -1, -per_segment):
        with part_writer(store) as writer:
            for number in range(begin, begin + per_segment):
                own = labels(names).subset([number])
                writer.append("d", own, {header(): video(names[number], 0 if number == 4 else 2, seed=number)})
    return names


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_what_memory_does_not_hold_is_published_in_several_steps(tmp_path, suffix, monkeypatch):
    whole, store = tmp_path / f"whole{suffix}", tmp_path / f"s{suffix}"
    names = many(whole)
    assert many(store) == names
    assert publish(whole, labels=labels(names), texts=[text_features()]).num_videos == 12
    segment = next(find_parts(parts_folder(store), memory=0)).segments[0]
    written, write = [], parts.write_store

    def counted(path, **content):
        write(path, **content)
        written.append(len(list_parts(store)))

    monkeypatch.setattr(parts, "write_store", counted)
    memory = int(2.5 * MEMORY_PER_BYTE * segment.num_text_bytes)
    packed = publish(store, labels=labels(names), texts=[text_features()], memory=memory)
    assert packed.num_videos == 12 and not packed.trouble(store) and not parts_folder(store).exists()
    # Segments are removed after each step.
    assert written == [4, 2]
    with open_store(store) as one, open_store(whole) as other:
        assert one.labels.equals(other.labels) and one.texts[0].equals(other.texts[0])
        assert {r.video_id: r.status for r in one.stream().records} == {
            r.video_id: r.status for r in other.stream().records
        }
        for name in names:
            np.testing.assert_array_equal(one.stream().read(name).features, other.stream().read(name).features)
        assert verify(one) == []


def test_little_free_memory_does_not_make_a_step_of_every_segment(tmp_path, monkeypatch):
    monkeypatch.setattr("longtake.memory.free_memory", lambda: 1000)
    names = many(tmp_path / "s.zarr")
    written, write = [], parts.write_store
    monkeypatch.setattr(parts, "write_store", lambda path, **content: (written.append(path), write(path, **content)))
    assert publish(tmp_path / "s.zarr", labels=labels(names)).num_videos == 12 and len(written) == 1


def test_a_damaged_video_and_a_second_recipe_in_a_later_step(tmp_path):
    """Both are counted as if everything were published at once, also where a later step has a damaged video whole."""
    store = tmp_path / "s.zarr"
    names = many(store)
    other = replace(header(), fps=30.0)
    write_part(store, "d", labels(names).subset([0]), {other: video(names[0], 2)})
    newest = next(one for one in find_parts(parts_folder(store), memory=0) if one.parts[0].video.video_id == "v03")
    content = bytearray(newest.segments[0].path.read_bytes())
    content[newest.parts[0].video.streams[0].offset] ^= 1
    newest.segments[0].path.write_bytes(content)
    shutil.copytree(tmp_path, tmp_path.with_name("again"))
    with pytest.warns(LongtakeWarning, match="features of v03 are damaged"):
        packed = publish(store, labels=labels(names), memory=0, headers=[header(), other])
    assert (packed.num_videos, packed.num_waiting, packed.num_lost) == (12, 1, 1)
    with open_store(store) as opened:
        assert sorted(opened.stream().rows()) == sorted({*names} - {"v03"})
    store = tmp_path.with_name("again") / "s.zarr"
    write_part(store, "d", labels(names).subset([3]), {header(): video("v03", 2)})
    with pytest.warns(LongtakeWarning, match="features of v03 are damaged"):
        packed = publish(store, labels=labels(names), memory=0, headers=[header(), other])
    assert (packed.num_videos, packed.num_waiting, packed.num_lost) == (13, 1, 0)
    with open_store(store) as opened:
        assert sorted(opened.stream().rows()) == names


def test_texts_are_written_once(tmp_path, monkeypatch):
    """Not again for each share of parts that wait."""
    store = tmp_path / "s.zarr"
    names = many(store)
    publish(store, labels=labels(names))
    for number in range(3):
        write_part(store, "d", labels(names).subset([number]), {replace(header(), fps=30.0): video(names[number], 2)})
    written, write = [], parts.write_store
    monkeypatch.setattr(parts, "write_store", lambda path, **content: (written.append(path), write(path, **content)))
    assert publish(store, labels=labels(names), texts=[text_features()], memory=0).published
    assert len(written) == 1 and len(list_parts(store)) == 3
    with open_store(store) as opened:
        assert opened.texts[0].equals(text_features())


def test_steps_that_end_early_are_continued(tmp_path, monkeypatch):
    store = tmp_path / "s.zarr"
    names = many(store)
    write = parts.write_store

    def stop_after_the_first(path, **content):
        if store.exists():
            raise OSError(28, "No space left on device")
        write(path, **content)

    monkeypatch.setattr(parts, "write_store", stop_after_the_first)
    with pytest.raises(OSError, match="No space"):
        publish(store, labels=labels(names), memory=0)
    with open_store(store) as opened:
        assert len(opened.stream().videos) == 3
    assert len(read_finished(store, "d", None).records[header().recipe_id]) == 12
    monkeypatch.setattr(parts, "write_store", write)
    assert publish(store, labels=labels(names), memory=0).num_videos == 9
    with open_store(store) as opened:
        assert sorted(opened.stream().rows()) == names


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
