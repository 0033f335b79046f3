"""Metadata that wait until all arrays are there."""

import asyncio
import threading

import numpy as np
import pytest
import zarr
from zarr.core.sync import sync as wait_for
from zarr.storage import LocalStore

from longtake.features.formats import new_metadata
from longtake.features.formats.new_metadata import NewHierarchy


class Counted(LocalStore):
    """Counts what is asked of the disk."""

    def __init__(self, root, on_metadata=lambda key: None):
        super().__init__(root)
        self.asked, self.written, self._on_metadata = [], [], on_metadata

    async def get(self, key, *arguments, **options):
        self.asked.append(key)
        return await super().get(key, *arguments, **options)

    async def set(self, key, value):
        if key.endswith("zarr.json"):
            await asyncio.sleep(0.01 * key.count("/"))
            self._on_metadata(key)
        await super().set(key, value)
        self.written.append(key)


def test_metadata_are_written_once_and_at_the_end(tmp_path):
    files = Counted(tmp_path / "g")
    hierarchy = NewHierarchy(files)
    root = zarr.open_group(hierarchy, mode="a", use_consolidated=False)
    root.update_attributes({"one": 1})
    group = zarr.open_group(hierarchy, path="inside", mode="a", use_consolidated=False)
    array = group.create_array("numbers", shape=(6,), chunks=(4,), dtype="<f4", fill_value=np.nan)
    array[0:2], array[2:6] = 1, 2
    root.update_attributes({"two": 2})
    zarr.consolidate_metadata(hierarchy)
    assert not [key for key in (*files.asked, *files.written) if key.endswith("zarr.json")]
    assert set(files.written) == {"inside/numbers/c/0", "inside/numbers/c/1"}
    hierarchy.finish()
    metadata = [key for key in files.written if key.endswith("zarr.json")]
    assert sorted(metadata) == ["inside/numbers/zarr.json", "inside/zarr.json", "zarr.json"]
    for consolidated in (True, False):
        read = zarr.open_group(LocalStore(tmp_path / "g"), mode="r", use_consolidated=consolidated)
        assert dict(read.attrs) == {"one": 1, "two": 2}
        np.testing.assert_array_equal(read["inside/numbers"][:], [1, 1, 2, 2, 2, 2])


@pytest.mark.parametrize("error", [OSError("the disk is full"), KeyboardInterrupt()])
def test_no_write_outlives_a_failure(tmp_path, monkeypatch, error):
    def fail(key):
        if key == "g7/zarr.json":
            raise error

    def stop(coroutine):
        """As Ctrl-C does: the wait ends, and not what is waited for."""
        if coroutine.__name__ == "_write":
            threading.Thread(target=wait_for, args=(coroutine,), daemon=True).start()
            raise error
        return wait_for(coroutine)

    is_stop = isinstance(error, KeyboardInterrupt)
    files = Counted(tmp_path / "g", (lambda key: None) if is_stop else fail)
    hierarchy = NewHierarchy(files)
    root = zarr.open_group(hierarchy, mode="a", use_consolidated=False)
    for number in range(40):
        root.create_group(f"g{number}")
    if is_stop:
        monkeypatch.setattr(new_metadata, "wait_for", stop)
    with pytest.raises(type(error)):
        hierarchy.finish()
    written = len(files.written)
    assert written <= new_metadata.AT_ONCE
    wait_for(asyncio.sleep(0.2))
    assert len(files.written) == written
