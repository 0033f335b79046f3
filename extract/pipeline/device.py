"""Run batches on a device: fill a reused buffer, call the network, and fetch the rows.

On a CPU that is one call, by torch or by OpenVINO. On a GPU it is three steps that overlap: while the network computes one batch, the next is copied from
page-locked memory in a stream of its own, and the rows of the previous one are fetched. 8-bit frames are copied; the device normalises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from longtake.extract.backbones.openvino_run import ConvertedBackbone

if TYPE_CHECKING:
    import torch

    from longtake.extract.backbones.frozen import Backbone


@dataclass(frozen=True)
class Started:
    """A batch that is being computed."""

    frames: np.ndarray
    """The input on the host; valid until its runner has started `lag + 1` more."""
    rows: Callable[[], np.ndarray]
    """Waits for the features, `(batch, dim)`."""


class HostRunner:
    """Runs the batches of one backbone on a CPU, at once: there is nothing to overlap."""

    lag = 0
    """Batches that stay on the device while the next is prepared."""

    def __init__(self, backbone: Backbone, batch_size: int) -> None:
        self._backbone, self._batch_size = backbone, batch_size
        self._buffer: torch.Tensor | None = None

    def start(self, clips: Sequence[np.ndarray]) -> Started:
        """`clips` are arrays of one shape; a list shorter than the batch is filled up with its last."""
        self._buffer = _filled(self._buffer, clips, self._batch_size, pinned=False)
        features = self._backbone.forward(self._buffer).cpu()
        return Started(self._buffer.numpy(), features.numpy)


class ConvertedRunner:
    """Like `HostRunner` for a network that OpenVINO runs, without torch."""

    lag = 0

    def __init__(self, backbone: ConvertedBackbone, batch_size: int) -> None:
        self._backbone, self._batch_size = backbone, batch_size
        self._table: np.ndarray | None = None

    def start(self, clips: Sequence[np.ndarray]) -> Started:
        shape = (self._batch_size, *clips[0].shape)
        if self._table is None or self._table.shape != shape:
            self._table = np.empty(shape, clips[0].dtype)
        _fill(self._table, clips)
        features = self._backbone.compute(self._table)
        return Started(self._table, lambda: features)


class CudaRunner:
    """Like `HostRunner` on a GPU. Queues copy, network and fetch, and returns; two buffers, so that one is filled while the other is read."""

    lag = 1

    def __init__(self, backbone: Backbone, batch_size: int) -> None:
        import torch

        self._backbone, self._batch_size, self._device = backbone, batch_size, backbone.device
        self._copies = torch.cuda.Stream(self._device)
        self._buffers: list[torch.Tensor | None] = [None] * (self.lag + 1)

    def start(self, clips: Sequence[np.ndarray]) -> Started:
        import torch

        # The rows of the last batch in this buffer were fetched before, so its copy is over.
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
            return np.asarray(fetched.numpy())

        return Started(frames.numpy(), rows)


def runner_for(backbone: Backbone | ConvertedBackbone, batch_size: int) -> HostRunner | ConvertedRunner | CudaRunner:
    """By what runs the backbone, and by the device that it is on."""
    if isinstance(backbone, ConvertedBackbone):
        return ConvertedRunner(backbone, batch_size)
    return (CudaRunner if backbone.device.type == "cuda" else HostRunner)(backbone, batch_size)


def _filled(buffer: torch.Tensor | None, clips: Sequence[np.ndarray], batch_size: int, *, pinned: bool) -> torch.Tensor:
    import torch

    shape = (batch_size, *clips[0].shape)
    if buffer is None or buffer.shape != shape:
        dtype = torch.from_numpy(clips[0]).dtype
        buffer = torch.empty(shape, dtype=dtype, pin_memory=pinned)
    _fill(buffer.numpy(), clips)
    return buffer


def _fill(table: np.ndarray, clips: Sequence[np.ndarray]) -> None:
    np.stack(clips, out=table[: len(clips)])
    table[len(clips) :] = clips[-1]
