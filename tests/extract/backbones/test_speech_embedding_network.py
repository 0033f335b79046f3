"""The speech embedding against the files of openwakeword, run by onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.extract.backbones.speech_embedding_network import LEAST_SAMPLES, SpeechEmbedding, mel_bands, windows

openwakeword = pytest.importorskip("openwakeword")
runtime = pytest.importorskip("onnxruntime")
MODELS = Path(openwakeword.__file__).parent / "resources" / "models"


def sound(num_samples: int) -> np.ndarray:
    """A chord that swells, in noise, with a silent part; whole 16-bit numbers."""
    rng = np.random.default_rng(0)
    seconds = np.arange(num_samples) / 16_000
    chord = sum(np.sin(2 * np.pi * hz * seconds) for hz in (220, 277, 330)) * seconds / seconds[-1]
    found = 4000 * chord + 300 * rng.normal(size=num_samples)
    found[num_samples // 2 : num_samples // 2 + 3000] = 0
    return found.round().clip(-32768, 32767)


def test_mel_bands_are_those_of_the_file() -> None:
    samples = sound(20_000)
    session = runtime.InferenceSession(str(MODELS / "melspectrogram.onnx"))
    (expected,) = session.run(None, {"input": samples[None].astype(np.float32)})
    found = mel_bands(torch.from_numpy(samples).float())
    torch.testing.assert_close(found, torch.from_numpy(expected.squeeze() / 10 + 2), rtol=1e-4, atol=1e-4)


def test_a_short_clip_is_one_window_and_steps_are_of_8_frames() -> None:
    assert windows(torch.zeros(100)).shape == windows(torch.zeros(LEAST_SAMPLES)).shape == (1, 76, 32)
    assert windows(torch.zeros(0)).shape == (1, 76, 32)
    assert len(windows(torch.zeros(LEAST_SAMPLES + 8 * 160 - 1))) == 1
    assert len(windows(torch.zeros(LEAST_SAMPLES + 8 * 160))) == 2


def test_one_window_gives_96_values() -> None:
    network = SpeechEmbedding().eval()
    assert network(torch.zeros(3, 76, 32)).shape == (3, 96)
