"""The files of a Zarr store at a URL, of which no single one may fill the memory."""

from __future__ import annotations

from zarr.abc.store import ByteRequest, RangeByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore

from longtake.features.errors import NotAStore
from longtake.features.remote import MOST_OBJECT_BYTES, open_filesystem


class BoundedFiles(FsspecStore):
    """Asks object stores for a range, since they know the size of what they keep; web servers are read piece by piece (`remote.py`)."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        asks = byte_range is None and "s3" in self.fs.protocol
        found = await super().get(key, prototype, RangeByteRequest(0, MOST_OBJECT_BYTES + 1) if asks else byte_range)
        if found is not None and len(found) > MOST_OBJECT_BYTES:
            raise NotAStore(f"{key} has more than {MOST_OBJECT_BYTES >> 20} MiB, which no part of a store has")
        return found


def open_files(url: str, *, read_only: bool) -> FsspecStore:
    """All errors are those of fsspec's clients; see `plain_errors`."""
    filesystem, path = open_filesystem(url, asynchronous=True)
    if not filesystem.async_impl:
        return FsspecStore.from_url(url, read_only=read_only)
    return BoundedFiles(filesystem, path=path, read_only=read_only)
