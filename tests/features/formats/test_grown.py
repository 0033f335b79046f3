"""A store that grows by publications holds what one publication would write, and keeps what has not changed."""

import asyncio
import errno
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from zarr.storage import LocalStore

from longtake.features import content
from longtake.features.content import Storage
from longtake.features.errors import NotAStore
from longtake.features.formats import checksums, hdf5, zarr3, zarr3_groups
from longtake.features.parts import pack, parts_folder
from longtake.features.remotes.push import content_of
from longtake.features.store import open_store, write_store
from longtake.features.tools.convert import convert
from longtake.features.tools.inspect import diff, verify
from tests.features import raw
from tests.features.fakes import header, labels, make_store, plan, text_features, video

ROOT = Path(__file__).resolve().parents[3]
DIM = 8
HEAD = header(dim=DIM)
IDS = [f"v{number:02d}" for number in range(24)]
LABELS = labels(IDS)
FORMS = [(".h5", "none"), (".h5", "gzip"), (".zarr", "default")]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    small(monkeypatch.setattr)


def small(put):
    """Blocks of 8 chunks of 4 rows, a checksum for 3 chunks, and columns of 128 rows a file."""
    for module in (content, hdf5, zarr3_groups):
        put(module, "BLOCK_BYTES", 8 * 4 * DIM * 4)
    put(checksums, "BLOCK_BYTES", 3 * 4 * DIM * 4)
    for module in (checksums, hdf5, zarr3_groups):
        put(module, "PIECE_ROWS", 64)
        put(module, "COLUMN_ROWS", 128)


def made(number: int, *, clips: int | None = None, seed: int | None = None):
    """Video 7 has failed at first."""
    clips = (0 if number == 7 else 9 + number % 5) if clips is None else clips
    return video(IDS[number], clips, DIM, number if seed is None else seed)


def write(path, numbers, compression, **changes):
    streams = [plan(HEAD, [changes.get(f"v{number}") or made(number) for number in numbers])]
    table = LABELS.subset(numbers)
    storage = Storage(chunk_rows=4, compression=compression)
    write_store(path, dataset="d", card=None, labels=table, streams=streams, texts=[text_features()], storage=storage)


def publish(store, videos, name="more"):
    """Add a part of many videos, as an import leaves it, and pack it."""
    parts_folder(store).mkdir(exist_ok=True)
    numbers = [IDS.index(one.record.video_id) for one in videos]
    part = parts_folder(store) / f"{name}.h5"
    write_store(part, dataset="d", card=None, labels=LABELS.subset(numbers), streams=[plan(HEAD, videos)])
    assert pack(store, dataset="d", card=None, labels=LABELS).published


def shards(store):
    """Inode of each shard of features of the current generation."""
    with open_store(store) as opened:
        folder = opened.stream().features.unchecked.origin.folder
    return {file.name.split(".")[1]: file.stat().st_ino for file in folder.glob("c.*")}


@pytest.mark.parametrize(("suffix", "compression"), FORMS)
def test_publications_hold_what_one_would(tmp_path, suffix, compression):
    store, one = tmp_path / f"s{suffix}", tmp_path / f"one{suffix}"
    write(store, range(1, 24, 2), compression)
    publish(store, [made(number) for number in (20, 4, 0)])
    # Of as many clips at the same place, of more clips, one that failed before, and new ones.
    new = {9: made(9, seed=99), 17: made(17, clips=20), 7: made(7, clips=6)}
    publish(store, [*new.values(), made(2), made(6)])
    rest = [number for number in range(24) if number % 2 == 0 and number not in (20, 4, 0, 2, 6)]
    publish(store, [made(number) for number in rest])
    write(one, range(24), compression, v9=new[9], v17=new[17], v7=new[7])
    with open_store(store) as grown, open_store(one) as whole:
        assert not verify(grown) and not diff(grown, whole)
        assert grown.stream().videos.video_ids != whole.stream().videos.video_ids, "nothing stayed where it was"
        assert content_of(grown) == content_of(whole)
        assert grown.labels.equals(whole.labels) and len(grown.texts) == 1
        for row, video_id in enumerate(IDS):
            assert grown.stream().read(video_id).sha256 == whole.stream().read(row).sha256
    convert(store, tmp_path / f"copy{suffix}")
    with open_store(tmp_path / f"copy{suffix}") as copy, open_store(one) as whole:
        assert not diff(copy, whole)


