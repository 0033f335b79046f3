"""A file that survives a full disk, and copies by the kernel."""

import errno
import os
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from longtake.features.formats import disk
from longtake.features.formats.disk import DiskFile, copy_file


def test_the_first_failure_is_kept_and_later_reads_are_zeros(tmp_path):
    file = DiskFile(tmp_path / "f")
    assert file.write(b"abcd") == 4
    file.check()
    inner = file._file

    class Full:
        name = inner.name

        def write(self, data):
            raise OSError(28, "No space left on device")

        def __getattr__(self, name):
            return getattr(inner, name)

    file._file = Full()
    assert file.write(b"efgh") == 4, "HDF5 must not see the failure"
    with pytest.raises(OSError, match="No space left") as caught:
        file.check()
    assert caught.value.filename == inner.name
    file.seek(2)
    buffer = bytearray(4)
    assert file.readinto(buffer) == 4 and bytes(buffer) == b"cd\0\0"
    assert file.truncate(9) == 9 and file.tell() == 4
    file.close()
    assert (tmp_path / "f").read_bytes() == b"abcd"


@pytest.mark.parametrize("way", ["kernel", "not there", "not supported", "reports nothing"])
def test_bytes_are_copied_in_any_way_that_works(tmp_path, monkeypatch, way):
    def not_supported(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    if way == "not there":
        monkeypatch.delattr(os, "copy_file_range")
    elif way != "kernel":
        monkeypatch.setattr(os, "copy_file_range", not_supported if way == "not supported" else lambda *_: 0)
    monkeypatch.setattr(disk, "COPY_BYTES", 7)
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(bytes(range(40)))
    copy_file(old, new)
    assert new.read_bytes() == bytes(range(40))
    with old.open("rb") as source, new.open("r+b") as target:
        disk.copy_bytes(source.fileno(), 5, target.fileno(), 30, 20)
        with pytest.raises(EOFError, match="10 bytes too early"):
            disk.copy_bytes(source.fileno(), 30, target.fileno(), 0, 20)
    assert new.read_bytes()[30:50] == bytes(range(5, 25))


@pytest.mark.parametrize("has_it", [True, False])
def test_the_disk_begins_before_all_is_copied(tmp_path, monkeypatch, has_it):
    """A C library may not have the function. Bytes of three writers follow each other; what is left is few."""
    events, copied = [], os.copy_file_range
    monkeypatch.setattr(disk, "BEHIND_BYTES", 16)
    monkeypatch.setattr(os, "copy_file_range", lambda *a: (events.append(("copy", a[4], a[2])), copied(*a))[1])
    begun = (lambda *a: events.append(("begin", *a[1:]))) if has_it else None
    monkeypatch.setattr(disk, "_sync_file_range", lambda: begun)
    (tmp_path / "old").write_bytes(bytes(range(40)))
    with closing(DiskFile(tmp_path / "f")) as file, (tmp_path / "old").open("rb") as source:
        file.copy_from(source.fileno(), 2, 1, 36)
        file.write_at(memoryview(b"x" * 9), 37)
        file.seek(46)
        file.write(b"y" * 3)
        file.write(b"z" * 4)
        file.sync()
    assert (tmp_path / "f").read_bytes()[1:] == bytes(range(2, 38)) + b"x" * 9 + b"yyyzzzz"
    expected = [("copy", 1, 16), ("begin", 1, 16, 2), ("copy", 17, 16), ("begin", 17, 16, 2), ("copy", 33, 4)]
    expected += [("begin", 33, 16, 2)]
    assert events == [one for one in expected if has_it or one[0] == "copy"]


def test_the_c_library_takes_large_places(tmp_path):
    with (tmp_path / "f").open("w+b") as file:
        function = disk._sync_file_range()
        assert function is None or function(file.fileno(), 5 << 32, 1 << 33, 2) == 0


@pytest.mark.parametrize("threads", [True, False])
def test_a_file_is_closed_later(tmp_path, monkeypatch, threads):
    def none(self):
        raise RuntimeError("can't start new thread")

    if not threads:
        monkeypatch.setattr(threading.Thread, "start", none)
    reader, writer = os.pipe()
    disk.close_later(writer)
    assert os.read(reader, 1) == b"", "the end of the pipe"
    os.close(reader)


def test_a_full_disk_while_bytes_are_copied(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "old").write_bytes(b"abcd")
    file = DiskFile(tmp_path / "f", tmp_path / "old")
    monkeypatch.setattr(os, "copy_file_range", full)
    monkeypatch.setattr(os, "pwrite", full)
    with (tmp_path / "old").open("rb") as source:
        assert file.replaces(source.fileno())
        file.copy_from(source.fileno(), 0, 0, 4)
        with pytest.raises(OSError, match="No space left"):
            file.write_at(memoryview(b"ab"), 0)
    file.close()


CLOSED_AT_THE_END = """
import os
from longtake.features.formats.disk import close_later


def walk():
    try:
        yield
    finally:
        close_later(os.open(os.devnull, os.O_RDONLY))


class Cycle:
    pass


kept = Cycle()
kept.itself, kept.walk = kept, walk()
next(kept.walk)
"""


def test_a_generator_that_has_a_store_open_when_python_ends():
    """A thread that is begun then may never run."""
    subprocess.run([sys.executable, "-c", CLOSED_AT_THE_END], check=True, timeout=20)
