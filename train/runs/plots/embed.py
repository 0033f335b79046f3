"""What a figure of kind `embedding` shows of a run, in two dimensions: clips and queries, or the patterns that grades find."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.cluster.vq import kmeans2

from longtake.packages import needs
from longtake.train.data.batches import BatchMaker
from longtake.train.engine.checkpoint import with_first_weights
from longtake.train.engine.head_config import HeadConfig
from longtake.train.errors import DataError, MissingPackage
from longtake.train.heads.base import Head
from longtake.train.heads.gslm import LEARNABLE, POSITIONAL, TEXT
from longtake.train.runs.asked_clips import Asked, asked_clips
from longtake.train.runs.patterns import patterns_of
from longtake.train.runs.plots.draw import Cloud, Space

METHODS = ("tsne", "pca")
POINTS = ("clips", "patterns")
MOST_CLIPS = 2000
"""In one panel: t-SNE of more takes minutes, and points hide each other."""
QUERIES = {TEXT: "grade texts", LEARNABLE: "learnable vectors", POSITIONAL: "position embeddings"}
Reduced = tuple[np.ndarray, str]
"""float `(n, 2)`, and the name of the axes."""


def spaces(head: Head, config: HeadConfig, maker: BatchMaker, video_ids: Sequence[str], method: str) -> list[Space]:
    """Clips and queries where the head compares them, before and after training (QGVL, Figure 5): clips in as many clusters of
    k-means as there are queries. Before training, also the queries that the head can begin with in their place. Raises `DataError` for a head
    without queries."""
    first = with_first_weights(head, config)
    found = [asked_clips(one, config, maker, video_ids) for one in (first, head)]
    before, after = found
    if before is None or after is None:
        raise DataError(
            f"head {config.head} has no queries that ask clips, so clips and queries cannot be drawn: take --points patterns, or another head"
        )
    own = QUERIES.get(str(config.head_settings.get("queries")), "queries")
    starts = {own: before.queries, **_other_starts(head, config, maker, video_ids[:1], before)}
    panels = [_space(before, starts, method), _space(after, {own: after.queries}, method)]
    return [replace(panel, title=when) for panel, when in zip(panels, ("before training", "after training"))]


def _other_starts(
    head: Head, config: HeadConfig, maker: BatchMaker, video_ids: Sequence[str], before: Asked
) -> dict[str, np.ndarray]:
    """Queries without language, of a head that has the choice, as it would begin with them."""
    mine, found = config.head_settings.get("queries"), {}
    count, width = before.queries.shape
    for kind in (LEARNABLE, POSITIONAL) if mine in QUERIES else ():
        if kind != mine:
            settings = {**config.head_settings, "queries": kind, "width": width, "grades": count}
            other = replace(config, head_settings=settings)
            asked = asked_clips(with_first_weights(head, other), other, maker, video_ids)
            if asked is not None:
                found[QUERIES[kind]] = asked.queries
    return found


def _space(asked: Asked, queries: Mapping[str, np.ndarray], method: str) -> Space:
    count = len(asked.clips)
    clips = asked.clips[np.linspace(0, count - 1, min(count, MOST_CLIPS)).round().astype(int)].astype(np.float64)
    centres, clusters = _clusters(clips, len(asked.queries))
    parts = [clips, centres, *queries.values()]
    points, axes = reduce(np.concatenate(parts), method)
    ends = np.cumsum([len(part) for part in parts])
    clip_points, centre_points, *query_points = np.split(points, ends[:-1])
    shown = f"{len(clips)} of {count} clips" if len(clips) < count else f"{count} clips"
    return Space("", clip_points, clusters, centre_points, dict(zip(queries, query_points)), f"{axes}\n{shown}")


def _clusters(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres `(clusters, width)` of k-means, and the cluster of each value. It begins with equal groups along the first principal
    component, and so has no chance in it."""
    order = np.argsort(_components(values)[0][:, 0], kind="stable")
    begin = np.array([values[group].mean(axis=0) for group in np.array_split(order, min(count, len(values)))])
    with warnings.catch_warnings(action="ignore"):  # of a cluster without a clip, which is left out
        _, clusters = kmeans2(values, begin, iter=100, minit="matrix")
    kept, clusters = np.unique(clusters, return_inverse=True)
    return np.array([values[clusters == index].mean(axis=0) for index in range(len(kept))]), clusters


def cloud(head: Head, config: HeadConfig, maker: BatchMaker, video_ids: Sequence[str], method: str) -> Cloud:
    """The pattern that each grade finds in each video. Raises `DataError` for a head without grades."""
    patterns = patterns_of(head, config, maker, video_ids)
    if patterns is None:
        raise DataError(f"head {config.head} has no grades, so it has no patterns to draw")
    count = patterns.shape[1]
    points, axes = reduce(patterns.reshape(-1, patterns.shape[2]), method)
    names = [f"grade {index + 1}" for index in range(count)]
    names[0], names[-1] = f"{names[0]}, worst", f"{names[-1]}, best"
    return Cloud("", points, np.tile(np.arange(count), len(patterns)), tuple(names), axes)


def reduce(values: np.ndarray, method: str) -> Reduced:
    return _REDUCE[method](values)


def _components(values: np.ndarray) -> Reduced:
    """The first two principal components."""
    centred = values - values.mean(axis=0)
    left, lengths, directions = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    explained = float((lengths[:2] ** 2).sum() / max((lengths**2).sum(), 1e-12))
    # The signs of components are arbitrary, and those of libraries differ.
    signs = np.sign(directions[:2][[0, 1], np.abs(directions[:2]).argmax(axis=1)])
    return left[:, :2] * lengths[:2] * signs, f"PCA, {explained:.0%} of variance"


def _tsne(values: np.ndarray) -> Reduced:
    """t-SNE (van der Maaten and Hinton, 2008), begun from principal components with a fixed seed, and so always the same."""
    with needs(
        lambda _: MissingPackage(
            "t-SNE needs scikit-learn: python -m pip install 'longtake[figures]', or take --method pca"
        )
    ):
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits
    perplexity = min(30.0, max((len(values) - 1) / 3, 1.0))
    # Sums over threads would differ in their last digits from machine to machine.
    with threadpool_limits(1), warnings.catch_warnings(action="ignore"):
        points = TSNE(init="pca", random_state=0, perplexity=perplexity).fit_transform(values.astype(np.float64))
    return points, f"t-SNE, perplexity {perplexity:.0f}"


_REDUCE: Mapping[str, Callable[[np.ndarray], Reduced]] = {"tsne": _tsne, "pca": _components}