@pytest.mark.parametrize(("suffix", "compression"), FORMS)
def test_what_is_kept_is_not_read(tmp_path, suffix, compression, monkeypatch):
    store, rows = tmp_path / f"s{suffix}", []
    write(store, range(12), compression)
    real = checksums.VideoRows.__getitem__
    monkeypatch.setattr(
        checksums.VideoRows, "__getitem__", lambda self, key: rows.append(key.stop - key.start) or real(self, key)
    )
    new = [made(number) for number in range(12, 20)]
    publish(store, new)
    kept = sum(rows) - sum(len(one.features) for one in new)
    assert 0 < kept <= 12, "the rows after the last whole chunk, and those of the checksum that it shares with new ones"
    with open_store(store) as opened:
        assert not verify(opened) and opened.stream().num_clips > 200


def test_a_publication_does_not_hide_damage(tmp_path):
    store = tmp_path / "s.h5"
    write(store, range(12), "none")
    data, changed = store.read_bytes(), made(0).features[5].tobytes()
    place = data.index(changed)
    store.write_bytes(data[:place] + b"\xff" + data[place + 1 :])
    publish(store, [made(12)])
    with open_store(store) as opened:
        faults = verify(opened)
        assert len(faults) == 1 and "v00: its features do not match their checksum" in faults[0]
        assert opened.stream().read("v12").sha256 == made(12).sha256


def last_shard(store):
    with open_store(store) as opened:
        folder = opened.stream().features.unchecked.origin.folder
    return max(folder.glob("c.*"), key=lambda file: int(file.name.split(".")[1]))


def test_a_full_disk_while_metadata_are_written(tmp_path, monkeypatch):
    """Many are written at a time; no other one may come after the new generation is removed."""
    store, real = tmp_path / "s.zarr", LocalStore.set
    write(store, range(4), "default")
    before = sorted(store.iterdir())

    async def full(self, key, value):
        if key.endswith("zarr.json"):
            await asyncio.sleep(0.002 * len(key))
        if key == "labels/zarr.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        await real(self, key, value)

    monkeypatch.setattr(LocalStore, "set", full)
    with pytest.raises(OSError, match="No space left"):
        write(store, range(8), "default")
    time.sleep(0.3)
    assert sorted(store.iterdir()) == before


def test_a_last_shard_whose_index_is_damaged_is_named(tmp_path):
    """Its rows end with those of a checksum, so no row is read before the shard is copied."""
    store = tmp_path / "s.zarr"
    write(store, range(10), "default", **{f"v{number}": made(number, clips=12) for number in range(10)})
    before = sorted(store.iterdir())
    shard = last_shard(store)
    data = shard.read_bytes()
    shard.write_bytes(data[:-10] + bytes([data[-10] ^ 255]) + data[-9:])
    with pytest.raises(NotAStore, match="features cannot be read"):
        publish(store, [made(12)])
    assert sorted(store.iterdir()) == before


def test_a_damaged_video_at_the_end_can_be_replaced(tmp_path):
    """Its last chunk, which is not full, is in the shard that is copied."""
    store = tmp_path / "s.zarr"
    write(store, range(10), "default", v9=made(9, clips=6), **{f"v{n}": made(n, clips=12) for n in range(9)})
    shard = last_shard(store)
    data = shard.read_bytes()
    begin = int(np.frombuffer(data[-(16 * 8 + 4) : -4], "<u8")[2 * 4]) + 10
    shard.write_bytes(data[:begin] + b"\xff" * 4 + data[begin + 4 :])
    new = made(9, clips=6, seed=77)
    publish(store, [new])
    with open_store(store) as opened:
        assert not verify(opened) and opened.stream().read("v09").sha256 == new.sha256


