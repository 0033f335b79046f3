"""The lock of a store: one process holds it, and the lock of a dead process is taken over."""

import os
import subprocess
from pathlib import Path

import pytest

from longtake.features import claim
from longtake.features.claim import holder_of, locked
from longtake.files import Writer


def is_free(lock):
    with locked(lock) as held:
        return held


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "s.h5.parts" / ".packing"


def owned(lock, owner):
    lock.parent.mkdir(exist_ok=True)
    lock.write_text(owner)


def test_one_process_holds_the_lock(lock):
    with locked(lock) as held:
        assert held and lock.read_text() == str(Writer.current())
    assert not lock.exists()
    owned(lock, f"{os.getppid()}@{Writer.current().host}")
    assert not is_free(lock)
    assert holder_of(lock) == f"process {lock.read_text()} ({lock})"


def test_the_lock_of_a_dead_process_of_this_machine_is_taken_over(lock):
    process = subprocess.Popen(["true"])
    process.wait()
    owned(lock, f"{process.pid}@{Writer.current().host}")
    assert is_free(lock) and not lock.exists()
    owned(lock, f"{process.pid}@another-machine")
    assert not is_free(lock), "this machine cannot know whether that process runs"


def test_a_lock_that_another_process_took_over_is_put_back(lock, monkeypatch):
    """Two processes see the lock of a dead one. The other takes it over before this one removes what it saw."""
    owned(lock, "")
    os.utime(lock, (0, 0))
    is_stale = claim._is_stale

    def look_before_the_other(path):
        found = is_stale(path)
        if path == lock:
            owned(lock, "1@another-machine")
        return found

    monkeypatch.setattr(claim, "_is_stale", look_before_the_other)
    assert not is_free(lock)
    assert not claim._took_away(lock)
    assert lock.read_text() == "1@another-machine" and len(list(lock.parent.iterdir())) == 1


def test_a_lock_without_a_name(lock):
    """The process that made it was killed before it wrote its name, or is about to write it."""
    owned(lock, "")
    assert not is_free(lock) and holder_of(lock) == f"an unnamed process ({lock})"
    os.utime(lock, (0, 0))
    assert is_free(lock) and not lock.exists()
    assert holder_of(lock) == "a process that has just ended"


def test_a_full_disk_leaves_no_lock(lock, monkeypatch):
    open_ = Path.open

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, text):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda path, *arguments: Full(open_(path, *arguments)))
    with pytest.raises(OSError, match="No space left"):
        is_free(lock)
    monkeypatch.undo()
    assert is_free(lock)


def test_a_lock_that_cannot_be_made_leaves_the_others(lock, monkeypatch):
    """Too many open files: that does not say who holds the lock."""
    owned(lock, "1@another-machine")

    def no_more(path, *arguments):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Path, "open", no_more)
    with pytest.raises(OSError, match="Too many"):
        is_free(lock)
    monkeypatch.undo()
    assert not is_free(lock)
