"""Large arrays are mapped while a store is written, and only then."""

import ctypes

import numpy as np
import pytest

from longtake.allocator import MEANWHILE, MMAP, large_arrays_mapped
from longtake.features import parts
from tests.features.fakes import header, labels, video, write_part

FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


@pytest.fixture
def is_mapped():
    """Whether a new large array is."""
    library = ctypes.CDLL(None)
    mallinfo = getattr(library, "mallinfo2", None)
    if mallinfo is None:
        pytest.skip("not glibc 2.33 or later")
    mallinfo.restype = Mallinfo

    def look():
        library.malloc_trim(0)  # What is free in the heap is taken first.
        before = mallinfo().hblks
        array = np.ones(8 * MEANWHILE[MMAP], np.uint8)
        return mallinfo().hblks > before and bool(array[0])

    return look


def test_large_arrays_are_mapped_for_a_while(is_mapped):
    with large_arrays_mapped():
        assert is_mapped()
    assert not is_mapped()


def test_they_are_while_a_store_is_written(tmp_path, is_mapped, monkeypatch):
    write_part(tmp_path / "s.zarr", "d", labels(["a"]), {header(): video("a", 2)})
    found, write_store = [], parts.write_store
    monkeypatch.setattr(
        parts, "write_store", lambda *args, **options: (found.append(is_mapped()), write_store(*args, **options))
    )
    assert parts.pack(tmp_path / "s.zarr", dataset="d", card=None, labels=labels(["a"])).published
    assert found == [True] and not is_mapped()


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    with large_arrays_mapped():
        pass
