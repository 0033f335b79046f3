"""A frozen network: weights in, normalised pictures through, features out. What differs between networks is a `Network`; what all have
in common, refusals included, is here once."""

from __future__ import annotations

import copy
import logging
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec

import torch
from torch import nn

from longtake.extract.backbones.spec import BackboneSpec, Network
from longtake.extract.backbones.state_dict import check_state, renamed, unwrap_state
from longtake.extract.errors import ExtractError, WeightsError
from longtake.extract.preprocessing import SoundRule

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
State = dict[str, torch.Tensor]
COUNTERS = ".num_batches_tracked"
"""Of batch normalisation. Files from before PyTorch 0.4.1 lack them, and only training reads them."""


class Backbone:
    """A frozen network of a table line. A clip's features do not depend on its place in a batch or on its neighbours.

    They do depend, in the last bits of float32, on the size of the batch and on the number of threads: for equal
    bits keep both, and fill up the last batch.
    """

    def __init__(self, spec: BackboneSpec, network: Network, *, precision: str, device: str) -> None:
        self.spec, self.precision, self.device = spec, precision, torch.device(device)
        """`device` is where `forward` computes, and where its features are."""
        self._parts, self._features, self._dtype = network, network.features, DTYPES[precision]
        if not isinstance(spec.frames, SoundRule):
            # Made once: copying them for each batch would make a GPU wait.
            self._mean, self._std = (
                torch.tensor(values, device=self.device).view(1, 3, 1, 1, 1)
                for values in (spec.frames.mean, spec.frames.std)
            )
        # Kept on the CPU in float32, as loaded: `state_dict` and checksums use it.
        self._original: nn.Module | None = None
        self._network: nn.Module | None = None
        self._has_classifier = False

    def load_weights(self, state: State) -> None:
        """Take a state dict, bare or wrapped, in any published key layout. `WeightsError` lists keys and shapes that do not fit.

        Features do not use the classifier: one with another number of classes than published is accepted, with a warning in the log;
        so are weights without one.
        """
        parts = self._parts
        if parts.load is not None:
            return self._use(parts.load(unwrap_state(state)))
        state = parts.convert(renamed(unwrap_state(state), parts.names))
        weight = state.get(parts.classifier)
        num_classes = self.spec.num_classes if weight is None or not weight.ndim else len(weight)
        network = self._build(num_classes, seed=0)
        optional = (*parts.optional, COUNTERS)
        if parts.classifier:
            optional += (parts.classifier.rpartition(".")[0] + ".",)
        check_state(network.state_dict(), state, what=self.spec.title, optional=optional)
        whole = OrderedDict(state)
        # Some networks refuse a state without the version of their layout; the names and shapes were just checked.
        whole._metadata = getattr(network.state_dict(), "_metadata", None)  # type: ignore[attr-defined]
        network.load_state_dict(whole, strict=False)
        self._has_classifier = weight is not None
        if weight is not None and num_classes != self.spec.num_classes:
            logger.warning(
                "%s: these weights classify %d classes, not the published %d; the features do not use the classifier",
                self.spec.name, num_classes, self.spec.num_classes,
            )  # fmt: skip
        self._use(network)

    def init_random(self, seed: int) -> None:
        """Random weights, bit for bit the same for one seed."""
        network = self._build(self.spec.num_classes, seed)
        if self._parts.initialise is not None:
            self._parts.initialise(network, torch.Generator(device="cpu").manual_seed(seed))
        self._has_classifier = bool(self._parts.classifier)
        self._use(network)

    def compile(self) -> None:
        """Compile the computation of features at the next `forward`. `ExtractError` if the compiler's tools are missing."""
        if self.device.type == "cpu":
            compiler = os.environ.get("CXX", "g++")
            if shutil.which(compiler) is None:
                raise ExtractError(
                    f"--compile needs a C++ compiler, and there is no {compiler}: install it, or set CXX"
                )
        elif find_spec("triton") is None:
            raise ExtractError("--compile on a GPU needs the package triton: python -m pip install triton")
        # All batches have one shape, so one graph is enough.
        self._features = torch.compile(self._features, dynamic=False)

    def as_module(self) -> nn.Module:
        """From the input of `forward` to its features, normalisation included, for a converter."""
        return _Whole(self, self._loaded(self._network))

    def features_of(self, network: nn.Module, clips: torch.Tensor) -> torch.Tensor:
        """As `forward`, by a network that may be a converter's stand-in."""
        return self._features(network, self._as_input(self.pictures(clips))).float()

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """The float32 weights in use; `longtake.extract.backbones.state_dict.state_sha256` identifies them."""
        state: State = self._loaded(self._original).state_dict()
        return state

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """uint8 frames `(batch, length, height, width, 3)`, or float32 filter banks `(batch, frames, bins)` of sound -> float32 features
        `(batch, dim)`. `ValueError` for another type or shape, `WeightsError` before weights are given."""
        return self._run(self._features, clips)

    def classify(self, clips: torch.Tensor) -> torch.Tensor | None:
        """The same input -> class logits `(batch, classes)`; None without a classifier."""
        logits = self._parts.logits
        if logits is None or not self._has_classifier:
            return None
        return self._run(
            lambda network, inputs: logits(network, self._features(network, inputs).to(self._dtype)), clips
        )

    def _run(self, step: Callable[[nn.Module, torch.Tensor], torch.Tensor], clips: torch.Tensor) -> torch.Tensor:
        network = self._loaded(self._network)
        # TF32 is on by default in cuDNN and is not what a recipe calls float32.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            return step(network, self._as_input(self.pictures(clips))).float()

    def _as_input(self, pictures: torch.Tensor) -> torch.Tensor:
        rule = self.spec.frames
        # Samples are analysed in float32 by the network's own front end.
        is_raw = isinstance(rule, SoundRule) and rule.banks == "none"
        return pictures if is_raw else pictures.to(self._dtype)

    def pictures(self, clips: torch.Tensor) -> torch.Tensor:
        """The network's input: float32 `(batch, channels, length, height, width)`, normalised; filter banks as they are."""
        if isinstance(self.spec.frames, SoundRule):
            if clips.dtype != torch.float32 or clips.ndim != 3:
                raise ValueError(
                    f"{self.spec.name} takes float32 filter banks (batch, frames, bins), got {clips.dtype} {tuple(clips.shape)}"
                )
            return clips.to(self.device)
        if clips.dtype != torch.uint8 or clips.ndim != 5 or clips.shape[-1] != 3 or 0 in clips.shape:
            raise ValueError(
                f"{self.spec.name} takes uint8 frames of shape (batch, length, height, width, 3), "
                f"got {clips.dtype} {tuple(clips.shape)}"
            )
        # Channels stay last in memory, as in the frames: convolutions are fastest that way.
        pictures = clips.to(self.device).permute(0, 4, 1, 2, 3).float()
        return pictures.sub_(self._mean).div_(self._std)

    def _build(self, num_classes: int, seed: int) -> nn.Module:
        # Libraries initialise from torch's global generator, which is the user's.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made: nn.Module = self._parts.make(num_classes)
            return made

    def _use(self, network: nn.Module) -> None:
        self._original = network.eval().requires_grad_(False)
        prepared = self._parts.prepare(self._original)
        # Moving a network moves its parameters in place: the original stays as it is.
        if self.device.type != "cpu" or self._dtype != torch.float32:
            prepared = copy.deepcopy(prepared)
        self._network = prepared.to(self.device, self._dtype)
        if self.device.type == "cuda":
            channels_last(self._network)

    def _loaded(self, network: nn.Module | None) -> nn.Module:
        if network is None:
            raise WeightsError(f"{self.spec.name} has no weights yet: call load_weights or init_random first")
        return network


