"""Leaks between videos that train and videos that test: one person or event in both, the same video twice, and spans that overlap.

`leaks` works on plain arrays, so that a store is audited by `features audit` and a run by the trainer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from longtake.features.store import Store
from longtake.features.types import OK

LEAST_COSINE = 0.985
"""Of mean features less the mean of all videos. The nearest two of the 400 Fis-V training videos have 0.971; a video and a copy with every second
clip 0.990 or more, one with its first twentieth cut off 0.985 or more in 94% of them."""
NEAR_SHARE = 0.1
"""And two videos are nearer than this share of the usual distance to the nearest video of the same part: where all videos are alike, such as
features of random weights, two that are alike are no copies."""
LEAST_VIDEOS, LEAST_DIM = 20, 16
"""Of fewer videos, or values of a clip, mean features say little."""
BLOCK = 1024
MOST_COMPARED = 20_000
"""Videos whose mean features a run compares; the time grows with the square. `features audit` compares all."""
CHANCE = 0.05
"""Expected number of videos with equal scores by chance, up to which equal scores are reported."""

IDENTICAL, NEAR, SCORES, OVERLAP, GROUP = "identical", "near-identical", "equal scores", "overlap", "group"
REMEDY = "take one of each out of the manifest, or put both into one split"
_SAID: Mapping[str, str] = {
    IDENTICAL: f"are byte-identical to training videos{{}}, which flatters the result: {REMEDY}",
    NEAR: f"have nearly the mean features of training videos{{}} and may be copies, cut or encoded again: {REMEDY}",
    SCORES: f"have exactly the scores of training videos{{}} and may be the same performances: {REMEDY}",
    OVERLAP: "are cut from the same seconds of the same files as training videos{}, which flatters the result: correct their times or put both into one split",
}
"""Kind -> what is said of the videos."""


@dataclass(frozen=True)
class AuditedVideos:
    """A row per video. What is not known is empty text or nan."""

    video_ids: Sequence[str]
    means: np.ndarray
    """float, `(videos, dim)`: the mean of the features of each."""
    contents: Sequence[np.ndarray]
    """Each object `(videos,)`: texts that are equal for equal videos, such as checksums."""
    sources: np.ndarray
    """object `(videos,)`: checksum of the file that a video is cut from."""
    spans: np.ndarray
    """float, `(videos, 2)` seconds of the file; nan for its start or end."""
    scores: np.ndarray
    """float, `(videos, scores)`."""
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Name -> object `(videos,)`."""


@dataclass(frozen=True)
class Leak:
    kind: str
    """`identical`, `near-identical`, `equal scores`, `overlap`, or `group NAME`."""
    pairs: Mapping[str, str]
    """Tested video -> a training video that it shares this with."""
    num_tested: int

    @property
    def line(self) -> str:
        shown = ", ".join(f"{test} = {train}" for test, train in [*self.pairs.items()][:3])
        shown = f" ({shown}{', ...' if len(self.pairs) > 3 else ''})"
        if self.kind in _SAID:
            return f"{len(self.pairs)} test videos {_SAID[self.kind].format(shown)}"
        name = self.kind.removeprefix(f"{GROUP} ")
        return f"{len(self.pairs)} of {self.num_tested} test videos share their {name} with training videos{shown}: --folds 5 --group {name} keeps them apart"

    def to_dict(self) -> dict[str, object]:
        """For JSON, with the first 20 pairs."""
        examples = [[test, train] for test, train in [*self.pairs.items()][:20]]
        return {"kind": self.kind, "count": len(self.pairs), "of": self.num_tested, "examples": examples}


def leaks(
    videos: AuditedVideos, parts: np.ndarray, tested: np.ndarray | None = None, most_compared: int = MOST_COMPARED
) -> list[Leak]:
    """What videos of different parts share. `parts`, int `(videos,)`: a video that is tested has learnt from the videos of all other parts; those
    of -1 take no part. `tested`, bool: which are tested; all, if not given."""
    used = np.flatnonzero(parts >= 0)
    tested = np.ones(len(parts), bool) if tested is None else tested
    found: dict[str, dict[int, int]] = {IDENTICAL: {}}
    for values in videos.contents:
        found[IDENTICAL].update(_equal(values, parts, used))
    found |= {f"{GROUP} {name}": dict(_equal(values, parts, used)) for name, values in videos.groups.items()}
    found[SCORES] = dict(_equal(_signatures(videos.scores, parts, used), parts, used))
    found[OVERLAP] = dict(_overlapping(videos, parts, used))
    found[NEAR] = dict(_near(videos.means, parts, used)) if len(used) <= most_compared else {}
    same = set(found[IDENTICAL].items())
    for kind in (NEAR, SCORES, OVERLAP):
        # Identical videos are listed once.
        found[kind] = {test: train for test, train in found[kind].items() if (test, train) not in same}
    made = []
    for kind, pairs in found.items():
        named = {videos.video_ids[a]: videos.video_ids[b] for a, b in sorted(pairs.items()) if tested[a]}
        made += [Leak(kind, named, int(tested[used].sum()))] if named else []
    return made


