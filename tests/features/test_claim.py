"""The lock of a store: one process holds it, and the lock of a dead process is taken over."""

import multiprocessing
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
    owned(lock, str(Writer.of(os.getppid())))
    assert not is_free(lock)
    assert holder_of(lock) == f"process {lock.read_text()} ({lock})"


def test_the_lock_of_a_dead_process_of_this_machine_is_taken_over(lock):
    process = subprocess.Popen(["true"])
    process.wait()
    owned(lock, f"{process.pid}@{Writer.current().host}")
    assert is_free(lock) and not lock.exists()
    owned(lock, f"{process.pid}@another-machine")
    assert not is_free(lock), "this machine cannot know whether that process runs"


def test_a_number_that_another_process_has_now_does_not_hold_the_lock(lock):
    """A process is its number and its start; names made by 0.1 have no start, but their process is Python and older than the file."""
    me = Writer.of(os.getppid())
    with subprocess.Popen(["sleep", "60"]) as other:
        for owner, is_held in (
            (me, True),
            (replace(me, started=me.started - 1), False),
            (Writer(other.pid, me.host), False),
            (Writer(os.getpid(), me.host), True),
        ):
            owned(lock, str(owner))
            assert is_free(lock) is not is_held, owner
            lock.unlink(missing_ok=True)
        owned(lock, str(Writer(os.getpid(), me.host)))
        os.utime(lock, (0, 0))
        assert is_free(lock), "this process began after the lock was made"
        other.kill()


def test_a_process_that_has_ended_but_was_not_waited_for(lock):
    with subprocess.Popen(["sleep", "60"]) as other:
        owned(lock, str(Writer.of(other.pid)))
        assert not is_free(lock)
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert is_free(lock)


def test_a_lock_made_after_the_look_is_not_removed(lock, monkeypatch):
    """Two processes see the lock of a dead one. The other takes it over before this one removes what it saw."""
    owned(lock, "")
    os.utime(lock, (0, 0))
    is_stale = claim._is_stale
    looks = []

    def look_before_the_other(path):
        found = is_stale(path)
        if not looks:
            owned(lock, "1@another-machine")
        looks.append(found)
        return found

    monkeypatch.setattr(claim, "_is_stale", look_before_the_other)
    assert not is_free(lock) and looks == [True, False]
    assert lock.read_text() == "1@another-machine"


@pytest.mark.parametrize("name", ["s.h5.parts", "link.parts"])
def test_one_thread_of_a_process_holds_the_lock(lock, tmp_path, name):
    """Under any name of the folder."""
    (tmp_path / "link.parts").symlink_to(lock.parent)
    with ThreadPoolExecutor(1) as other, locked(lock) as held:
        assert held
        assert not other.submit(is_free, tmp_path / name / lock.name).result()
        assert lock.read_text() == str(Writer.current()), "and it is still held"
    assert is_free(lock)


def test_a_lock_that_the_parent_holds_is_free_for_a_forked_process_later(lock):
    with locked(lock):
        pid = os.fork()
        if not pid:
            lock.unlink()
            os._exit(0 if is_free(lock) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_lock_left_under_our_own_name_is_taken_over(lock):
    """A container that is started again has the same name, number and sometimes the same start."""
    owned(lock, str(Writer.current()))
    assert is_free(lock) and not lock.exists()


def compete(lock, inside, barrier, rounds, results):
    for _ in range(rounds):
        barrier.wait()
        with locked(lock) as held:
            if held:
                try:
                    os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    results.put("two hold the lock")
                time.sleep(0.001)
                inside.unlink(missing_ok=True)
                results.put("held")
        barrier.wait()


def test_three_processes_take_over_one_lock(lock, tmp_path):
    """At most one holds it at any moment, and one of them gets it in every round."""
    rounds, fork = 25, multiprocessing.get_context("fork")
    barrier, results = fork.Barrier(4), fork.Queue()
    workers = [fork.Process(target=compete, args=(lock, tmp_path / "in", barrier, rounds, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for _ in range(rounds):
        owned(lock, f"1-1@{Writer.current().host}")
        barrier.wait(30)
        barrier.wait(30)
    for worker in workers:
        worker.join(30)
    found = []
    while not results.empty():
        found.append(results.get())
    assert set(found) == {"held"} and rounds <= len(found) <= 3 * rounds


def test_a_lock_that_may_not_be_removed(lock, monkeypatch):
    """It is of another user, in a folder where only owners remove files."""
    owned(lock, f"1-1@{Writer.current().host}")

    def forbidden(path, missing_ok=False):
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "unlink", forbidden)
    assert not is_free(lock) and "process 1-1@" in holder_of(lock)


def test_a_lock_that_is_a_pipe(lock):
    lock.parent.mkdir()
    os.mkfifo(lock)
    assert not is_free(lock) and "unnamed" in holder_of(lock)


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

    def opened(path, *arguments, **more):
        file = open_(path, *arguments, **more)
        return Full(file) if path == lock else file

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(OSError, match="No space left"):
        is_free(lock)
    monkeypatch.undo()
    assert is_free(lock)


def test_a_lock_that_cannot_be_made_leaves_the_others(lock, monkeypatch):
    """Too many open files: that does not say who holds the lock."""
    owned(lock, "1@another-machine")

    def no_more(path, *arguments, **more):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Path, "open", no_more)
    with pytest.raises(OSError, match="Too many"):
        is_free(lock)
    monkeypatch.undo()
    assert not is_free(lock)