def test_shards_are_the_same_files_and_older_readers_keep_them(tmp_path, monkeypatch):
    store = tmp_path / "s.zarr"
    write(store, range(12), "default")
    before = shards(store)
    with open_store(store) as old:
        expected = old.stream().read_all()
        publish(store, [made(number) for number in range(12, 20)])
        after = shards(store)
        full = len(expected) // 32
        assert full > 2 and all(after[str(index)] == before[str(index)] for index in range(full))
        assert len(set(after.values()) - set(before.values())) == len(after) - full
        np.testing.assert_array_equal(old.stream().read_all(), expected)
    monkeypatch.setattr(zarr3, "GRACE_SECONDS", 0.0)
    with open_store(store) as late:
        publish(store, [made(20)])
        for read in (late.stream().read_all, lambda: late.stream().videos.video_ids, lambda: late.labels):
            with pytest.raises(NotAStore, match="published again, .* open the store again"):
                read()
    assert len([one for one in store.iterdir() if one.is_dir()]) == 1, "older generations are removed"
    with open_store(store) as opened:
        assert not verify(opened) and len(opened.stream().videos) == 21
    assert shards(store)["0"] == before["0"]


@pytest.mark.parametrize(("suffix", "compression"), FORMS)
def test_new_labels_alone_copy_no_features(tmp_path, suffix, compression):
    store = tmp_path / f"s{suffix}"
    write(store, range(12), compression)
    old = shards(store) if suffix == ".zarr" else None
    assert pack(store, dataset="d", card=None, labels=labels(IDS, [5.0] * 24)).published
    assert old is None or shards(store) == old, "the last shard is kept as well, though it is not full"
    with open_store(store) as opened:
        assert not [fault for fault in verify(opened) if "not among" not in fault]
        assert opened.labels.scores[:12].tolist() == [[5.0]] * 12


def failing(monkeypatch, number):
    """Links of shards, which alone do not follow links, and copies by the kernel."""
    link = os.link

    def fail(*paths, **options):
        if paths and isinstance(paths[0], int) or options:
            raise OSError(number, os.strerror(number))
        link(*paths)

    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(os, "copy_file_range", fail)


@pytest.mark.parametrize(("suffix", "compression"), [(".h5", "none"), (".zarr", "default")])
def test_file_systems_without_links_and_copies_by_the_kernel(tmp_path, suffix, compression, monkeypatch):
    failing(monkeypatch, errno.EOPNOTSUPP)
    store = tmp_path / f"s{suffix}"
    write(store, range(12), compression)
    before = shards(store) if suffix == ".zarr" else {}
    publish(store, [made(12)])
    with open_store(store) as opened:
        assert not verify(opened) and len(opened.stream().videos) == 13
    assert suffix == ".h5" or not set(before.values()) & set(shards(store).values())


def columns(store):
    """Inode of the first file of each column of the table of videos."""
    with open_store(store) as opened:
        folder = opened.stream().features.unchecked.origin.folder.parent / "videos"
    return {file.parent.name: file.stat().st_ino for file in folder.glob("*/c.0*")}


def test_the_table_of_videos_keeps_its_files(tmp_path, monkeypatch):
    for module in (checksums, hdf5, zarr3_groups):
        monkeypatch.setattr(module, "PIECE_ROWS", 4)
        monkeypatch.setattr(module, "COLUMN_ROWS", 8)
    store, one = tmp_path / "s.zarr", tmp_path / "one.zarr"
    write(store, range(12), "default")
    before = columns(store)
    publish(store, [made(number) for number in range(12, 20)])
    assert len(before) > 15 and columns(store) == before
    long = made(20, clips=0)
    long = replace(long, record=replace(long.record, error_message="why " * 30))
    publish(store, [long])
    after = columns(store)
    assert [name for name in before if after[name] != before[name]] == ["error_message"], "its values got longer"
    write(one, range(21), "default", v20=long)
    with open_store(store) as grown, open_store(one) as whole:
        assert not [fault for fault in verify(grown) if "not among" not in fault]
        assert {one.kind for one in diff(grown, whole)} == {"labels"}, "of three videos that are not there yet"
        assert repr(grown.stream().records) == repr(whole.stream().records)