class _Whole(nn.Module):
    def __init__(self, backbone: Backbone, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._backbone = backbone

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self._backbone.features_of(self.network, clips)


def channels_last(network: nn.Module) -> None:
    """Store convolutions with channels last, like the pictures, so that a GPU does not convert at every batch. Values stay the same."""
    for module in network.modules():
        for kind, layout in ((nn.Conv2d, torch.channels_last), (nn.Conv3d, torch.channels_last_3d)):
            if isinstance(module, kind):
                module.to(memory_format=layout)


def flatten_frames(pictures: torch.Tensor) -> torch.Tensor:
    """`(batch, channels, length, height, width)` -> `(batch * length, channels, height, width)`."""
    return pictures.transpose(1, 2).flatten(0, 1)


def mean_over_frames(features: torch.Tensor, batch: int) -> torch.Tensor:
    """`(batch * length, dim)` -> `(batch, dim)` float32."""
    return features.float().view(batch, -1, features.shape[-1]).mean(1)


def last_map(maps: torch.Tensor, layers: Sequence[int | None]) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens of a network of which only the last map `(batch, dim, times, rows, columns)` is read, see `Network.tokens`."""
    if any(layer not in (None, -1) for layer in layers) or len(layers) != 1:
        raise ExtractError("--layers: of this backbone only the last layer can be read, --layers last")
    return maps.new_zeros(len(maps), 0, maps.shape[1]), maps.permute(0, 2, 3, 4, 1)
