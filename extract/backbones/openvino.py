"""A frozen network run by OpenVINO on a CPU: read from the cache of compiled networks, or converted (extract/backbones/to_openvino.py) and kept there.

A network of the cache was compared with torch before it was kept, so a run with one does not import torch, which takes most of its start.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.errors import printable
from longtake.extract.backbones import compiled_cache
from longtake.extract.backbones.openvino_run import ConvertedBackbone, Run, input_of
from longtake.extract.backbones.runtime import import_openvino, openvino_version
from longtake.extract.backbones.spec import BackboneSpec
from longtake.extract.errors import NotConverted

if TYPE_CHECKING:
    from longtake.extract.backbones.frozen import Backbone

LIBRARIES = ("torch", "torchvision", "transformers", "timm", "open_clip_torch", "pytorchvideo", "longtake")
"""Packages that networks are made of."""
Note = Callable[[str], None]


def converted(
    spec: BackboneSpec, make: Callable[[], Backbone], *, precision: str, batch_size: int, length: int,
    facts: Mapping[str, object], on_note: Note = lambda line: None,
) -> ConvertedBackbone:  # fmt: skip
    """The network that `make` gives in float32, with its weights, for batches of `batch_size` clips of `length` frames.

    It is read from the cache, or converted and kept there; `facts` are all that decides it, its weights included. Raises `NotConverted`.
    """
    dtype, shape = input_of(spec, batch_size, length)
    openvino = import_openvino()
    key: dict[str, object] = {
        **facts,
        "input": [str(dtype), *shape],
        "precision": precision,
        "openvino": openvino_version(),
        "processor": [
            platform.machine(),
            *(str(openvino.Core().get_property("CPU", name)) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")),
        ],
        "libraries": {name: _version(name) for name in LIBRARIES},
        "code": _code(),
    }  # fmt: skip
    # Weights without a checksum could be others under the same name.
    path = compiled_cache.path_of(key) if facts.get("weights_sha256") else None
    if (network := compiled_cache.read(path)) is not None:
        try:
            return ConvertedBackbone(spec, make, Run(spec.name, network, dtype, shape, precision), precision=precision)
        except RuntimeError:  # whole, but OpenVINO cannot read it
            if path is not None:
                compiled_cache.remove(path)
    from longtake.extract.backbones.to_openvino import check, convert, example_clips

    backbone = make()
    example = example_clips(spec, batch_size, length)
    on_note(f"{spec.name}: converting the network for OpenVINO, once; this takes a minute or so")
    (network,) = convert(backbone, example, (precision,))
    # The same bytes that the next start reads, so that both give the same bits.
    try:
        run = Run(spec.name, network, dtype, shape, precision)
        check(backbone, run, example, precision)
    except RuntimeError as error:
        raise NotConverted(spec.name, f"it cannot be run ({printable(str(error))[:300]})") from error
    compiled_cache.write(path, network)
    return ConvertedBackbone(spec, lambda: backbone, run, precision=precision)


@cache
def _code() -> str:
    """Checksum of the modules that make networks: between releases they change, and the version does not."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
