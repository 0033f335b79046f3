"""Weights of an ONNX file: its tensors of floating-point numbers by name. The graph is not run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from longtake.extract.errors import WeightsError
from longtake.packages import needs

if TYPE_CHECKING:
    import torch

MOST_BYTES = 2 * 1024**3
"""Protocol buffers cannot be larger."""


def load_onnx(path: Path) -> dict[str, torch.Tensor]:
    """`WeightsError` for a corrupt file, one with tensors in other files, and where the package onnx is missing."""
    with needs(
        lambda name: WeightsError(
            f"{path} is an ONNX file, which needs the package {name}: python -m pip install 'longtake[sound]'"
        )
    ):
        import onnx
        from google.protobuf.message import DecodeError
        from onnx import numpy_helper
    import torch

    if path.stat().st_size > MOST_BYTES:
        raise WeightsError(f"{path} is refused: an ONNX file of more than {MOST_BYTES >> 30} GiB cannot be whole")
    try:
        # Other files, which a model may name with any path, are not opened.
        initializers = onnx.load(path, load_external_data=False).graph.initializer
        if any(one.data_location == onnx.TensorProto.EXTERNAL for one in initializers):
            raise WeightsError(f"{path} keeps its tensors in other files, which is not supported")
        kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
        found = {one.name: numpy_helper.to_array(one) for one in initializers if one.data_type in kinds}
    except (DecodeError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} is not a whole ONNX file: {(str(error).splitlines() or [''])[0]}") from error
    if not found:
        raise WeightsError(f"{path} is an ONNX file without weights")
    return {name: torch.from_numpy(values.copy()) for name, values in found.items()}
