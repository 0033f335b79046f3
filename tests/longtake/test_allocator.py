"""Large arrays are mapped while a store is written, and only then.

In a new process each: one that has run other tests has free places in its heap, which are taken first.
"""

import ctypes
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from longtake.allocator import MEANWHILE, MMAP, large_arrays_mapped
from longtake.features import parts
from tests.features.fakes import header, labels, video, write_part

FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


def is_mapped():
    """Whether a new large array is."""
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = Mallinfo
    library.malloc_trim(0)
    before = library.mallinfo2().hblks
    array = np.ones(8 * MEANWHILE[MMAP], np.uint8)
    return library.mallinfo2().hblks > before and bool(array[0])


def for_a_while():
    with large_arrays_mapped():
        meanwhile = is_mapped()
    return meanwhile, is_mapped()


def while_a_store_is_written(folder):
    write_part(folder / "s.zarr", "d", labels(["a"]), {header(): video("a", 2)})
    found, write_store = [], parts.write_store
    parts.write_store = lambda *args, **options: (found.append(is_mapped()), write_store(*args, **options))
    assert parts.pack(folder / "s.zarr", dataset="d", card=None, labels=labels(["a"])).published
    return *found, is_mapped()


@pytest.fixture
def in_a_new_process():
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("not glibc 2.33 or later")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def test_large_arrays_are_mapped_for_a_while(in_a_new_process):
    assert in_a_new_process(for_a_while) == (True, False)


def test_they_are_while_a_store_is_written(tmp_path, in_a_new_process):
    assert in_a_new_process(while_a_store_is_written, tmp_path) == (True, False)


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    with large_arrays_mapped():
        pass
