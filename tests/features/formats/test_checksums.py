"""Every array and attribute has a checksum, and every reader compares it."""

import json
import shutil

import h5py
import numpy as np
import pytest

from longtake.errors import LongtakeError
from longtake.features.errors import Damaged, NotAStore
from longtake.features.formats import checksums
from longtake.features.store import open_store
from longtake.features.tools.inspect import diff, verify
from tests.features import raw
from tests.features.fakes import make_store, run
from tests.features.formats.hostile import touch_everything

LENGTHS = {"a": 6, "b": 4, "c": 5}


def flipped(path, name, row):
    """Flip one bit of an array that the file holds as it is."""
    with h5py.File(path, "r") as file:
        data = file[name]
        where = data.id.get_offset() + row * data.id.get_storage_size() // len(data)
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(content)
    return path


def is_array(item):
    return isinstance(item, h5py.Dataset) and not raw.is_axis(item)


def arrays_of(path):
    found = []
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, item: found.append(name) if is_array(item) and item.size else None)
    return found


def test_one_bit_of_any_array_is_noticed(tmp_path):
    raw.write(tmp_path / "raw.h5", raw.with_stages(raw.example()))
    run("convert", tmp_path / "raw.h5", tmp_path / "s.h5")
    names = arrays_of(tmp_path / "s.h5")
    assert len(names) > 25
    for name in names:
        path = flipped(shutil.copy(tmp_path / "s.h5", tmp_path / "f.h5"), name, 0)
        with pytest.raises(LongtakeError, match="match the|checksum"), open_store(path) as store:
            if faults := verify(store):
                raise LongtakeError(" ".join(faults))
        with pytest.raises(LongtakeError, match="checksum"):
            touch_everything(path)


def test_any_changed_attribute_is_noticed(tmp_path):
    whole = make_store(tmp_path / "s.h5", LENGTHS)
    with h5py.File(whole, "r") as file:
        places = [("/", name) for name in file.attrs if name not in ("format", "format_version")]
        # Attributes of arrays name their axes, which no reader of ours uses.
        file.visititems(
            lambda group, item: places.extend((group, name) for name in item.attrs if isinstance(item, h5py.Group))
        )
    assert len(places) > 6
    for group, name in places:
        path = shutil.copy(whole, tmp_path / "f.h5")
        with h5py.File(path, "r+") as file:
            value = file[group].attrs[name]
            file[group].attrs[name] = value[:-1] + "!" if isinstance(value, str) else value + 1
        with pytest.raises(NotAStore, match="checksum"):
            touch_everything(path)


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_what_is_lost_with_its_checksums_is_noticed(tmp_path, suffix):
    def write(change):
        tree = raw.sealed(raw.example())
        change(tree)
        raw.write(tmp_path / f"{len(list(tmp_path.iterdir()))}{suffix}", {**tree, "@": {**tree["@"]}}, seal=False)
        return sorted(tmp_path.iterdir(), key=lambda path: int(path.stem))[-1]

    for change, words in (
        (lambda tree: tree["streams"].clear(), "does not hold the groups that were written: net@"),
        (lambda tree: tree.pop("checksums"), "checksums is missing"),
        (lambda tree: tree["@"].update(format_version=1), "attributes of / do not match"),
        (lambda tree: tree["labels"].update(scores=np.zeros((4, 2))), "labels/scores: rows 0 to 4 do not match"),
    ):
        with pytest.raises(NotAStore, match=words):
            touch_everything(write(change))


def reads_of(stream):
    return (
        lambda: stream.read("b"), stream.read_all, lambda: list(stream.each()), lambda: list(stream.blocks(0, 3)),
    )  # fmt: skip


def test_a_damaged_video_is_named_and_its_neighbours_are_read(tmp_path, monkeypatch):
    """Blocks hold several videos here, and videos several blocks."""
    for block_bytes in (2 * 3 * 4, 1 << 18):
        monkeypatch.setattr(checksums, "BLOCK_BYTES", block_bytes)
        path = make_store(tmp_path / f"{block_bytes}.h5", LENGTHS)
        with open_store(path) as store:
            expected, name = store.stream().read_all(), store.stream().name
        flipped(path, f"streams/{name}/features", 7)
        with open_store(path) as store:
            stream = store.stream()
            np.testing.assert_array_equal(stream.read("a").features, expected[:6])
            np.testing.assert_array_equal(stream.read("c").features, expected[10:])
            for read in reads_of(stream):
                with pytest.raises(Damaged, match=f"{name} b: its features do not match their checksum"):
                    read()
            assert [fault.split(": ")[1] for fault in verify(store)] == [f"{name} b"]
            with open_store(make_store(tmp_path / f"{block_bytes}w.h5", LENGTHS)) as whole:
                assert [difference.kind for difference in diff(whole, store)] == ["damage"]


def test_stores_of_version_1_are_compared_video_by_video(tmp_path):
    path = raw.as_version_1(make_store(tmp_path / "s.h5", LENGTHS))
    with open_store(path) as store:
        name, expected = store.stream().name, store.stream().read_all()
        assert verify(store) == []
        np.testing.assert_array_equal(store.stream().features[3:12], expected[3:12])
    flipped(path, f"streams/{name}/features", 0)
    for call in (
        ("convert", path, tmp_path / "c.zarr"), ("merge", path, "--out", tmp_path / "m.h5"), ("export", path, tmp_path / "e"),
    ):  # fmt: skip
        assert f"{name} a: its features do not match their checksum" in run(*call, status=2)
    assert not (tmp_path / "m.h5").exists() and not (tmp_path / "c.zarr").exists()


def test_damaged_labels_are_a_fault(tmp_path):
    path = flipped(make_store(tmp_path / "s.h5", LENGTHS), "labels/scores", 1)
    assert "labels/scores: rows 0 to 3 do not match their checksum" in run("verify", path, status=1)
    assert "labels/scores: rows 0 to 3" in run("info", path, status=2)


def test_a_false_index_of_checksums(tmp_path, monkeypatch):
    for index, words in (
        ({"@": [0]}, "not two numbers"),
        ({"@": ["x", 1]}, "must be a whole number"),
        ([], "must be a table"),
    ):
        tree = raw.sealed(raw.example())
        tree["checksums"]["index"] = raw.text([json.dumps(index)])
        stored = tree["checksums"]
        tree["@"]["checksum"] = raw.xxhash.xxh3_64_hexdigest(stored["index"].tobytes() + stored["xxh3_64"].tobytes())
        raw.write(tmp_path / f"{len(words)}.h5", tree, seal=False)
        with pytest.raises(NotAStore, match=words):
            touch_everything(tmp_path / f"{len(words)}.h5")


def test_a_block_larger_than_the_memory_is_refused(tmp_path, monkeypatch):
    path = make_store(tmp_path / "s.h5", LENGTHS)
    monkeypatch.setattr("longtake.features.stream.os.sysconf", lambda name: 5)
    with pytest.raises(NotAStore, match="memory"), open_store(path):
        pass