@pytest.mark.parametrize(("suffix", "compression"), FORMS)
def test_columns_of_labels_that_stay_are_kept(tmp_path, suffix, compression):
    store = tmp_path / f"s{suffix}"
    write(store, range(len(IDS)), compression)
    events = replace(LABELS, groups={"event": tuple(f"e{number % 3}" for number in range(len(IDS)))})

    def kept(new):
        """Columns that are still the same files of a Zarr store after it was published with these labels."""
        before = label_files(store)
        assert pack(store, dataset="d", card=None, labels=new).published
        with open_store(store) as opened:
            assert opened.labels.equals(new) and verify(opened) == []
        return {name for name, files in label_files(store).items() if files == before.get(name)}

    texts = {"video_id", "split", "category"} if suffix == ".zarr" else set()
    assert kept(replace(LABELS, scores=LABELS.scores + 1)) == texts
    assert kept(events) == texts
    assert kept(replace(events, splits=("test",) * len(IDS))) == (texts and texts - {"split"} | {"group_event"})
    before = label_files(store)
    part = [made(1, seed=5)]
    parts_folder(store).mkdir()
    write_store(
        parts_folder(store) / "a.h5", dataset="d", card=None, labels=LABELS.subset([1]), streams=[plan(HEAD, part)]
    )
    with open_store(store) as opened:
        now = opened.labels
    assert kept(now) == {name for name in before if name != "scores"}


def label_files(store):
    """Inodes of the files of each column of labels of a Zarr store; empty for HDF5."""
    if store.suffix == ".h5":
        return {}
    with open_store(store) as opened:
        folder = opened.stream().features.unchecked.origin.generation / "labels"
    return {
        one.name: {file.name: file.stat().st_ino for file in one.glob("c.*")}
        for one in folder.iterdir()
        if one.is_dir()
    }


def test_a_damaged_column_of_labels_stops_a_publication(tmp_path):
    store = tmp_path / "s.zarr"
    write(store, range(12), "default")
    with open_store(store) as opened:
        folder = opened.stream().features.unchecked.origin.generation / "labels" / "split"
    (file,) = folder.glob("c.*")
    file.write_bytes(file.read_bytes()[:-3] + b"abc")
    with pytest.raises(NotAStore):
        publish(store, [made(13)])


def test_stores_share_no_files(tmp_path):
    """A copy that shares the bytes of its source would be damaged with it."""
    store, other = tmp_path / "s.zarr", tmp_path / "t.zarr"
    write(store, range(12), "default")
    with open_store(store) as opened:
        streams = [
            content.StreamPlan(HEAD, np.dtype("f4"), content.consecutive((opened.stream(), i) for i in range(12)))
        ]
        write_store(other, dataset="d", card=None, labels=LABELS, streams=streams, storage=opened.storage)
    assert not set(shards(store).values()) & set(shards(other).values())


