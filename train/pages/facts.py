"""What a page says about one routine, as plain data: no head, no store and no video file is needed to make the page from it.

Texts may be untrusted; the page escapes them. Times are in seconds from the first picture of the video.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from longtake.train.errors import DataError


@dataclass(frozen=True)
class Interval:
    """Between which scores the judges' score is expected."""

    low: float
    high: float
    level: float
    """The share of routines whose judges' score such intervals are to hold."""
    coverage: float | None = None
    """The measured share, on routines that the heads did not learn from; None where it is unknown."""


@dataclass(frozen=True)
class KnownRoutine:
    """One that judges scored and that the heads did not learn from."""

    video_id: str
    judges: float
    predicted: float


@dataclass(frozen=True)
class RoutineScore:
    """One category and score of a routine."""

    name: str
    predicted: float | None
    """In judges' units; None where the heads give no score, and `why_none` says why."""
    why_none: str = ""
    interval: Interval | None = None
    why_no_interval: str = ""
    judges: float | None = None
    """What the judges gave, where it is known."""
    deviation: float | None = None
    """Over the heads; None for a single one."""
    num_heads: int = 1
    limits: tuple[float, float] | None = None
    """Lowest and highest score that there can be; None where they are not stated."""
    known: Sequence[KnownRoutine] = ()
    """All that the heads were tested on; this routine may be one of them."""
    video_id: str = ""
    """Of this routine."""
    grades: Sequence[float] = ()
    """Weight of each grade, worst first, summing to 1; empty for a head without grades."""
    shares: Sequence[float] = ()
    """Share of the attention of each clip, summing to 1; empty for a head without attention."""
    by_grade: Sequence[Sequence[float]] = ()
    """The attention of each grade, worst first, over the clips."""
    notes: Sequence[str] = ()
    """Further sentences that a reader needs, such as that the heads learnt from this routine."""

    @property
    def others(self) -> list[KnownRoutine]:
        """The known routines but this one."""
        return [one for one in self.known if one.video_id != self.video_id]

    def __post_init__(self) -> None:
        lengths = {len(row) for row in (self.shares, *self.by_grade) if len(row)}
        if len(lengths) > 1:
            raise DataError(
                f"{self.name}: attention over {' and '.join(map(str, sorted(lengths)))} clips of one routine"
            )


@dataclass(frozen=True)
class Picture:
    """A moment of the routine."""

    clip: int
    """Index of the clip."""
    jpeg: bytes


@dataclass(frozen=True)
class Routine:
    """A routine and its scores."""

    name: str
    scores: Sequence[RoutineScore]
    clips: Sequence[tuple[float, float]] | int
    """Start and end of each clip in seconds, or the number of clips where their times are unknown."""
    head: str = ""
    """Name of the method that scored it."""
    video: str = ""
    """Address of a video that browsers play, as the page refers to it; empty where there is none or `video_bytes` has it."""
    video_bytes: bytes = b""
    """The same, to be kept inside the page."""
    video_type: str = "video/mp4"
    pictures: Sequence[Picture] = ()
    random_weights: bool = False
    made_of: dict[str, str] = field(default_factory=dict)
    """Facts for the end of the page: name -> value."""

    def __post_init__(self) -> None:
        for score in self.scores:
            if len(score.shares) not in (0, self.num_clips):
                raise DataError(f"{self.name}: attention over {len(score.shares)} clips, and it has {self.num_clips}")
        if any(not 0 <= picture.clip < self.num_clips for picture in self.pictures):
            raise DataError(f"{self.name}: a picture of a clip that it does not have")
        if self.times and not all(math.isfinite(a) and math.isfinite(b) and a < b for a, b in self.times):
            raise DataError(f"{self.name}: a clip without a start and a later end")

    @property
    def num_clips(self) -> int:
        return self.clips if isinstance(self.clips, int) else len(self.clips)

    @property
    def times(self) -> Sequence[tuple[float, float]]:
        """Of each clip; empty where they are unknown."""
        return () if isinstance(self.clips, int) else self.clips
