"""What the training and test videos of an experiment share that flatters its result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from longtake.features.tools.audit import AuditedVideos, Leak, leaks
from longtake.train.data.dataset import FeatureSet
from longtake.train.protocol.splits import Split


def audit(data: FeatureSet, rounds: Sequence[Sequence[Split]]) -> list[Leak]:
    """Leaks of all models: for each, the rounds in which it is trained and tested. A leak that several models have is listed once."""
    videos = _videos(data)
    found: dict[str, dict[str, str]] = {}
    tested_by_kind: dict[str, set[int]] = {}
    done = set()
    for splits in rounds:
        parts, tested = np.full(len(data), -1), np.zeros(len(data), bool)
        for number, split in enumerate(splits, 1):
            # With folds, a video trains for all but its own. Those that only train are a part as well.
            parts[split.train_rows] = np.maximum(parts[split.train_rows], 0)
            parts[split.test_rows] = number
            tested[split.test_rows] = True
        if (key := parts.tobytes()) in done:
            continue
        done.add(key)
        for leak in leaks(videos, parts, tested):
            found.setdefault(leak.kind, {}).update(leak.pairs)
            tested_by_kind.setdefault(leak.kind, set()).update(np.flatnonzero(tested).tolist())
    return [Leak(kind, pairs, len(tested_by_kind[kind])) for kind, pairs in found.items()]


def _videos(data: FeatureSet) -> AuditedVideos:
    sources, starts, ends = data.sources or (np.full(len(data), "", dtype=object), *np.full((2, len(data)), np.nan))
    return AuditedVideos(
        data.video_ids,
        data.means.clips.tensor.cpu().numpy(),
        data.contents,
        sources,
        np.stack([starts, ends], 1),
        np.array([*data.scores.values()]).reshape(len(data.scores), len(data)).T,
        data.groups,
    )
