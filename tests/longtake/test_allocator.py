"""Large arrays are mapped while a store is written, and kept while networks and heads compute.

In a new process each: one that has run other tests has free places in its heap, which are taken first.
"""

import ctypes
import gc
import multiprocessing
import os
import queue
import resource
import signal
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from longtake import allocator
from longtake.allocator import KEPT, MAPPED, MMAP, OTHERWISE, large_arrays_kept, large_arrays_mapped
from longtake.extract.pipeline import batcher
from longtake.features import parts
from longtake.features.store import open_store
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.engine import loop
from longtake.train.engine.job import Job, Task
from longtake.train.engine.settings import TrainSettings
from longtake.train.heads.usdl import MeanMLP, MLPSettings
from tests.features.fakes import header, labels, video, write_part
from tests.train.planted import planted_store

FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
SMALL, LARGE, LARGEST = 8 << 20, 100 << 20, 600 << 20
"""Sizes of arrays: never mapped by glibc after a larger one was freed, mapped by it, and mapped also where large arrays are kept."""


class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


def is_mapped(size):
    """Whether a new array of this size is."""
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = Mallinfo
    library.malloc_trim(0)
    before = library.mallinfo2().hblks
    array = np.empty(size, np.uint8)
    return library.mallinfo2().hblks > before and len(array) == size


def accepts_the_threshold():
    return bool(ctypes.CDLL(None).mallopt(MMAP, KEPT[MMAP]))


def mapped_for_a_while():
    with large_arrays_mapped():
        meanwhile = is_mapped(SMALL)
    return meanwhile, is_mapped(SMALL)


def kept_for_a_while():
    before = is_mapped(LARGE)
    with large_arrays_kept():
        meanwhile = is_mapped(LARGE), is_mapped(LARGEST)
    return before, *meanwhile, is_mapped(LARGE)


def one_block_in_another():
    with large_arrays_kept():
        with large_arrays_mapped():
            both = is_mapped(SMALL)
            with large_arrays_kept():
                three = is_mapped(SMALL)
        return both, three, is_mapped(LARGE)


def blocks_of_threads_that_end_out_of_order():
    began, end = threading.Event(), threading.Event()

    def other():
        with large_arrays_mapped():
            began.set()
            end.wait(60)

    with large_arrays_kept():
        thread = threading.Thread(target=other)
        thread.start()
        began.wait(60)
    meanwhile = is_mapped(SMALL)
    end.set()
    thread.join()
    return meanwhile, is_mapped(SMALL)


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def memory_before_and_after():
    before = resident_bytes()
    with large_arrays_kept():
        for _ in range(3):
            # The later one keeps the heap from shrinking by itself.
            array, later = np.ones(LARGE, np.uint8), np.ones(1 << 17, np.uint8)
            del array
        kept = resident_bytes()
    return before, kept, resident_bytes(), len(later)


def while_a_store_is_written(folder):
    write_part(folder / "s.zarr", "d", labels(["a"]), {header(): video("a", 2)})
    found, write_store = [], parts.write_store
    parts.write_store = lambda *args, **options: (found.append(is_mapped(SMALL)), write_store(*args, **options))
    assert parts.pack(folder / "s.zarr", dataset="d", card=None, labels=labels(["a"])).published
    return *found, is_mapped(SMALL)


def while_networks_compute(folder):
    found = []

    class Batcher:
        def __init__(self, messages, on_batch, on_clips):
            assert isinstance(messages, queue.Queue)

        def run(self, unfinished):
            found.append(is_mapped(LARGE))
            yield "video"

    batcher._Batcher = Batcher
    files = SimpleNamespace(num_workers=1)
    assert list(batcher.run_jobs([], files)) == ["video"]
    return *found, is_mapped(LARGE)


