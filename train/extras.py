"""What the `extract` package does for this one, asked for through its entry points: videos, and clusters. Nothing here imports it.

Heads train where no decoder is installed, so nothing here imports one.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from longtake.packages import needs
from longtake.train.errors import TrainError

GROUP = "longtake.extract"


def from_extract(name: str, wanted_for: str) -> Callable:
    """`extract_like`, `draw_overlay` with its `Track`, or `thumbnails`. Raises `TrainError` where the extra is not installed."""
    for point in entry_points(group=GROUP, name=name):
        with needs(
            lambda missing: TrainError(
                f"{wanted_for} needs decoders and backbones: python -m pip install 'longtake[extract]' (missing: {missing})"
            )
        ):
            loaded: Callable = point.load()
        return loaded
    raise TrainError(
        f"{wanted_for} needs an installed longtake with the extract extra: pip install 'longtake[extract]'"
    )
