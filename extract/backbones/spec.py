"""What a backbone is: its numbers (`BackboneSpec`) and the network behind them (`Backbone`).

The preprocessing travels with the weights: whoever holds a spec can turn frames into the tensors the weights were
trained on, and nobody else knows how.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

MODALITIES = ("video", "audio", "image", "text")


@dataclass(frozen=True)
class FrameRule:
    """How a decoded picture becomes the network's picture: resize, centre crop, normalise. In that order."""

    short_side: int
    """Pixels of the shorter side after resizing; the aspect ratio is kept."""
    crop_height: int
    """Pixels; centre crop after resizing."""
    crop_width: int
    mean: tuple[float, float, float]
    """Subtracted from 8-bit RGB values (0-255), per channel R, G, B."""
    std: tuple[float, float, float]
    """Divides what is left."""
    resize: str = "libswscale bilinear"
    """The resampling filter. Filters of other libraries give other numbers, so it is part of the recipe."""

    def __post_init__(self) -> None:
        if min(self.crop_height, self.crop_width) < 1 or max(self.crop_height, self.crop_width) > self.short_side:
            raise ValueError(
                f"crop {self.crop_height}x{self.crop_width} does not fit a shorter side of {self.short_side} pixels"
            )


@dataclass(frozen=True)
class ClipRule:
    """Which frames make a clip. Lengths and strides count frames at `fps`; the windowing itself is extract/clips.py."""

    length: int
    stride: int
    tail: str
    """Name of a policy in `extract.clips.TAILS`: what happens to frames that do not fill a clip."""
    fps: float | None = None
    """Frames per second that are sampled; None takes every frame of the file."""

    def __post_init__(self) -> None:
        if self.length < 1 or self.stride < 1:
            raise ValueError(
                f"a clip needs a length and a stride of 1 frame or more, got {self.length} and {self.stride}"
            )
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise ValueError(f"--fps takes a rate above 0 and at most 1000, got {self.fps}")


@dataclass(frozen=True)
class BackboneSpec:
    """Everything about a backbone that needs no network: `extract list` prints it without importing torch."""

    name: str
    title: str
    modality: str
    dim: int
    """Values per clip."""
    frames: FrameRule
    clips: ClipRule
    """The published rule, used unless the user asks otherwise."""
    default_weights: str
    """Name in the table of extract/weights.py."""
    citation: str
    batch_size: int = 8
    """Clips per step on a CPU. Results do not depend on it beyond the last bits of float32."""

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ValueError(f"{self.name}: modality {self.modality!r} is not one of {', '.join(MODALITIES)}")
        if self.dim < 1:
            raise ValueError(f"{self.name}: dim must be 1 or more, got {self.dim}")


class Backbone(Protocol):
    """A frozen network. Built by the `build` function named in `extract.backbones.TABLE`."""

    spec: BackboneSpec

    def load_weights(self, state: dict[str, torch.Tensor]) -> None:
        """Take a state dict in any layout in circulation; refuse missing or unexpected keys with their list."""

    def init_random(self, seed: int) -> None:
        """Seeded random weights that keep the scale of activations; for tests and demonstrations only."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """uint8 frames `(batch, length, height, width, 3)` -> float32 features `(batch, dim)`."""
