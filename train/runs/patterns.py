"""Grade patterns of the test videos of a run, and which of its heads they are from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from longtake.features.store import Store
from longtake.train.data.batches import BatchMaker
from longtake.train.engine.checkpoint import load_checkpoint
from longtake.train.engine.head_config import HeadConfig
from longtake.train.heads.base import Head
from longtake.train.runs.evaluate import checkpoints


def own_categories(run: Path, store: Store, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The category of each (category, score) of predictions.csv as the heads of the run name it: without its dataset where they are unified, and none where they serve
    all categories. Keys of another dataset than the store's are left out."""
    found: dict[tuple[str, str], str] = {}
    for path in checkpoints(run):
        config = load_checkpoint(path)[1]
        for category, scale in config.tested_on(store.dataset):
            named = f"{store.dataset} {category}".strip() if config.parts else category
            found |= {key: category for key in keys if named in ("", key[0]) and key[1] == scale.name}
    return found


@torch.no_grad()
def patterns_of(head: Head, config: HeadConfig, maker: BatchMaker, video_ids: Sequence[str]) -> np.ndarray | None:
    """float `(videos, grades, width)`; None for a head without patterns."""
    rows = np.flatnonzero(np.isin(maker.data.video_ids, video_ids))
    found, settings = [], config.train_settings
    nothing, size = np.zeros(len(rows)), settings.batch_size
    for batch in maker.test(rows, nothing, window=config.window, test_window=settings.test_window, batch_size=size):
        output = head(batch)
        if not output.patterns or output.patterns[0].shape[1] < 2:
            return None
        found.append(output.patterns[0].numpy())
    return np.concatenate(found) if found else None
