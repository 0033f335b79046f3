"""What a backbone is: its numbers (`BackboneSpec`) and the network behind them (`Backbone`).

The preprocessing travels with the weights: whoever holds a spec can turn frames into the tensors the weights were
trained on, and nobody else knows how.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from longtake.extract.preprocessing import ClipRule, FrameRule, SoundRule

if TYPE_CHECKING:
    import torch

MODALITIES = ("video", "audio", "image", "text")


@dataclass(frozen=True)
class BackboneSpec:
    """Everything about a backbone that needs no network: `extract list` prints it without importing torch."""

    name: str
    title: str
    modality: str
    dim: int
    """Values per clip."""
    frames: FrameRule | SoundRule
    """How the network's input is made."""
    clips: ClipRule
    """The published rule, used unless the user asks otherwise. Sound is cut by the rule of the pictures beside it."""
    default_weights: str
    """Name in the table of manifests/pretrained.py."""
    citation: str
    batch_size: int = 8
    """Clips per step on a CPU, frames per step of an image network. Results do not depend on it beyond the last bits of float32."""
    bfloat16_error: float | None = None
    """By how much bfloat16 changes features at most (relative, L2); None where nobody measured it, so that `auto` keeps
    float32."""
    only_length: int = 0
    """Frames per clip that the network is made for, and takes no others; 0 where any length will do."""
    least_length: int = 1
    """Frames per clip that its pooling needs."""
    num_classes: int = 0
    """Of the classifier that the published weights carry; 0 where they have none."""

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ValueError(f"{self.name}: modality {self.modality!r} is not one of {', '.join(MODALITIES)}")
        if self.dim < 1:
            raise ValueError(f"{self.name}: dim must be 1 or more, got {self.dim}")


class Backbone(Protocol):
    """A frozen network. Built by the `build` function named in `longtake.extract.backbones.TABLE`."""

    spec: BackboneSpec
    device: torch.device
    """Where its features come from; the input may be on the host."""

    def load_weights(self, state: dict[str, torch.Tensor]) -> None:
        """Take a state dict in any layout in circulation; refuse missing or unexpected keys with their list."""

    def init_random(self, seed: int) -> None:
        """Seeded random weights that keep the scale of activations; for tests and demonstrations only."""

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """The float32 weights in use."""

    def compile(self) -> None:
        """From the next `forward` on, which takes a minute longer, run what torch's compiler makes of the network."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """uint8 frames `(batch, length, height, width, 3)`, or float32 filter banks `(batch, frames, bins)` of sound ->
        float32 features `(batch, dim)`."""

    def classify(self, clips: torch.Tensor) -> torch.Tensor | None:
        """The same -> class logits `(batch, classes)`; None without a classifier."""
