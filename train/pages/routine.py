"""The page of one routine, or of two side by side: video, attention over time, score, and what they mean. From plain data, without torch."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from longtake.train.pages import words
from longtake.train.pages.environment import FOLDER, data_address, render
from longtake.train.pages.facts import Routine, RoutineScore
from longtake.train.pages.scales import Range, range_of
from longtake.train.pages.strips import Strip, strip


@dataclass(frozen=True)
class ShownScore:
    """A score with everything that the page says about it."""

    score: RoutineScore
    range: Range | None
    expected: str
    place: str
    grades: str
    agreement: str
    looked: str
    strip: Strip | None
    by_grade: Strip | None


@dataclass(frozen=True)
class ShownRoutine:
    routine: Routine
    scores: Sequence[ShownScore]
    moments: Sequence[tuple[str, float | None, str]]
    """(text, start in seconds, address of its picture)"""
    poster: str
    """Address of the picture that the player shows first; may be empty."""
    video_text: str
    """The video inside the page as base64; empty where it is elsewhere."""


def routine_page(
    title: str, routines: Sequence[Routine], *, links: Sequence[tuple[str, str]] = (), made: datetime | None = None
) -> str:
    """`routines` are one, or two to compare. `links` are (text, address) for the top of the page."""
    made = made or datetime.now(UTC)
    script = (FOLDER / "routine.js").read_text(encoding="utf-8")
    return render(
        FOLDER / "routine.html",
        script,
        title=title,
        links=links,
        routines=[shown(one, routines) for one in routines],
        versus=words.versus(*routines) if len(routines) == 2 else [],
        attention=any(len(score.shares) for one in routines for score in one.scores),
        times=any(one.times for one in routines),
        random_weights=any(one.random_weights for one in routines),
        grade_name=words.grade_name,
        points=words.points,
        made=made.strftime("%Y-%m-%d %H:%M UTC"),
    )


def shown(routine: Routine, on_page: Sequence[Routine]) -> ShownRoutine:
    pictures = {picture.clip: data_address(picture.jpeg, "image/jpeg") for picture in routine.pictures}
    leading = next((score for score in routine.scores if len(score.shares)), None)
    found = sorted(pictures) or (words.moments(leading) if leading else [])
    return ShownRoutine(
        routine,
        [
            _shown_score(routine, score, [o for r in on_page for o in r.scores if o.name == score.name])
            for score in routine.scores
        ],
        [
            (words.when(routine, clip), routine.times[clip][0] if routine.times else None, pictures.get(clip, ""))
            for clip in found
        ],
        next(iter(pictures.values()), ""),
        b64encode(routine.video_bytes).decode(),
    )


def _shown_score(routine: Routine, score: RoutineScore, shown_with: Sequence[RoutineScore]) -> ShownScore:
    whole = by_grade = None
    if len(score.shares):
        label = f"Attention of the model for {score.name} over the routine"
        whole = strip([""], [score.shares], routine.times, label)
    if len(score.by_grade):
        names = [words.grade_name(index, len(score.by_grade)) for index in range(len(score.by_grade))]
        by_grade = strip(names, score.by_grade, routine.times, f"Attention of each grade for {score.name}")
    return ShownScore(
        score,
        range_of(score, shown_with),
        words.expected(score),
        words.place(score),
        words.grades(score),
        words.agreement(score.known),
        words.looked(routine, score),
        whole,
        by_grade,
    )
