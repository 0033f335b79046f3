"""The network of the speech embedding, and its front end: mel bands as openwakeword's ONNX file computes them."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional

WINDOW, STEP = 76, 8
"""Frames of a window, and from one window to the next."""
RATE, FFT, SIZE, HOP, BANDS = 16_000, 512, 400, 160, 32
LOWEST_HZ, HIGHEST_HZ = 60, 3800
FLOOR, RANGE_DECIBELS = 1e-10, 80.0
LEAST_SAMPLES = FFT + (WINDOW - 1) * HOP
SLOPE, LOWEST = 0.2, -0.4
"""Of the activation."""
CHANNELS = (24, 24, 24, 48, 48, 48, 48, 72, 72, 72, 72, 96, 96, 96, 96, 96, 96, 96, 96, 96)
POOLS = {2: (2, 2), 6: (1, 2), 10: (2, 2), 14: (1, 2), 18: (2, 2)}
"""Convolution -> the maximum after it, over times and bands."""


def windows(samples: torch.Tensor) -> torch.Tensor:
    """Samples of one clip in [-1, 1] `(samples,)` -> `(windows, 76, 32)`, float32. A shorter clip is filled up with silence."""
    # As 16-bit numbers, which the published weights were trained on.
    whole = (samples.float() * 32768).round().clamp(-32768, 32767)
    whole = functional.pad(whole, (0, max(LEAST_SAMPLES - len(whole), 0)))
    return mel_bands(whole).unfold(0, WINDOW, STEP).transpose(1, 2)


def mel_bands(samples: torch.Tensor) -> torch.Tensor:
    """`(samples,)` -> `(frames, 32)`: power in decibels of Slaney's bands, at most 80 below the loudest, a tenth of it and 2 more."""
    window, filters = _window_and_filters()
    frames = samples.unfold(0, FFT, HOP) * window.to(samples)
    power = torch.fft.rfft(frames).abs().square() @ filters.to(samples)
    decibels = 10 * power.clamp(min=FLOOR).log10()
    return decibels.clamp(min=float(decibels.max()) - RANGE_DECIBELS) / 10 + 2


@lru_cache(maxsize=1)
def _window_and_filters() -> tuple[torch.Tensor, torch.Tensor]:
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(FFT // 2 + 1, BANDS, LOWEST_HZ, HIGHEST_HZ, RATE, norm="slaney", mel_scale="slaney")
    border = (FFT - SIZE) // 2
    window = functional.pad(torch.hann_window(SIZE, dtype=torch.float64), (border, border))
    return window.float(), torch.from_numpy(filters).float()


class SpeechEmbedding(nn.Module):
    """Windows `(windows, 76, 32)` -> `(windows, 96)`."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        for index, width in enumerate(CHANNELS):
            along_bands = index % 2 == 1 and index != len(CHANNELS) - 1
            kernel, padding = ((1, 3), (0, 1)) if along_bands else ((3, 1), (0, 0))
            if index == 0:
                kernel, padding = (3, 3), (0, 1)
            has_bias = 0 < index < len(CHANNELS) - 1
            before = CHANNELS[index - 1] if index else 1
            conv = nn.Conv2d(before, width, kernel, padding=padding, bias=has_bias)
            # By PyTorch's own random weights, nothing of the input would be left after 20 layers.
            nn.init.kaiming_normal_(conv.weight, a=SLOPE)
            self.convs.append(conv)
        self.norm = nn.BatchNorm2d(CHANNELS[0], eps=1e-3)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        maps = windows[:, None].to(self.norm.weight.dtype)
        for index, conv in enumerate(self.convs[:-1]):
            maps = conv(maps)
            if index == 0:
                maps = self.norm(maps.relu())
            maps = functional.leaky_relu(maps, SLOPE).clamp(min=LOWEST)
            if index in POOLS:
                maps = functional.max_pool2d(maps, POOLS[index])
        found: torch.Tensor = self.convs[-1](maps)
        return found.flatten(1)
