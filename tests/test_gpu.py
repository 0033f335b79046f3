"""What a GPU must do as a processor does: `pytest -m gpu` where there is one. Each test runs on the processor too, with the smallest backbone,
so that the tests themselves are right before a GPU sees them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from longtake.extract.backbones import TABLE, build, get_spec
from longtake.extract.cli import main as extract
from longtake.extract.decode import get_decoder
from longtake.extract.errors import ExtractError
from longtake.extract.preprocessing import SoundRule
from longtake.features.store import open_store
from longtake.train.cli import main as train
from tests.calls import invoke
from tests.extract.backbones.inputs import inputs
from tests.extract.media import numbers
from tests.extract.runs import make_dataset
from tests.train.planted import planted_store

GPU = (pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]
SMALLEST = "efficientnet-lite0"
FLOAT32_APART, BFLOAT16_APART = 1e-4, 0.03
"""Relative difference (L2) of features from those of the processor in float32."""


def on_devices(*names: str) -> list:
    """The smallest on the processor, all of them on a GPU."""
    return [("cpu", SMALLEST), *(pytest.param("cuda", name, marks=GPU) for name in names)]


def features(name: str, device: str, precision: str = "float32", compiled: bool = False) -> torch.Tensor:
    spec = get_spec(name)
    backbone = build(spec, device=device, precision=precision)
    backbone.init_random(0)
    if compiled:
        backbone.compile()
    found = backbone.forward(inputs(spec, 2))
    assert found.device.type == device
    return found.cpu()


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("device, name", on_devices(*(name for name in TABLE if name != "numbers")))
def test_features_are_those_of_the_processor(device, name):
    expected = features(name, "cpu")
    assert apart(features(name, device), expected) <= FLOAT32_APART
    if device == "cuda" and torch.cuda.is_bf16_supported() and not isinstance(get_spec(name).frames, SoundRule):
        assert apart(features(name, device, "bfloat16"), expected) <= BFLOAT16_APART


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["i3d", "vst-t", "clip"])
def test_compiled_networks(name):
    pytest.importorskip("triton")
    assert apart(features(name, "cuda", compiled=True), features(name, "cuda")) <= FLOAT32_APART


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_decodes(tmp_path):
    """NVDEC gives the frames that are asked for, one after the other."""
    try:
        decoder = get_decoder("nvdec")
    except ExtractError as error:
        pytest.skip(str(error))
    make_dataset(tmp_path, [24])
    info = decoder.probe(tmp_path / "videos" / "v0.mp4")
    try:
        assert numbers(decoder, info.path)[1] == list(range(24))
    except RuntimeError as error:  # torchcodec built without CUDA
        pytest.skip(str(error).splitlines()[0])


@pytest.mark.parametrize("device, name", on_devices("i3d", "resnet50", "vst-t"))
def test_a_run(tmp_path, device, name):
    """All of `extract run`, its batches, buffers and streams included, gives what the processor gives; run again, it gives the same bits."""
    make_dataset(tmp_path, [9, 30])
    call = (
        "run",
        "--manifest",
        tmp_path / "small.csv",
        "--videos",
        tmp_path / "videos",
        "--backbone",
        name,
        "--runtime",
        "torch",
    )
    call += ("--weights", "random", "--clip-length", 8, "--batch-size", 3)
    for out, where in (("a.h5", device), ("b.h5", device), ("cpu.h5", "cpu")):
        invoke(extract, *map(str, call), "--device", where, "--out", str(tmp_path / out))
    first, again, expected = (open_store(tmp_path / out).stream() for out in ("a.h5", "b.h5", "cpu.h5"))
    assert first.header == expected.header
    for video in ("v0", "v1"):
        found, wanted = first.read(video).features, expected.read(video).features
        assert np.linalg.norm(found - wanted) <= FLOAT32_APART * np.linalg.norm(wanted)
        np.testing.assert_array_equal(again.read(video).features, found)


@pytest.mark.parametrize("device, head", [("cpu", "i3d-mlp"), *(pytest.param("cuda", head, marks=GPU) for head in ("i3d-mlp", "gdlt", "qtd", "ms-lstm"))])  # fmt: skip
def test_a_head_trains(tmp_path, device, head):
    store = planted_store(tmp_path / "f.h5")
    call = ("heads", "--features", store, "--head", head, "--epochs", 2, "--no-floor", "--device", device)
    for precision in ("float32", "bfloat16"):
        done = invoke(train, *map(str, call), "--set", f"precision={precision}", "--out", str(tmp_path / precision))
        assert "nan" not in done.output.lower()
