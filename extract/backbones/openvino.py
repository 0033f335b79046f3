"""A frozen network run by OpenVINO on a CPU. It is exported by torch.export, converted by OpenVINO, and checked against torch before it is used.

The normalisation of pictures is part of the converted network: it takes the 8-bit frames.
"""

from __future__ import annotations

import hashlib
import io
import platform
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from longtake.errors import printable
from longtake.extract.backbones import compiled_cache
from longtake.extract.backbones.runtime import BFLOAT16_BOUND, FLOAT32_BOUND, import_openvino, openvino_version
from longtake.extract.backbones.spec import BackboneSpec
from longtake.extract.errors import NotConverted
from longtake.extract.preprocessing import SoundRule

if TYPE_CHECKING:
    from longtake.extract.backbones.frozen import Backbone

LIBRARIES = ("torch", "torchvision", "transformers", "timm", "open_clip_torch", "pytorchvideo", "longtake")
"""Packages that networks are made of."""
Note = Callable[[str], None]


class ConvertedBackbone:
    """Like `frozen.Backbone`, for batches of one shape. A clip's features do not depend on its place in a batch or on its neighbours."""

    def __init__(self, spec: BackboneSpec, make: Callable[[], Backbone], run: Run, *, precision: str) -> None:
        self.spec, self.precision, self.device = spec, precision, torch.device("cpu")
        self._make, self._run = make, run

    @cached_property
    def in_torch(self) -> Backbone:
        """The network in torch, float32, with its weights: made only where it is asked for."""
        return self._make()

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Input as of `frozen.Backbone`, of the one shape -> float32 features `(batch, dim)`. `ValueError` for another type or shape."""
        return self._run(clips)

    def classify(self, clips: torch.Tensor) -> torch.Tensor | None:
        """By torch, see `frozen.Backbone.classify`."""
        return self.in_torch.classify(clips)

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        return self.in_torch.state_dict()


class Run:
    """A compiled network."""

    def __init__(self, name: str, network: bytes, example: torch.Tensor, precision: str) -> None:
        """Raises `NotConverted` if this processor would compute it in another precision than it is asked for."""
        openvino = import_openvino()
        compiled = openvino.Core().import_model(io.BytesIO(network), "CPU", _settings(precision))
        # A compiled network that is read back has the processor's own precision, unless it is given again.
        found = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if found != _NAMES[precision]:
            raise NotConverted(name, f"it computes {found} on this processor, not {precision}")
        if len(compiled.inputs) != 1:
            raise NotConverted(name, "what it computes does not depend on its input")
        self._request = compiled.create_infer_request()
        self._shape, self._dtype = example.shape, example.dtype

    def __call__(self, clips: torch.Tensor) -> torch.Tensor:
        if clips.shape != self._shape or clips.dtype != self._dtype:
            raise ValueError(
                f"this network was compiled for {self._dtype} {tuple(self._shape)}, got {clips.dtype} {tuple(clips.shape)}"
            )
        (found,) = self._request.infer({0: clips.contiguous().numpy()}, share_inputs=True).values()
        return torch.from_numpy(found.copy())


_NAMES = {"float32": "f32", "bfloat16": "bf16"}


def _settings(precision: str) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": _NAMES[precision],
        # As torch counts them, so that OMP_NUM_THREADS and the shares of several processes hold.
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        # Pinned to cores, networks of several processes would all wait for the first cores, and for the decoder there.
        "ENABLE_CPU_PINNING": False,
    }


def converted(
    spec: BackboneSpec, make: Callable[[], Backbone], *, precision: str, batch_size: int, length: int,
    facts: Mapping[str, object], on_note: Note = lambda line: None,
) -> ConvertedBackbone:  # fmt: skip
    """The network that `make` gives in float32, with its weights, for batches of `batch_size` clips of `length` frames.

    It is read from the cache, or converted and kept there; `facts` are all that decides it, its weights included. Raises `NotConverted`.
    """
    example = example_clips(spec, batch_size, length)
    openvino = import_openvino()
    key: dict[str, object] = {
        **facts,
        "input": [str(example.dtype), *example.shape],
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
            return ConvertedBackbone(spec, make, Run(spec.name, network, example, precision), precision=precision)
        except RuntimeError:  # whole, but OpenVINO cannot read it
            if path is not None:
                compiled_cache.remove(path)
    backbone = make()
    on_note(f"{spec.name}: converting the network for OpenVINO, once; this takes a minute or so")
    (network,) = convert(backbone, example, (precision,))
    # The same bytes that the next start reads, so that both give the same bits.
    try:
        run = Run(spec.name, network, example, precision)
        check(backbone, run, example, precision)
    except RuntimeError as error:
        raise NotConverted(spec.name, f"it cannot be run ({printable(str(error))[:300]})") from error
    compiled_cache.write(path, network)
    return ConvertedBackbone(spec, lambda: backbone, run, precision=precision)


def example_clips(spec: BackboneSpec, batch_size: int, length: int) -> torch.Tensor:
    """A batch of noise, of the shape that the network is compiled for."""
    random = torch.Generator().manual_seed(0)
    rule = spec.frames
    if not isinstance(rule, SoundRule):
        shape = (batch_size, length, rule.height, rule.width, 3)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
    if rule.banks == "none":
        raise NotConverted(spec.name, "its clips of sound have different lengths")
    return torch.randn((batch_size, rule.num_frames, rule.mel_bins), generator=random)


def convert(backbone: Backbone, example: torch.Tensor, precisions: Sequence[str]) -> list[bytes]:
    """The compiled network for each precision, as OpenVINO writes it. Raises `NotConverted` with the reason."""
    openvino = import_openvino()
    written = [io.BytesIO() for _ in precisions]
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.export.export(backbone.as_module(), (example,), strict=False)
            model = openvino.convert_model(exported)
        for precision, stream in zip(precisions, written):
            openvino.Core().compile_model(model, "CPU", _settings(precision)).export_model(stream)
    except Exception as error:  # each library raises its own kinds, and any of them means the same
        lines = str(error).strip().splitlines() or [""]
        reason = printable(f"{type(error).__name__}: {lines[0]}")[:300]
        raise NotConverted(backbone.spec.name, f"it cannot be converted ({reason})") from error
    return [stream.getvalue() for stream in written]


def check(
    backbone: Backbone, run: Callable[[torch.Tensor], torch.Tensor], example: torch.Tensor, precision: str
) -> None:
    """Raise `NotConverted` if features of the first or the last clip differ from torch's float32 by more than rounding."""
    expected, found = backbone.forward(example[[0, -1]]), run(example)[[0, -1]]
    apart = float(((found - expected).norm(dim=1) / expected.norm(dim=1)).max())
    bound = BFLOAT16_BOUND if precision == "bfloat16" else FLOAT32_BOUND
    if not apart <= bound:  # NaN too
        raise NotConverted(
            backbone.spec.name, f"its {precision} differs from torch by {apart:.1e}, and only {bound:g} is rounding"
        )


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
