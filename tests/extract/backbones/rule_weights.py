"""Weights that follow from names and shapes, random pictures and frames, and the error between outputs."""

from __future__ import annotations

import zlib

import numpy as np
import torch


def weights_by_rule(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """A state dict whose every tensor follows from its name and shape."""
    state = {}
    for key, shape in shapes.items():
        z = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
        if key.endswith("num_batches_tracked"):
            state[key] = torch.zeros((), dtype=torch.int64)
            continue
        if key.endswith("running_var"):
            values = 1 + 0.2 * np.abs(z)
        elif key.endswith("running_mean"):
            values = 0.1 * z
        elif z.ndim == 1:
            values = 1 + 0.1 * z if key.endswith("weight") else 0.05 * z
        else:
            values = z / np.sqrt(np.prod(shape[1:]))
        state[key] = torch.from_numpy(np.asarray(values, np.float32))
    return state


def pictures(seed: int, channels: int, size: tuple[int, int, int]) -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(seed).standard_normal((1, channels, *size)).astype(np.float32))


def relative_error(found: torch.Tensor, expected: np.ndarray | torch.Tensor) -> float:
    expected = torch.as_tensor(expected)
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected.abs().max()).item()


def frames(seed: int, num_clips: int, size: tuple[int, int, int] = (16, 64, 64)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num_clips, *size, 3), dtype=torch.uint8, generator=generator)
