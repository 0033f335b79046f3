"""Sound to log mel filter banks, as Kaldi computes them and AST was trained on (Gong et al., Interspeech 2021)."""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np

from longtake.extract.preprocessing import SoundRule

FLOOR = 1.192092955078125e-07
"""Kaldi's smallest energy before the logarithm: float32's epsilon."""
LOWEST_HZ = 20


def filter_banks(samples: np.ndarray, rule: SoundRule, original_rate: int) -> np.ndarray:
    """float32 `(num_frames, mel_bins)`, normalised as `SoundRule` says; or the samples, `(num_frames, 1)`. `samples` are in [-1, 1]."""
    if rule.banks == "none":
        found = np.full((rule.num_frames, 1), np.nan, np.float32)
        found[: len(samples), 0] = samples[: rule.num_frames]
        return found
    mean = samples.mean() if len(samples) else 0.0
    samples = samples + mean if rule.offset == "plus mean" else samples - mean
    rate = original_rate if rule.bank_rate == "original rate" else rule.sample_rate
    found = kaldi_banks(samples, rate, rule.mel_bins)[: rule.num_frames]
    filled = np.zeros((rule.num_frames, rule.mel_bins), np.float32)
    filled[: len(found)] = found
    return (filled - rule.mean) / (2 * rule.std)


def kaldi_banks(samples: np.ndarray, rate: int, mel_bins: int) -> np.ndarray:
    """`(frames, mel_bins)`: full windows of 25 ms every 10 ms, Hanning, pre-emphasis 0.97, power, natural logarithm."""
    from transformers.audio_utils import spectrogram

    length, hop = int(rate * 0.025), int(rate * 0.010)
    if len(samples) < length:
        return np.zeros((0, mel_bins), np.float32)
    fft = 1 << (length - 1).bit_length()
    window, filters = _window_and_filters(rate, length, fft, mel_bins)
    found = spectrogram(
        samples.astype(np.float64), window, frame_length=length, hop_length=hop, fft_length=fft, power=2.0, center=False,
        preemphasis=0.97, mel_filters=filters, log_mel="log", mel_floor=FLOOR, remove_dc_offset=True,
    )  # fmt: skip
    return np.asarray(found.T, np.float32)


@lru_cache(maxsize=8)
def _window_and_filters(rate: int, length: int, fft: int, mel_bins: int) -> tuple[np.ndarray, np.ndarray]:
    from transformers.audio_utils import mel_filter_bank, window_function

    with warnings.catch_warnings():
        # The lowest of 128 filters are narrower than a frequency bin and empty, as Kaldi's are.
        warnings.simplefilter("ignore", UserWarning)
        filters = mel_filter_bank(
            num_frequency_bins=fft // 2 + 1, num_mel_filters=mel_bins, min_frequency=LOWEST_HZ, max_frequency=rate // 2,
            sampling_rate=rate, norm=None, mel_scale="kaldi", triangularize_in_mel_space=True,
        )  # fmt: skip
    return window_function(length, "hann", periodic=False), filters
