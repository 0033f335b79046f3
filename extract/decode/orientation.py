"""How a file asks for its pictures to be shown: mirrored, turned, or as they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av
    import numpy as np

PLAIN_DEGREES = 1.0
"""A matrix within this of a quarter turn asks for that turn; FFmpeg's own players round by as much."""


@dataclass(frozen=True)
class Orientation:
    """What makes a stored picture upright: a mirror first, then a turn."""

    mirrored: bool = False
    """Left and right are exchanged."""
    quarter_turns: int = 0
    """Clockwise, 0 to 3."""
    plain: bool = True
    """The file asks for exactly this turn, without a mirror. Otherwise it asks for a mirror, or for an odd angle, of which this is the
    nearest quarter turn: libraries that turn pictures by themselves are wrong on such files."""

    def upright(self, picture: np.ndarray) -> np.ndarray:
        """A view of `(height, width, 3)` as it is to be shown."""
        import numpy as np

        return np.rot90(picture[:, ::-1] if self.mirrored else picture, -self.quarter_turns)

    def shown(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the upright picture."""
        return (height, width) if self.quarter_turns % 2 else (width, height)


UPRIGHT = Orientation()


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """From the display matrix of a decoded frame. Its 2x2 part `a b c d` shows the stored pixel (x, y), y downwards, at
    (a x + c y, b x + d y): ISO/IEC 14496-12, section 6.2.2."""
    import numpy as np
    from av.sidedata.sidedata import Type

    found = frame.side_data.get(Type.DISPLAYMATRIX)
    if found is None:
        return UPRIGHT
    a, b, _, c, d = np.frombuffer(bytes(found), "<i4", 5).astype(float)
    mirrored = bool(a * d - b * c < 0)
    if mirrored:
        # The mirror is done first, so the turn is what is left of the matrix.
        a, b = -a, -b
    degrees = math.degrees(math.atan2(b - c, a + d))
    turns = round(degrees / 90)
    return Orientation(mirrored, turns % 4, plain=not mirrored and abs(degrees - 90 * turns) < PLAIN_DEGREES)
