"""Video Swin against the published implementation's outputs."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import torch

from longtake.extract.backbones import build
from longtake.extract.backbones.state_dict import state_sha256
from tests.extract.backbones.inputs import inputs


def video_swin_state(keys: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    state = {}
    for key, shape in keys.items():
        z = np.random.RandomState(zlib.crc32(key.removeprefix("backbone.").encode())).standard_normal(shape)
        if key.endswith("relative_position_index"):
            values = np.zeros(shape)  # follows from the window; our loader makes its own
        elif key.endswith("relative_position_bias_table"):
            values = 0.2 * z
        elif z.ndim == 1:
            values = 1 + 0.1 * z if key.endswith("weight") else 0.05 * z
        else:
            values = z / np.sqrt(np.prod(shape[1:]))
        state[key] = torch.from_numpy(np.asarray(values, np.float32))
    return state


def test_video_swin_of_the_original_repository(shared) -> None:
    """Keys of the published Kinetics-600 checkpoint, and the published implementation's outputs."""
    golden = np.load(shared / "golden" / "video_swin_b.npz")
    vst = build("vst")
    vst.load_weights(video_swin_state(json.loads(str(golden["keys"]))))
    assert vst.classify(inputs(vst.spec, 1)) is None, "that file has no classifier"
    assert swin_error(vst, golden, 2, (9, 90, 116)) < 1e-4


def test_names_of_mmaction2_load() -> None:
    """The last norm is `norm3` there; made by its rule from the names of the original repository."""
    vst = build("vst-t")
    vst.init_random(0)
    theirs = {}
    for key, value in vst.state_dict().items():
        name = key.replace(".mlp.0.", ".mlp.fc1.").replace(".mlp.3.", ".mlp.fc2.")
        parts = name.split(".")
        if parts[0] == "features" and int(parts[1]) % 2:
            name = ".".join(["layers", str(int(parts[1]) // 2), "downsample", *parts[2:]])
        elif parts[0] == "features":
            name = ".".join(["layers", str(int(parts[1]) // 2), "blocks", *parts[2:]])
        name = name.replace("norm.", "norm3.") if parts[0] == "norm" else name
        theirs[f"cls_head.fc_cls.{parts[1]}" if parts[0] == "head" else f"backbone.{name}"] = value
    again = build("vst-t")
    again.load_weights({"meta": {"epoch": 30}, "state_dict": theirs})
    assert state_sha256(again.state_dict()) == state_sha256(vst.state_dict())


@pytest.mark.slow
def test_video_swin_on_whole_pictures(shared) -> None:
    golden = np.load(shared / "golden" / "video_swin_b.npz")
    vst = build("vst")
    vst.load_weights(video_swin_state(json.loads(str(golden["keys"]))))
    assert sum(p.numel() for p in build("vst")._parts.make(400).parameters()) == 88_048_984
    assert swin_error(vst, golden, 0, (32, 224, 224)) < 1e-4
    assert swin_error(vst, golden, 1, (16, 224, 224)) < 1e-4


def swin_error(vst, golden, seed: int, size: tuple[int, int, int]) -> float:
    pictures = np.random.RandomState(seed).standard_normal((1, 3, *size)).astype(np.float32)
    with torch.inference_mode():
        found = vst._features(vst._network, torch.from_numpy(pictures)).numpy()
    expected = golden["mean_" + "x".join(map(str, size))]
    return float(np.abs(found - expected).max() / np.abs(expected).max())
