"""A network that OpenVINO runs on a CPU. Neither this nor its use imports torch, whose import takes most of the start of a short run."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from longtake.extract.backbones.runtime import import_openvino
from longtake.extract.backbones.spec import BackboneSpec
from longtake.extract.errors import NotConverted
from longtake.extract.preprocessing import SoundRule
from longtake.threads import num_threads

if TYPE_CHECKING:
    import torch

    from longtake.extract.backbones.frozen import Backbone


class ConvertedBackbone:
    """Like `frozen.Backbone`, for batches of one shape. A clip's features do not depend on its place in a batch or on its neighbours."""

    device = "cpu"

    def __init__(self, spec: BackboneSpec, make: Callable[[], Backbone], run: Run, *, precision: str) -> None:
        self.spec, self.precision = spec, precision
        self._make, self.compute = make, run
        """`compute` is `forward` on arrays."""

    @cached_property
    def in_torch(self) -> Backbone:
        """The network in torch, float32, with its weights: made only where it is asked for."""
        return self._make()

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Input as of `frozen.Backbone`, of the one shape -> float32 features `(batch, dim)`. `ValueError` for another type or shape."""
        import torch

        return torch.from_numpy(self.compute(clips.numpy()))

    def classify(self, clips: torch.Tensor) -> torch.Tensor | None:
        """By torch, see `frozen.Backbone.classify`."""
        return self.in_torch.classify(clips)

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        return self.in_torch.state_dict()


class Run:
    """A compiled network."""

    def __init__(self, name: str, network: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], precision: str) -> None:
        """For one type and shape of input. Raises `NotConverted` if this processor would compute it in another precision than it is asked for."""
        openvino = import_openvino()
        compiled = openvino.Core().import_model(io.BytesIO(network), "CPU", settings(precision))
        # A compiled network that is read back has the processor's own precision, unless it is given again.
        found = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if found != _NAMES[precision]:
            raise NotConverted(name, f"it computes {found} on this processor, not {precision}")
        if len(compiled.inputs) != 1:
            raise NotConverted(name, "what it computes does not depend on its input")
        self._request = compiled.create_infer_request()
        self._dtype, self._shape = dtype, shape

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """Of the one type and shape -> float32 `(batch, dim)`. `ValueError` for another."""
        if clips.shape != self._shape or clips.dtype != self._dtype:
            raise ValueError(
                f"this network was compiled for {self._dtype} {self._shape}, got {clips.dtype} {clips.shape}"
            )
        (found,) = self._request.infer({0: np.ascontiguousarray(clips)}, share_inputs=True).values()
        return np.array(found)


_NAMES = {"float32": "f32", "bfloat16": "bf16"}


def settings(precision: str) -> dict[str, Any]:
    """How OpenVINO compiles and runs a network."""
    return {
        "INFERENCE_PRECISION_HINT": _NAMES[precision],
        # As torch counts them, so that OMP_NUM_THREADS and the shares of several processes hold.
        "INFERENCE_NUM_THREADS": num_threads(),
        "NUM_STREAMS": 1,
        # Pinned to cores, networks of several processes would all wait for the first cores, and for the decoder there.
        "ENABLE_CPU_PINNING": False,
    }


def input_of(spec: BackboneSpec, batch_size: int, length: int) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type and shape of a batch. Raises `NotConverted` where clips have different ones."""
    rule = spec.frames
    if not isinstance(rule, SoundRule):
        return np.dtype(np.uint8), (batch_size, length, rule.height, rule.width, 3)
    if rule.banks == "none":
        raise NotConverted(spec.name, "its clips of sound have different lengths")
    return np.dtype(np.float32), (batch_size, rule.num_frames, rule.mel_bins)
