"""Convert a network of torch for OpenVINO: exported by torch.export, converted by OpenVINO, and checked against torch before it is used.

The normalisation of pictures is part of the converted network: it takes the 8-bit frames.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from longtake.errors import printable
from longtake.extract.backbones.openvino_run import input_of, settings
from longtake.extract.backbones.runtime import BFLOAT16_BOUND, FLOAT32_BOUND, import_openvino
from longtake.extract.backbones.spec import BackboneSpec
from longtake.extract.errors import NotConverted

if TYPE_CHECKING:
    from longtake.extract.backbones.frozen import Backbone


def example_clips(spec: BackboneSpec, batch_size: int, length: int) -> torch.Tensor:
    """A batch of noise, of the shape that the network is compiled for."""
    random = torch.Generator().manual_seed(0)
    dtype, shape = input_of(spec, batch_size, length)
    if dtype == np.uint8:
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
    return torch.randn(shape, generator=random)


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
            openvino.Core().compile_model(model, "CPU", settings(precision)).export_model(stream)
    except Exception as error:  # each library raises its own kinds, and any of them means the same
        lines = str(error).strip().splitlines() or [""]
        reason = printable(f"{type(error).__name__}: {lines[0]}")[:300]
        raise NotConverted(backbone.spec.name, f"it cannot be converted ({reason})") from error
    return [stream.getvalue() for stream in written]


def check(backbone: Backbone, run: Callable[[np.ndarray], np.ndarray], example: torch.Tensor, precision: str) -> None:
    """Raise `NotConverted` if features of the first or the last clip differ from torch's float32 by more than rounding."""
    expected, found = backbone.forward(example[[0, -1]]), torch.from_numpy(run(example.numpy())[[0, -1]])
    apart = float(((found - expected).norm(dim=1) / expected.norm(dim=1)).max())
    bound = BFLOAT16_BOUND if precision == "bfloat16" else FLOAT32_BOUND
    if not apart <= bound:  # NaN too
        raise NotConverted(
            backbone.spec.name, f"its {precision} differs from torch by {apart:.1e}, and only {bound:g} is rounding"
        )