def test_a_generation_of_another_user(tmp_path, monkeypatch):
    """The store is published; only the time of the other user's folder cannot be set."""
    store = make_store(tmp_path / "s.zarr", {"a": 3})

    def forbidden(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", forbidden)
    make_store(store, {"b": 3})
    with open_store(store) as opened:
        assert opened.stream().videos.video_ids == ("b",)


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_a_full_disk_while_rows_are_kept(tmp_path, suffix, monkeypatch):
    store = tmp_path / f"s{suffix}"
    write(store, range(12), "none")
    before = sorted(store.parent.rglob("*"))

    failing(monkeypatch, errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        publish(store, [made(12)])
    monkeypatch.undo()
    left = [path for path in store.parent.rglob("*") if path not in before and parts_folder(store) not in path.parents]
    assert [path.name for path in left] == ["s" + suffix + ".parts"]
    small(monkeypatch.setattr)
    assert pack(store, dataset="d", card=None, labels=LABELS).num_videos == 1
    with open_store(store) as opened:
        assert not verify(opened) and len(opened.stream().videos) == 13


KILLED = """
import os, sys
from pathlib import Path
from longtake.features.formats import disk
from tests.features.formats import test_grown as own

own.small(setattr)
store, last, num_steps = Path(sys.argv[1]), int(sys.argv[2]), 0


def step(*_):
    global num_steps
    if num_steps >= last:  # Threads may count at the same time.
        os._exit(9)
    num_steps += 1


def hook(event, arguments):
    if event in ("open", "os.link", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.utime") and str(store) in str(arguments[0]):
        step()


for name in ("write", "write_at", "copy_from"):
    real = getattr(disk.DiskFile, name)
    setattr(disk.DiskFile, name, lambda *a, real=real: (step(), real(*a))[1])
sys.addaudithook(hook)
own.pack(store, dataset="d", card=None, labels=own.LABELS)
print(num_steps)
"""


def kill_at(tmp_path, suffix, step):
    """Kill a publication before its step; how many steps it has, where it ended before that."""
    store = tmp_path / f"{step}{suffix}"
    write(store, range(8), "none")
    with open_store(store) as opened:
        before = opened.stream().read_all()
    parts_folder(store).mkdir()
    new = [made(number) for number in range(8, 12)]
    part = parts_folder(store) / "more.h5"
    write_store(part, dataset="d", card=None, labels=LABELS.subset(range(8, 12)), streams=[plan(HEAD, new)])
    found = subprocess.run(
        [sys.executable, "-c", KILLED, str(store), str(step)], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert found.returncode in (0, 9), found.stderr
    with open_store(store) as opened:
        assert not [fault for fault in verify(opened) if "not among" not in fault]
        assert len(opened.stream().videos) in (8, 12)
        np.testing.assert_array_equal(
            opened.stream().read_all()[: len(before) // 32 * 32], before[: len(before) // 32 * 32]
        )
    assert pack(store, dataset="d", card=None, labels=LABELS).published
    with open_store(store) as opened:
        assert not verify(opened) and len(opened.stream().videos) == 12
    assert not parts_folder(store).exists() and not list(tmp_path.glob(".*.tmp"))
    return int(found.stdout or 0)


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_a_publication_that_is_killed(tmp_path, suffix):
    assert not kill_at(tmp_path, suffix, 12)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_a_publication_that_is_killed_before_steps_of_all_kinds(tmp_path, suffix):
    num_steps = kill_at(tmp_path, suffix, sys.maxsize)
    assert num_steps > 50
    for step in range(0, num_steps, -(-num_steps // 30)):
        assert not kill_at(tmp_path, suffix, step)


def test_text_of_earlier_writers_keeps_its_last_letter(tmp_path, monkeypatch):
    """Its text has no NUL after the longest value, in chunks of any size."""
    for module in (checksums, hdf5, zarr3_groups):
        monkeypatch.setattr(module, "PIECE_ROWS", 2)
        monkeypatch.setattr(module, "COLUMN_ROWS", len(raw.IDS))
    raw.write(tmp_path / "s.zarr", raw.example())
    with open_store(tmp_path / "s.zarr") as old:
        streams = [content.plan_in_order(one.header, one.features.dtype, {}, old.labels, one) for one in old.streams]
        write_store(tmp_path / "s.h5", dataset="d", card=None, labels=old.labels, streams=streams)
        with open_store(tmp_path / "s.h5") as new:
            assert not verify(new) and repr(new.stream().records) == repr(old.stream().records)