def while_a_head_is_trained(folder):
    with open_store(planted_store(folder / "s.h5", num_train=8, num_test=4, dim=8)) as store:
        task = Task(
            FeatureSet.load(store), ScoreScale("total", 0.0, 25.0, True), np.arange(8), np.arange(8, 12), 24, 25.0
        )
    found, batch_loss = [], loop.batch_loss
    loop.batch_loss = lambda *args: (found.append(is_mapped(LARGE)), batch_loss(*args))[1]
    loop.fit(Job(task, lambda: MeanMLP(8, MLPSettings()), TrainSettings(epochs=1), seed=0))
    return found[0], is_mapped(LARGE)


@pytest.fixture
def in_a_new_process():
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("not glibc 2.33 or later")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        if not pool.submit(accepts_the_threshold).result():
            pytest.skip("this glibc refuses thresholds above 32 MiB")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def test_large_arrays_are_mapped_for_a_while(in_a_new_process):
    assert in_a_new_process(mapped_for_a_while) == (True, False)


def test_large_arrays_are_kept_for_a_while_but_not_the_largest(in_a_new_process):
    assert in_a_new_process(kept_for_a_while) == (True, False, True, True)


def test_mapping_comes_first(in_a_new_process):
    assert in_a_new_process(one_block_in_another) == (True, True, False)


def test_blocks_of_threads_end_in_any_order(in_a_new_process):
    assert in_a_new_process(blocks_of_threads_that_end_out_of_order) == (True, False)


def test_kept_memory_is_given_back_afterwards(in_a_new_process):
    before, kept, after, _ = in_a_new_process(memory_before_and_after)
    assert kept - before > 0.9 * LARGE and after - before < 0.1 * LARGE


def test_they_are_mapped_while_a_store_is_written(tmp_path, in_a_new_process):
    assert in_a_new_process(while_a_store_is_written, tmp_path) == (True, False)


@pytest.mark.parametrize("work", [while_networks_compute, while_a_head_is_trained])
def test_they_are_kept_while_networks_and_heads_compute(tmp_path, in_a_new_process, work):
    assert in_a_new_process(work, tmp_path) == (False, True)


@pytest.fixture
def library(monkeypatch):
    """A C library that has what it is given: `held`, and `most`, above which it refuses what is mapped."""
    made = SimpleNamespace(held={}, most=KEPT[MMAP], malloc_trim=lambda pad: 1)

    def mallopt(name, size):
        gc.collect()
        if name == MMAP and size > made.most:
            return 0
        made.held[name] = size
        return 1

    made.mallopt = mallopt
    monkeypatch.setattr(ctypes, "CDLL", lambda name: made)
    # A test that failed may have left the lock held.
    allocator._renew_lock()
    monkeypatch.setattr(allocator, "_asked", [])
    return made


def test_what_an_older_glibc_refuses_is_not_left_at_its_smallest(library):
    """It accepts thresholds of at most 32 MiB for what is mapped. Once any threshold was set, it no longer raises them by itself."""
    library.held[MMAP], library.most = 128 << 10, 32 << 20
    with large_arrays_kept():
        assert library.held[MMAP] == library.most
    assert library.held[MMAP] == library.most


def test_the_garbage_collector_may_end_a_block_while_another_begins(library):
    def abandon():
        with large_arrays_mapped():
            yield

    def work():
        left = [abandon()]
        next(left[0])
        left.append(left)  # Only the collector ends it, and the library above calls the collector.
        assert library.held == MAPPED
        del left
        with large_arrays_kept():
            found.append(dict(library.held))

    found = []
    thread = threading.Thread(target=work, daemon=True)
    gc.disable()
    try:
        thread.start()
        thread.join(30)
    finally:
        gc.enable()
    assert found == [KEPT] and library.held == OTHERWISE


def test_a_child_that_is_forked_meanwhile_can_begin_a_block(library):
    began, end = threading.Event(), threading.Event()

    def hold():
        with allocator._lock:
            began.set()
            end.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    began.wait(60)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        child = os.fork()
    if child == 0:
        signal.alarm(20)
        with large_arrays_kept():
            os._exit(0)
    end.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    with large_arrays_mapped(), large_arrays_kept():
        pass
