"""What a head has to be given beside clips."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from longtake.errors import there_are
from longtake.manifests.table import SCORE_PREFIX
from longtake.train.errors import SettingsError

if TYPE_CHECKING:
    from torch import nn

ANY, CATEGORY = "any", "category"


@dataclass(frozen=True)
class ExemplarRule:
    """Which training videos a video is compared with."""

    match: str
    """Manifest column in which both agree: `category`, or a `score_<name>` such as `score_difficulty`; `any` asks for nothing."""
    voters: int
    """Exemplars of a tested video. While training there is one, drawn anew each time."""

    def __post_init__(self) -> None:
        if self.match not in (ANY, CATEGORY) and not self.match.startswith(SCORE_PREFIX):
            raise SettingsError(
                f"exemplars takes {ANY}, {CATEGORY} or a column {SCORE_PREFIX}<name>, got {self.match!r}"
                f"{there_are(self.match, (ANY, CATEGORY))}"
            )
        if self.voters < 1:
            raise SettingsError(f"voters must be 1 or more, got {self.voters}")


@dataclass(frozen=True)
class Needs:
    texts: tuple[str, ...] = ()
    """Groups of a prompt set, such as `grades`; their features become buffers `<group>_texts` of the head."""
    audio: bool = False
    """Features of the sound, one row a clip."""
    frames: bool = False
    """It can read a second stream that has a clock of its own; others refuse one."""
    boundaries: int = 0
    """Boundaries of stages that it learns from the labels."""
    terms: tuple[str, ...] = ()
    """Groups of which a video has texts of its own, by its category, where the prompt set has such (`Batch.terms`); in this order."""
    scores: tuple[str, ...] = ()
    """Scores that are known of every video before it is judged, such as its difficulty."""
    targets: tuple[str, ...] = ()
    """Scores that are learnt beside the one that is asked for, such as those of the judges: known of training videos."""
    exemplars: ExemplarRule | None = None
    """Training videos, with their scores, to compare each video with."""
    sees_padding: bool = False
    """It takes the zeros after a video's last clip for clips, as published code does (`mask=false`)."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Of `Batch.scores`, in their order."""
        return self.scores + self.targets


def masks(head: nn.Module) -> bool:
    """Whether padding is hidden from a head; one that has no such setting always hides it."""
    return getattr(head.settings, "mask", True)


def needs_of(head: nn.Module) -> Needs:
    """Of a head, or of the one that a plug-in stands before, with the boundaries that the plug-in learns."""
    host = getattr(head, "host", head)
    needs = host.needs(host.settings)
    return replace(
        needs,
        boundaries=max(needs.boundaries, head.needs(head.settings).boundaries),
        sees_padding=not masks(host),
    )
