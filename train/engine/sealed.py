"""Files of tensors with a checksum of all that they hold, which safetensors lacks: a changed byte would be another number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import safe_open
from safetensors.torch import save

from longtake.files import require_regular, write_whole

SUM = "xxh3_128"
"""Name of the checksum in the metadata."""
_BLOCK_BYTES = 1 << 22


def write_sealed(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Equal contents give equal bytes: safetensors alone writes its metadata in random order. A file that exists is complete."""
    content = save(dict(tensors), metadata=dict(metadata))
    start, end = 8, 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[start:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    total = _begun(header)
    total.update(content[end:])
    header["__metadata__"][SUM] = total.hexdigest()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # as the format has it: tensors begin at a multiple of 8 bytes
    write_whole(path, len(text).to_bytes(8, "little") + text + content[end:])


def read_sealed(path: Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a file of the format `kind`-2, or of `kind`-1, which had no checksum. Raises `ValueError` for another format and for
    damage, `SafetensorError`, `OSError`."""
    with safe_open(require_regular(path), framework="pt") as file:
        metadata = file.metadata() or {}
        written = metadata.get("format")
        if written not in (f"{kind}-1", f"{kind}-2"):
            raise ValueError(f"of format {written!r}; {kind}-2 expected")
        expected = metadata.pop(SUM, "")
        if (expected or written == f"{kind}-2") and expected != _sum_of(path):
            raise ValueError("its checksum is not that of what it holds: it was damaged after it was written")
        return {name: file.get_tensor(name) for name in file.keys()}, metadata


def sum_of_json(value: object) -> str:
    """Checksum of a value as JSON; the order of its keys does not matter."""
    return xxhash.xxh3_128_hexdigest(json.dumps(value, sort_keys=True).encode())


def _begun(header: dict[str, Any]) -> xxhash.xxh3_128:
    return xxhash.xxh3_128(json.dumps(header, sort_keys=True).encode())


def _sum_of(path: Path) -> str:
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        header["__metadata__"].pop(SUM, None)
        total = _begun(header)
        while block := file.read(_BLOCK_BYTES):
            total.update(block)
    return str(total.hexdigest())
