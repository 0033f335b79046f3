"""What a backbone is: its numbers (`BackboneSpec`) and the network behind them (`Network`); and the numbers of a text encoder.

The preprocessing travels with the weights: a spec is the only place that says how frames become the tensors that the weights were
trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from longtake.extract.preprocessing import ClipRule, FrameRule, SoundRule

if TYPE_CHECKING:
    import re

    import torch

NameRule: TypeAlias = "tuple[str, str | Callable[[re.Match[str]], str] | None]"
"""A regular expression in names of weights, and its replacement; None leaves such weights out."""

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
    openvino: bool = False
    """`--runtime auto` takes OpenVINO where it is installed: the tests have proven the converted network."""
    only_length: int = 0
    """The only clip length in frames that the network accepts; 0 if it accepts any."""
    least_length: int = 1
    """Frames per clip that its pooling needs at least."""
    num_classes: int = 0
    """Of the classifier in the published weights; 0 if they have none."""
    source: str = ""
    """`timm/NAME`, `hf/REPO@COMMIT` or another name of a library; empty for the backbones of the table."""
    facts: tuple[tuple[str, object], ...] = ()
    """More that decides the numbers, for the recipe, such as the hash of a configuration."""

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ValueError(f"{self.name}: modality {self.modality!r} is not one of {', '.join(MODALITIES)}")
        if self.dim < 1:
            raise ValueError(f"{self.name}: dim must be 1 or more, got {self.dim}")


@dataclass(frozen=True)
class TextEncoderSpec:
    """A text encoder."""

    name: str
    model: str
    """Name of open_clip's configuration, or of the published model of transformers."""
    dim: int
    context_length: int
    """Tokens, the start and end of the text included."""
    default_weights: str
    """Name in the table of manifests/pretrained.py."""
    library: str = "open_clip"
    """`open_clip` or `transformers`."""


@dataclass(frozen=True)
class Network:
    """What differs between networks; `longtake.extract.backbones.frozen.Backbone` does the rest.

    The functions take the network that `make` built.
    """

    make: Callable[[int], Any]
    """Builds it for a number of classes."""
    features: Callable[[Any, torch.Tensor], torch.Tensor]
    """From pictures `(batch, channels, length, height, width)` or filter banks `(batch, frames, bins)`, normalised: `(batch, dim)`."""
    logits: Callable[[Any, torch.Tensor], torch.Tensor] | None = None
    """From the features: `(batch, classes)`; None without a classifier."""
    classifier: str = ""
    """Name of the weight whose first size is the number of classes."""
    names: Sequence[NameRule] = ()
    """From published names of weights to the network's."""
    convert: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] = lambda state: state
    """After `names`, for published layouts that differ in more than names, such as one matrix in place of three."""
    optional: tuple[str, ...] = ()
    """Weights whose names begin or end with one of these may be missing."""
    tokens: Callable[[Any, torch.Tensor, Sequence[int | None]], Sequence[tuple[torch.Tensor, torch.Tensor]]] | None = (
        None
    )
    """From pictures, for each of some layers (from 1 on, from -1 backwards, None for the last after its norm): the tokens that have no place, such
    as the class token, `(batch, n, width)`, and those of places, `(batch, times, rows, columns, width)`. None if it gives one vector a clip."""
    prepare: Callable[[Any], Any] = lambda network: network
    """Makes the copy that is run."""
    load: Callable[[dict[str, torch.Tensor]], Any] | None = None
    """Builds the network from weights where only its library can, and raises `WeightsError` for those that do not fit."""
    initialise: Callable[[Any, torch.Generator], None] | None = None
    """Replaces the network's own random weights."""
