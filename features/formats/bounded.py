"""Codecs of Zarr that refuse a chunk which expands beyond its declared size, before the memory is taken.

A thousand bytes of gzip may hold a million, and the header of a Blosc or Zstandard frame may claim any size.
"""

from __future__ import annotations

import asyncio
import zlib
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec
from zarr.registry import register_codec

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class _Bounded(ABC):
    """Mixed into a codec, so that both of zarr's ways to decode check."""

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        return await asyncio.to_thread(self._decode_sync, chunk_bytes, chunk_spec)

    @abstractmethod
    def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any: ...


class BoundedGzip(_Bounded, GzipCodec):
    def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        limit, rest, parts = most_bytes(chunk_spec), chunk_bytes.to_bytes(), []
        while rest:
            decoder = zlib.decompressobj(wbits=31)
            parts.append(decoder.decompress(rest, limit + 1))
            limit -= len(parts[-1])
            if limit < 0:
                raise too_large(chunk_spec)
            if not decoder.eof:
                raise ValueError("a chunk is cut off")
            rest = decoder.unused_data
        return chunk_spec.prototype.buffer.from_bytes(b"".join(parts))


class BoundedZstd(_Bounded, ZstdCodec):
    def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        if not 0 <= zstd_bytes(chunk_bytes.to_bytes()[:18]) <= most_bytes(chunk_spec):
            raise too_large(chunk_spec)
        return ZstdCodec._decode_sync(self, chunk_bytes, chunk_spec)


class BoundedBlosc(_Bounded, BloscCodec):
    def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        if int.from_bytes(chunk_bytes.to_bytes()[4:8], "little") > most_bytes(chunk_spec):
            raise too_large(chunk_spec)
        return BloscCodec._decode_sync(self, chunk_bytes, chunk_spec)


BOUNDED = {"gzip": BoundedGzip, "zstd": BoundedZstd, "blosc": BoundedBlosc}
for _name, _class in BOUNDED.items():
    register_codec(_name, _class)
READ_WITH = {f"codecs.{name}": f"{made.__module__}.{made.__qualname__}" for name, made in BOUNDED.items()}
"""Settings of zarr while a store is opened, by which its arrays take these codecs."""


def most_bytes(chunk_spec: Any) -> int:
    """A chunk as it is declared, and what a codec before this one may have added."""
    kind = chunk_spec.dtype
    item = np.dtype(kind.to_native_dtype() if hasattr(kind, "to_native_dtype") else kind).itemsize
    declared = int(np.prod(chunk_spec.shape, dtype=float)) * item
    return declared + declared // 8 + 1024


def zstd_bytes(head: bytes) -> int:
    """The size of the content that the header of a frame states (RFC 8878, 3.1.1.1); -1 if it states none or is no frame."""
    if len(head) < 6 or head[:4] != _ZSTD_MAGIC:
        return -1
    kind, is_single = head[4] >> 6, bool(head[4] & 0x20)
    width = (1 if is_single else 0, 2, 4, 8)[kind]
    begin = 5 + (not is_single) + (0, 1, 2, 4)[head[4] & 3]
    if not width or len(head) < begin + width:
        return -1
    return int.from_bytes(head[begin : begin + width], "little") + (256 if width == 2 else 0)


def too_large(chunk_spec: Any) -> ValueError:
    return ValueError(
        f"a chunk expands to more than its declared shape {tuple(chunk_spec.shape)}, or does not state its size"
    )
