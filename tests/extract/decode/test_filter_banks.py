"""Filter banks as Kaldi computes them, and the two published variants."""

from __future__ import annotations

import numpy as np
import pytest

from longtake.extract.backbones.audio_spectrogram import SPEC as AST
from longtake.extract.decode.filter_banks import FLOOR, filter_banks, kaldi_banks
from longtake.extract.preprocessing import SoundRule

RNG = np.random.default_rng(0)


def kaldi(samples: np.ndarray, rate: int, bins: int) -> np.ndarray:
    """Kaldi's compute-fbank-feats in plain loops over windows and filters."""
    length, hop = rate * 25 // 1000, rate * 10 // 1000
    fft = 1
    while fft < length:
        fft *= 2
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / (length - 1))

    def mel(hertz):
        return 1127 * np.log(1 + hertz / 700)

    edges = np.linspace(mel(20), mel(rate / 2), bins + 2)
    rows = []
    for begin in range(0, len(samples) - length + 1, hop):
        frame = samples[begin : begin + length].astype(float)
        frame = frame - frame.mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft(frame * window, fft)) ** 2
        at = mel(np.arange(len(power)) * rate / fft)
        row = []
        for left, centre, right in zip(edges, edges[1:], edges[2:]):
            weights = np.maximum(0, np.minimum((at - left) / (centre - left), (right - at) / (right - centre)))
            weights[-1] = 0  # Kaldi leaves out the highest frequency
            row.append(np.log(max(weights @ power, FLOOR)))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_filter_banks_equal_kaldis(rate):
    samples = RNG.normal(size=20_480) * 0.1
    found = kaldi_banks(samples, rate, 128)
    # 1.28 s at 16 kHz give 126 frames; read as 48 kHz, as in one published set of features, they give 41.
    assert found.shape == ({16_000: 126, 48_000: 41}[rate], 128)
    np.testing.assert_allclose(found, kaldi(samples, rate, 128), atol=1e-3)


def test_the_two_published_variants():
    samples = (RNG.normal(size=20_480) * 0.1 + 0.05).astype(np.float32)
    right = filter_banks(samples, AST.frames, 48_000)
    assert right.shape == (1024, 128)
    expected = (kaldi(samples - samples.mean(), 16_000, 128) + 4.2677393) / (2 * 4.5689974)
    np.testing.assert_allclose(right[:126], expected, atol=1e-3)
    np.testing.assert_allclose(right[126:], 4.2677393 / (2 * 4.5689974), rtol=1e-6)
    from longtake.extract.plan.recipes import apply_recipe

    released = apply_recipe("pamfn", AST).frames
    other = filter_banks(samples, released, 48_000)
    expected = (kaldi(samples + samples.mean(), 48_000, 128) + 4.2677393) / (2 * 4.5689974)
    np.testing.assert_allclose(other[:41], expected, atol=1e-3)
    assert (other[41:] == other[41, 0]).all()
    assert np.ptp(filter_banks(np.zeros(100, np.float32), AST.frames, 48_000)) == 0, "too short for a window"


def test_samples_as_they_are_end_in_nan():
    rule = SoundRule(16_000, 1, 6, 0, 1, banks="none")
    found = filter_banks(np.arange(4, dtype=np.float32), rule, 48_000)
    assert found.shape == (6, 1) and found[:4, 0].tolist() == [0, 1, 2, 3] and np.isnan(found[4:]).all()
    assert filter_banks(np.arange(9, dtype=np.float32), rule, 48_000)[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
