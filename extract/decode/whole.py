"""Is a file whole, and how long is its last picture shown? Pure functions over what the probe collected.

The structure of the file decides. The seconds in its header decide only where the structure says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from longtake.extract.decode.structure import CUT, WHOLE, Parts

MISSING_SECONDS = 0.5
"""Headers round: a file may end this much earlier than its header says, or two frames if that is longer."""
ROUNDING_SECONDS = 0.002
"""Time stamps are often rounded to milliseconds: a smaller difference says nothing."""
LEAST_SECONDS = 0.004
"""A shorter duration of the last picture is a muxer's way of saying that it has none."""

MOST_STILL_SECONDS = 3600.0
"""A header or a stored duration that lets the last picture stay longer is taken for a mistake, and the picture stays as long as the others."""


@dataclass(frozen=True)
class Ending:
    """Facts about the end of a file; seconds by its own clock."""

    parts: Parts
    num_bytes: int
    index_end: int
    """Byte after the last picture in the file's own index; 0 without an index."""
    last_seconds: float
    """When the last picture begins to be shown."""
    own_seconds: float
    """Duration of the last picture's packet, given or guessed by FFmpeg; 0 if unknown."""
    gap_seconds: float
    """Median time between pictures."""
    given_seconds: float | None
    """Duration of the last picture as the container stores it, if it does."""
    promised_seconds: float | None
    """End of the pictures by the header; None if it does not say or is known to be stale."""
    reached_seconds: float
    """End of the last packet of any stream to which the promise applies."""

    @property
    def stays_seconds(self) -> float:
        """How long the last picture is shown. The header may lengthen it, and decides where the rate varies."""
        own = self.own_seconds if self.own_seconds <= MOST_STILL_SECONDS else 0.0
        guess = max(own, self.gap_seconds, 0.001)
        exact = self.given_seconds
        if exact is None and self.promised_seconds is not None and self.parts.state == WHOLE:
            exact = self.promised_seconds - self.last_seconds
        if exact is None or not LEAST_SECONDS <= exact <= MOST_STILL_SECONDS or abs(exact - guess) <= ROUNDING_SECONDS:
            return guess
        # A rounded header does not cut the last picture of a constant rate, nor of one that varies a little.
        is_constant = abs(own - self.gap_seconds) <= ROUNDING_SECONDS
        is_usual = is_constant if self.given_seconds is None else exact > guess / 2
        return guess if exact < guess and is_usual else exact

    @property
    def end_seconds(self) -> float:
        return self.last_seconds + self.stays_seconds

    @property
    def missing(self) -> str:
        """What is missing at the end, as a clause about the file; empty if it is whole or nothing shows that it is not."""
        if self.index_end > self.num_bytes:
            return f"its index reaches to byte {self.index_end}, and the file has {self.num_bytes}"
        if self.parts.state == CUT:
            return self.parts.missing
        promised = self.promised_seconds
        if self.parts.state == WHOLE or promised is None:
            return ""
        lacking = promised - max(self.reached_seconds, self.end_seconds)
        if lacking <= max(MISSING_SECONDS, 2 * self.gap_seconds):
            return ""
        return f"its header promises {promised:.2f} s"
