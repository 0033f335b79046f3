"""What the machine has, found without torch where that is possible, and the same as torch finds."""

from __future__ import annotations

import ctypes
import sys

import pytest
import torch

from longtake.extract.errors import ExtractError
from longtake.extract.plan import devices


def test_a_gpu_is_asked_of_torch_unless_there_can_be_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices, "surely_no_gpu", lambda: False)
    assert devices.choose_device("auto") == "cuda" and devices.choose_device("cpu") == "cpu"
    monkeypatch.setattr(devices, "surely_no_gpu", lambda: True)
    assert devices.choose_device("auto") == "cpu"


def test_the_driver_decides_whether_there_can_be_one(monkeypatch):
    assert not (devices.surely_no_gpu() and torch.cuda.is_available())
    monkeypatch.setattr(ctypes, "CDLL", lambda name: name)
    assert not devices.surely_no_gpu()


def test_a_device_file_is_enough_to_ask_torch(monkeypatch, tmp_path):
    def missing(name):
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", missing)
    monkeypatch.setattr(devices, "GPU_FILES", (tmp_path / "kfd", tmp_path / "nvidiactl"))
    assert devices.surely_no_gpu()
    (tmp_path / "nvidiactl").touch()
    assert not devices.surely_no_gpu()


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ExtractError, match="--device cuda:77 cannot be used"):
        devices.choose_device("cuda:77")
    with pytest.raises(ExtractError, match="--device abacus cannot be used: it is not a kind of device"):
        devices.choose_device("abacus")


def test_the_processor_says_what_torch_says(monkeypatch):
    expected = bool(torch.cpu._is_avx512_bf16_supported())
    assert devices.processor_has_bfloat16() is expected
    monkeypatch.delitem(sys.modules, "torch")
    if devices.CPU_FACTS.is_file():
        assert devices.processor_has_bfloat16() is expected
        assert "torch" not in sys.modules
