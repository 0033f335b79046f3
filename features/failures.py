"""Failed videos in lines: how many of which kind, and some of them. A run and a store of 100,000 videos may have thousands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from longtake.features.types import FAILED, VideoRecord

MOST_SHOWN = 10
"""Failures, faults or differences that are shown unless all are asked for."""


@dataclass(frozen=True)
class Failure:
    """Why a video has no features."""

    video_id: str
    stage: str
    type: str
    message: str

    @property
    def kind(self) -> str:
        """Of failures that are counted together."""
        return f"{self.stage} {self.type}".strip() or "unknown"


def failures_of(records: Iterable[VideoRecord]) -> list[Failure]:
    """Of those records that have failed."""
    return [
        Failure(record.video_id, record.error_stage, record.error_type, record.error_message)
        for record in records
        if record.status == FAILED
    ]


def failure_lines(failures: Sequence[Failure], show_all: bool = False) -> Iterator[str]:
    """The number of failures of each kind, the most frequent first, if there are several; then all, or `MOST_SHOWN` with one of each kind
    among them as far as there is room."""
    if len(failures) > 1:
        counts = Counter(failure.kind for failure in failures)
        kinds = ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
        yield f"failed: {len(failures)} videos: {kinds}"
    chosen: set[int] | range = range(len(failures))
    if not show_all and len(failures) > MOST_SHOWN:
        firsts = {failure.kind: index for index, failure in reversed(list(enumerate(failures)))}
        chosen = set([*dict.fromkeys([*sorted(firsts.values()), *range(MOST_SHOWN)])][:MOST_SHOWN])
    for index, failure in enumerate(failures):
        if index in chosen:
            yield f"failed: {failure.video_id} ({failure.stage}): {failure.message}"
    if len(chosen) < len(failures):
        yield f"failed: and {len(failures) - len(chosen)} more; --all lists them"


def lines_by_kind(by_kind: Mapping[str, Sequence[str]], what: str, show_all: bool = False) -> Iterator[str]:
    """The number of lines of each kind, the most frequent first, if there are many; then all lines, or `MOST_SHOWN` of each kind."""
    is_long = any(len(lines) > MOST_SHOWN for lines in by_kind.values())
    if is_long:
        counts = sorted(((len(lines), kind) for kind, lines in by_kind.items() if lines), key=lambda one: -one[0])
        yield f"{what}: {', '.join(f'{kind} {count}' for count, kind in counts)}"
    for kind, lines in by_kind.items():
        yield from lines if show_all else lines[:MOST_SHOWN]
        if not show_all and len(lines) > MOST_SHOWN:
            yield f"and {len(lines) - MOST_SHOWN} more of {kind}; --all lists them"
