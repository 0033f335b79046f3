"""What a head has to be given beside clips."""

from __future__ import annotations

from dataclasses import dataclass


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
