"""The speech embedding against the files of openwakeword, run by onnxruntime."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.extract.backbones.speech_embedding_network import LEAST_SAMPLES, SpeechEmbedding, mel_bands, windows

runtime = pytest.importorskip("onnxruntime")
PACKAGE = find_spec("openwakeword")
if PACKAGE is None or PACKAGE.origin is None:
    pytest.skip("its weights come with the extra sound", allow_module_level=True)
MODELS = Path(PACKAGE.origin).parent / "resources" / "models"


def sound(num_samples: int) -> np.ndarray:
    """A chord that swells, in noise, with a silent part; whole 16-bit numbers."""
    rng = np.random.default_rng(0)
    seconds = np.arange(num_samples) / 16_000
    chord = sum(np.sin(2 * np.pi * hz * seconds) for hz in (220, 277, 330)) * seconds / seconds[-1]
    found = 4000 * chord + 300 * rng.normal(size=num_samples)
    found[num_samples // 2 : num_samples // 2 + 3000] = 0
    return found.round().clip(-32768, 32767)


def run(name: str, given: np.ndarray) -> np.ndarray:
    session = runtime.InferenceSession(str(MODELS / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: given.astype(np.float32)})
    return found.squeeze()


def bands_of_the_file(samples: np.ndarray) -> np.ndarray:
    return run("melspectrogram", samples[None]) / 10 + 2


def embeddings(samples: np.ndarray) -> np.ndarray:
    """What the package computes of 16-bit samples, by its files and without the import of it, which takes seconds: `(windows, 96)`."""
    bands = bands_of_the_file(samples)
    starts = range(0, len(bands) - 75, 8)
    return run("embedding_model", np.stack([bands[start : start + 76] for start in starts])[..., None])


@pytest.mark.slow
def test_the_package_computes_the_same() -> None:
    from openwakeword.utils import AudioFeatures

    samples = sound(30_000)
    expected = AudioFeatures(ncpu=1)._get_embeddings(samples.astype(np.int16))
    np.testing.assert_allclose(embeddings(samples), expected, rtol=1e-4, atol=1e-4)


def test_mel_bands_are_those_of_the_file() -> None:
    samples = sound(20_000)
    found = mel_bands(torch.from_numpy(samples).float())
    torch.testing.assert_close(found, torch.from_numpy(bands_of_the_file(samples)), rtol=1e-4, atol=1e-4)


def test_a_short_clip_is_one_window_and_steps_are_of_8_frames() -> None:
    assert windows(torch.zeros(100)).shape == windows(torch.zeros(LEAST_SAMPLES)).shape == (1, 76, 32)
    assert windows(torch.zeros(0)).shape == (1, 76, 32)
    assert len(windows(torch.zeros(LEAST_SAMPLES + 8 * 160 - 1))) == 1
    assert len(windows(torch.zeros(LEAST_SAMPLES + 8 * 160))) == 2


def test_one_window_gives_96_values() -> None:
    network = SpeechEmbedding().eval()
    assert network(torch.zeros(3, 76, 32)).shape == (3, 96)