def _equal(values: np.ndarray, parts: np.ndarray, used: np.ndarray) -> Iterator[tuple[int, int]]:
    """Each row of a value, that is not empty, in two parts, and the first row of another part with that value."""
    first: dict[object, dict[int, int]] = {}
    for row in used:
        if values[row]:
            first.setdefault(values[row], {}).setdefault(int(parts[row]), int(row))
    for row in used:
        others = [other for part, other in first.get(values[row], {}).items() if part != parts[row]]
        if others:
            yield int(row), others[0]


def _signatures(scores: np.ndarray, parts: np.ndarray, used: np.ndarray) -> np.ndarray:
    """The scores of a video as one text: those that all videos have, if there are such; empty where some are missing, and everywhere where
    chance would make some equal. Scores depend on each other, so chance is that of the two that differ most."""
    made = np.full(len(scores), "", dtype=object)
    known = ~np.isnan(scores[used]).any(0)
    scores = scores[:, known] if known.any() else scores
    whole = used[~np.isnan(scores[used]).any(1)]
    if not len(whole) or not scores.shape[1]:
        return made
    shares = []
    for column in scores[whole].T:
        counts = np.unique(column, return_counts=True)[1].astype(float)
        shares.append(float((counts * (counts - 1)).sum()) / max(len(whole) * (len(whole) - 1), 1))
    sizes = np.unique(parts[whole], return_counts=True)[1].astype(float)
    num_pairs = (sizes.sum() ** 2 - (sizes**2).sum()) / 2
    if num_pairs * np.prod(sorted(shares)[:2]) <= CHANCE:
        made[whole] = [repr(row.tolist()) for row in scores[whole]]
    return made


def _overlapping(videos: AuditedVideos, parts: np.ndarray, used: np.ndarray) -> Iterator[tuple[int, int]]:
    of_file: dict[str, list[int]] = {}
    for row in used:
        if videos.sources[row]:
            of_file.setdefault(str(videos.sources[row]), []).append(int(row))
    starts = np.where(np.isnan(videos.spans[:, 0]), -np.inf, videos.spans[:, 0])
    ends = np.where(np.isnan(videos.spans[:, 1]), np.inf, videos.spans[:, 1])
    for rows in of_file.values():
        members = np.array(rows)
        for row in members if len(members) > 1 else ():
            overlap = (starts[members] < ends[row]) & (ends[members] > starts[row]) & (parts[members] != parts[row])
            if overlap.any():
                yield int(row), int(members[overlap.argmax()])


def _near(means: np.ndarray, parts: np.ndarray, used: np.ndarray) -> Iterator[tuple[int, int]]:
    if len(used) < LEAST_VIDEOS or means.shape[1] < LEAST_DIM:
        return
    centred = means[used].astype(np.float32) - means[used].mean(0, dtype=np.float64).astype(np.float32)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit, part = centred / np.where(length > 0, length, 1), parts[used]
    best, partner, own = (np.zeros(len(used)) for _ in range(3))
    for begin in range(0, len(used), BLOCK):
        here = slice(begin, begin + BLOCK)
        cosine = unit[here] @ unit.T
        same = part[here, None] == part
        across = np.where(same, -2, cosine)
        partner[here], best[here] = across.argmax(1), across.max(1)
        cosine[~same] = -2
        cosine[np.arange(len(cosine)), np.arange(begin, begin + len(cosine))] = -2
        own[here] = cosine.max(1)
    known = own[own > -2]
    usual = float(np.median(1 - known)) if len(known) else np.inf
    for row in np.flatnonzero((best >= LEAST_COSINE) & (1 - best <= NEAR_SHARE * usual)):
        yield int(used[row]), int(used[int(partner[row])])


def audit_store(store: Store, backbone: str | None = None) -> list[Leak]:
    """Leaks between the splits of a store, each of which may train while another is tested; between any two videos where there are no splits.
    Reads all of a stream."""
    stream = store.stream(backbone)
    place = {video_id: row for row, video_id in enumerate(store.labels.video_ids)}
    kept, means = [], []
    for row, (record, (features, _, _)) in enumerate(stream.each()):
        if record.status == OK and len(features) and record.video_id in place:
            kept.append(row)
            means.append(features.mean(0, dtype=np.float64))
    records = [stream.videos.records[row] for row in kept]
    labels = store.labels
    rows = [place[record.video_id] for record in records]
    is_extracted = stream.header.origin == "extracted"
    checksums = np.array([stream.videos.checksums[row] for row in kept], dtype=object)
    videos = AuditedVideos(
        [record.video_id for record in records],
        np.array(means).reshape(len(rows), stream.header.dim),
        [checksums],
        # One imported file may hold many videos, whose places in it are not known.
        np.array([record.source_sha256 if is_extracted else "" for record in records], dtype=object),
        np.array([(record.span_start_seconds, record.span_end_seconds) for record in records]).reshape(len(rows), 2),
        labels.scores[rows],
        {name: np.array(values, dtype=object)[rows] for name, values in labels.groups.items()},
    )
    splits = np.array(labels.splits, dtype=object)[rows]
    names = sorted({name for name in splits if name})
    if len(names) < 2:
        # Each video with all others: without a split, that videos are of one group says nothing.
        return leaks(replace(videos, groups={}), np.arange(len(rows)), most_compared=len(rows))
    parts = np.array([names.index(name) if name else -1 for name in splits])
    return leaks(videos, parts, splits != "train", most_compared=len(rows))
