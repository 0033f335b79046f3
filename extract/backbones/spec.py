"""What a backbone is: its numbers (`BackboneSpec`) and the network behind them (`Backbone`); and the numbers of a text encoder.

The preprocessing travels with the weights: a spec is the only place that says how frames become the tensors that the weights were
trained on.
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
    """The published rule, used unless the user sets another. Sound is cut by the rule of the accompanying pictures."""
    default_weights: str
    """Name in the table of manifests/pretrained.py."""
    citation: str
    batch_size: int = 8
    """Clips per step on a CPU, frames per step of an image network. Results do not depend on it beyond the last bits of float32."""
    bfloat16_error: float | None = None
    """Largest measured change of features by bfloat16 (relative, L2); None if not measured, then `auto` keeps float32."""
    only_length: int = 0
    """The only clip length in frames that the network accepts; 0 if it accepts any."""
    least_length: int = 1
    """Frames per clip that its pooling needs at least."""
    num_classes: int = 0
    """Of the classifier in the published weights; 0 if they have none."""

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ValueError(f"{self.name}: modality {self.modality!r} is not one of {', '.join(MODALITIES)}")
        if self.dim < 1:
            raise ValueError(f"{self.name}: dim must be 1 or more, got {self.dim}")


@dataclass(frozen=True)
class TextEncoderSpec:
    """A text encoder of open_clip."""

    name: str
    model: str
    """Name of open_clip's configuration."""
    dim: int
    context_length: int
    """Tokens, the start and end of the text included."""
    default_weights: str
    """Name in the table of manifests/pretrained.py."""


class Backbone(Protocol):
    """A frozen network. Built by the `build` function named in `longtake.extract.backbones.TABLE`."""

    spec: BackboneSpec
    device: torch.device
    """Where `forward` computes, and where its features are."""

    def load_weights(self, state: dict[str, torch.Tensor]) -> None:
        """Take a state dict in any published key layout. `WeightsError` lists missing and unexpected keys."""

    def init_random(self, seed: int) -> None:
        """Seeded random weights that keep the scale of activations; for tests and demonstrations only."""

    def compile(self) -> None:
        """Compile the network with torch at the next `forward`, which then takes a minute longer."""

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """The float32 weights in use; `longtake.extract.backbones.state_dict.state_sha256` identifies them."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """uint8 frames `(batch, length, height, width, 3)`, or float32 filter banks `(batch, frames, bins)` of sound ->
        float32 features `(batch, dim)`."""

    def classify(self, clips: torch.Tensor) -> torch.Tensor | None:
        """The same input -> class logits `(batch, classes)`; None without a classifier."""
