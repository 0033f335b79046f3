"""The metadata of a Zarr hierarchy that is being written: in memory, until all arrays are there.

Zarr asks for the metadata of each node and of its parents before it makes one, and writes those of a group again for each attribute. On a disk each
is a turn of its event loop, and at a URL a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.sync import sync as wait_for
from zarr.storage import MemoryStore, WrapperStore

NAME = "zarr.json"
AT_ONCE = 16
"""Files that are written at the same time."""


class NewHierarchy(WrapperStore[Store]):
    """New files, all of which are written by this process. Chunks go there at once, metadata with `finish`."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._found: dict[str, Buffer] = {}
        self._metadata = MemoryStore(self._found)
        self._writing, self._is_stopped = asyncio.Lock(), False

    def _store_of(self, key: str) -> Store:
        return self._metadata if key.rpartition("/")[2] == NAME else self._store

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        return await self._store_of(key).get(key, prototype, byte_range)

    async def exists(self, key: str) -> bool:
        return await self._store_of(key).exists(key)

    async def set(self, key: str, value: Buffer) -> None:
        await self._store_of(key).set(key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        await self._store_of(key).set_if_not_exists(key, value)

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """The nodes, not the chunks: for consolidation."""
        return self._metadata.list_dir(prefix)

    def finish(self) -> None:
        """Write the metadata. When this returns or raises, also at Ctrl-C, nothing is being written any more, so the files can be removed."""
        try:
            wait_for(self._write())
        finally:
            self._is_stopped = True
            wait_for(self._end())

    async def _write(self) -> None:
        waiting = list(self._found.items())
        async with self._writing:
            while waiting and not self._is_stopped:
                some, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
                ended = await asyncio.gather(*(self._store.set(*one) for one in some), return_exceptions=True)
                for error in ended:
                    if error is not None:
                        raise error

    async def _end(self) -> None:
        async with self._writing:
            return
