"""Weights of ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.extract.backbones.state_dict import load_state
from longtake.extract.errors import WeightsError

onnx = pytest.importorskip("onnx")


def save(path: Path, **tensors: np.ndarray) -> Path:
    initializers = [onnx.numpy_helper.from_array(values, name) for name, values in tensors.items()]
    graph = onnx.helper.make_graph([], "a test", [], [], initializers)
    onnx.save(onnx.helper.make_model(graph), path)
    return path


def test_floating_point_tensors_are_read_by_name(tmp_path: Path) -> None:
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    path = save(tmp_path / "a.onnx", weight=weight, shape=np.array([1, 2]), half=weight.astype(np.float16))
    found = load_state(path)
    assert set(found) == {"weight", "half"} and found["half"].dtype == torch.float16
    assert torch.equal(found["weight"], torch.from_numpy(weight))


def test_damage_and_files_without_weights_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.onnx", weight=np.ones((100, 100), np.float32))
    whole = path.read_bytes()
    for size in (1, 50, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match="a.onnx"):
            load_state(path)
    with pytest.raises(WeightsError, match="without weights"):
        load_state(save(path, shape=np.array([1])))


def test_tensors_of_other_files_are_not_opened(tmp_path: Path) -> None:
    path = save(tmp_path / "a.onnx", weight=np.ones(3, np.float32))
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match="in other files"):
        load_state(path)
