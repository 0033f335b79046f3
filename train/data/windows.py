"""Which clips of a video a batch takes: the sampling of windows, for training and for testing. Pure functions."""

from __future__ import annotations

import numpy as np

WHOLE, CENTRE = "whole", "centre"
CONTIGUOUS, SPREAD = "contiguous", "spread"
TEST_WINDOWS = (WHOLE, CENTRE, SPREAD)
SAMPLINGS = (CONTIGUOUS, SPREAD)

Clips = tuple[np.ndarray, np.ndarray]
"""Numbers of clips in their video, int `(videos, clips)`, and their mask, bool."""


def sample_clips(counts: np.ndarray, window: int, rng: np.random.Generator, sampling: str) -> Clips:
    """`window` clips of each video, of `counts` clips: of a longer one a random contiguous stretch, or one random clip out of each of
    `window` equal parts (Wang et al., TSN, ECCV 2016). A shorter one is padded at the end."""
    steps = np.arange(window)
    lengths = np.minimum(counts, window)
    mask = steps[None] < lengths[:, None]
    if sampling != SPREAD:
        return rng.integers(0, counts - lengths + 1)[:, None] + steps[None], mask
    edges = np.linspace(0, counts, window + 1, axis=1)
    drawn = edges[:, :-1] + rng.uniform(size=mask.shape) * np.diff(edges, axis=1)
    # The largest product can round up to the edge itself.
    drawn = np.minimum(drawn.astype(int), counts[:, None] - 1)
    return np.where((counts > window)[:, None], drawn, steps[None]), mask


def clips_to_test(counts: np.ndarray, window: int, test_window: str) -> Clips:
    """All clips of each video, its `window` in the centre, or the middle one of each of `window` equal parts."""
    lengths = counts if test_window == WHOLE else np.minimum(counts, window)
    steps = np.arange(lengths.max() if test_window == WHOLE else window)
    mask = steps[None] < lengths[:, None]
    if test_window == SPREAD:
        middles = (2 * steps[None] + 1) * counts[:, None] // (2 * window)
        return np.where((counts > window)[:, None], middles, steps[None]), mask
    return ((counts - lengths) // 2)[:, None] + steps[None], mask


def places_in_test(count: int, window: int, test_window: str) -> np.ndarray:
    """int `(count,)`: which of the clips that `clips_to_test` takes from a video of `count` clips stands for each of its clips: the nearest one of
    those that are spread; -1 where none does."""
    clips = np.arange(count)
    if test_window == WHOLE or count <= window:
        return clips
    if test_window == SPREAD:
        (taken,), _ = clips_to_test(np.array([count]), window, SPREAD)
        # Up to the middle between two of them, the earlier one is the nearest.
        return np.searchsorted(taken[1:] + taken[:-1], 2 * clips, side="left")
    places = clips - (count - window) // 2
    return np.where((places >= 0) & (places < window), places, -1)


def shuffled_batches(num_videos: int, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Places of the videos of each batch of an epoch, in random order.

    A last batch of a single video is joined to the one before, since batch statistics need more than one.
    """
    order = rng.permutation(num_videos)
    cuts = list(range(batch_size, num_videos, batch_size))
    if cuts and num_videos - cuts[-1] == 1:
        cuts.pop()
    return np.split(order, cuts)


def batches_by_length(counts: np.ndarray, batch_size: int, equal: bool) -> list[np.ndarray]:
    """Places of the videos of each batch: videos of similar length share one, or, with `equal`, those of equal length only."""
    order = np.argsort(counts, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(counts[order])) + 1) if equal else [order]
    return [group[begin : begin + batch_size] for group in groups for begin in range(0, len(group), batch_size)]
