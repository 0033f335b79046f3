"""The last stretch of a batch: into a buffer that is used again, through the network, and back as rows.

On a CPU that is one call. On a GPU it is three things that overlap: while the network computes one batch, the next is copied from
page-locked memory by a stream of its own, and the rows of the one before are fetched. 8-bit frames travel; normalising is the device's work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch

    from longtake.extract.backbones.spec import Backbone


@dataclass(frozen=True)
class Started:
    """A batch under way."""

    frames: torch.Tensor
    """On the host, as it was filled; valid until its lane has started `lag + 1` more."""
    rows: Callable[[], np.ndarray]
    """Waits for the features, `(batch, dim)`."""


class Lane(Protocol):
    """One backbone's way to its device and back."""

    lag: int
    """Batches that stay under way while the next is prepared."""

    def start(self, clips: Sequence[np.ndarray]) -> Started:
        """`clips` are arrays of one shape; a list shorter than the batch is filled up with its last."""


class HostLane:
    """Computes at once: on a CPU nothing is gained by waiting."""

    lag = 0

    def __init__(self, backbone: Backbone, batch_size: int) -> None:
        self._backbone, self._batch_size = backbone, batch_size
        self._buffer: torch.Tensor | None = None

    def start(self, clips: Sequence[np.ndarray]) -> Started:
        self._buffer = _filled(self._buffer, clips, self._batch_size, pinned=False)
        features = self._backbone.forward(self._buffer).cpu()
        return Started(self._buffer, features.numpy)


class CudaLane:
    """Queues copy, network and the way back, and returns; two buffers, so that one is filled while the other is read."""

    lag = 1

    def __init__(self, backbone: Backbone, batch_size: int, device: torch.device) -> None:
        import torch

        self._backbone, self._batch_size, self._device = backbone, batch_size, device
        self._copies = torch.cuda.Stream(device)
        self._buffers: list[torch.Tensor | None] = [None] * (self.lag + 1)

    def start(self, clips: Sequence[np.ndarray]) -> Started:
        import torch

        # The batch that this buffer held last was fetched before, so its copy is over.
        frames = _filled(self._buffers.pop(0), clips, self._batch_size, pinned=True)
        self._buffers.append(frames)
        with torch.cuda.device(self._device):
            computing = torch.cuda.current_stream()
            with torch.cuda.stream(self._copies):
                there = frames.to(self._device, non_blocking=True)
            computing.wait_stream(self._copies)
            there.record_stream(computing)
            features = self._backbone.forward(there)
            fetched = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
            fetched.copy_(features, non_blocking=True)
            done = torch.cuda.Event()
            done.record(computing)

        def rows() -> np.ndarray:
            done.synchronize()
            return fetched.numpy()

        return Started(frames, rows)


def lane_for(backbone: Backbone, batch_size: int) -> Lane:
    """By the device that the backbone says it is on; one that says nothing computes on the host."""
    device = getattr(backbone, "device", None)
    if device is not None and device.type == "cuda":
        return CudaLane(backbone, batch_size, device)
    return HostLane(backbone, batch_size)


def _filled(buffer: torch.Tensor | None, clips: Sequence[np.ndarray], batch_size: int, *, pinned: bool) -> torch.Tensor:
    import torch

    shape = (batch_size, *clips[0].shape)
    if buffer is None or buffer.shape != shape:
        dtype = torch.from_numpy(clips[0]).dtype
        buffer = torch.empty(shape, dtype=dtype, pin_memory=pinned)
    table = buffer.numpy()
    np.stack(clips, out=table[: len(clips)])
    table[len(clips) :] = clips[-1]
    return buffer
