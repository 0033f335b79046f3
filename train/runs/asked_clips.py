"""The clips of videos and the queries that ask them, in the space where a head compares both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from longtake.train.data.batches import BatchMaker
from longtake.train.engine.head_config import HeadConfig
from longtake.train.heads.base import Head
from longtake.train.heads.blocks.transformer import Decoder


@dataclass(frozen=True)
class Asked:
    """What the first decoder of a head is given."""

    clips: np.ndarray
    """float32 `(clips, width)`, of all videos, without padding."""
    queries: np.ndarray
    """float32 `(queries, width)`, those of the first video where videos have their own."""


@torch.no_grad()
def asked_clips(head: Head, config: HeadConfig, maker: BatchMaker, video_ids: Sequence[str]) -> Asked | None:
    """None for a head without queries, or without any of these videos."""
    rows = np.flatnonzero(np.isin(maker.data.video_ids, video_ids))
    settings, clips, queries = config.train_settings, [], None
    nothing, size = np.zeros(len(rows)), settings.batch_size
    for batch in maker.test(rows, nothing, window=config.window, test_window=settings.test_window, batch_size=size):
        with _first_call(head) as seen:
            head(batch)
        if not seen:
            return None
        asking, memory, mask = seen[0]
        queries = asking if queries is None else queries
        clips.append(memory[mask].float().numpy())
    if queries is None:
        return None
    return Asked(np.concatenate(clips), (queries[0] if queries.dim() == 3 else queries).float().numpy())


@contextmanager
def _first_call(head: Head) -> Iterator[list[tuple[torch.Tensor, ...]]]:
    """Within it, queries, clips and mask of the first decoder that is called."""
    seen: list[tuple[torch.Tensor, ...]] = []

    def see(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if not seen:
            seen.append(given[:3])

    hooks = [one.register_forward_pre_hook(see) for one in head.modules() if isinstance(one, Decoder)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
