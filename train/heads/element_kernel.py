"""`kernel`, which also looks at the clips of chosen elements, such as jumps.

Of training videos it knows which kinds of elements were shown and in what order, as the sheets of judges say, but not when; a hidden Markov model finds
them (`blocks/order.py`). Of a video that is scored it knows nothing but the clips: the model says how probable an element of the chosen kinds is at each
of them, and a further kernel compares the means of two videos' clips, weighted by that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from longtake.train.errors import DataError, SettingsError, require_at_least
from longtake.train.heads.base import Batch, Needs
from longtake.train.heads.blocks.order import Kinds, learn, recognise
from longtake.train.heads.kernel import LEAST_CLIP_SPREAD, Kernel, KernelSettings, names
from longtake.train.heads.ridge import safe_spread

FEW_CLIPS = 2.0
"""Where fewer clips than this are probably of the chosen kinds, their mean is shrunk."""
SOFTENING = 1e-3


@dataclass(frozen=True)
class ElementKernelSettings(KernelSettings):
    elements: str = ""
    """Scores that hold the kinds of a performance's elements in the order in which they were shown, as numbers from 1, separated by commas, such as
    `element1,element2`. Known for training videos only. None: the head is `kernel`."""
    element_clips: str = ""
    """How many clips an element of each kind typically lasts, in the order of their numbers, separated by commas, such as `3,9,22`."""
    gap_clips: float = 5.0
    """How many clips there typically are between two elements."""
    look_at: str = ""
    """Numbers of the kinds that count more, separated by commas, such as `1`."""
    look_weight: float = 2.0
    """Of the kernel between their clips; `kernel`'s two weigh 1."""
    components: int = 48
    """Principal components of clips, less the mean of their video, by which elements are recognised."""
    sharpness: float = 0.35
    """Multiplies the log likelihood of each clip, since neighbouring clips are not independent."""
    rounds: int = 15
    """Of expectation maximisation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, components=1, rounds=1, look_weight=0, gap_clips=1)
        if not self.sharpness > 0:
            raise SettingsError(f"sharpness must be above 0, got {self.sharpness}")
        if not self.elements:
            return
        try:
            lengths, chosen = (
                [float(text) for text in names(self.element_clips)],
                [int(text) for text in names(self.look_at)],
            )
        except ValueError as error:
            raise SettingsError(
                f"element_clips and look_at take numbers, got {self.element_clips!r} and {self.look_at!r}"
            ) from error
        if not lengths or not all(1 <= length <= 1000 for length in lengths):
            raise SettingsError(
                f"element_clips takes a length in clips for each kind of element, such as 3,9,22, got {self.element_clips!r}"
            )
        if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(1, len(lengths) + 1)):
            raise SettingsError(f"look_at takes kinds from 1 to {len(lengths)}, each once, got {self.look_at!r}")

    @property
    def kinds(self) -> Kinds:
        return Kinds((self.gap_clips, *map(float, names(self.element_clips))))


class ElementKernel(Kernel):
    """`kernel` that also looks at the clips of chosen elements, which it finds by itself; of training videos it knows their order."""

    Settings = ElementKernelSettings

    @classmethod
    def needs(cls, settings: KernelSettings) -> Needs:
        elements = settings.elements if isinstance(settings, ElementKernelSettings) else ""
        return Needs(targets=names(settings.beside) + names(elements))

    @property
    def looks(self) -> tuple[float, ...]:
        return (self.settings.look_weight,) if self.settings.elements else ()

    @property
    def not_learnt(self) -> int:
        return len(names(self.settings.elements))

    def build(self, dim: int, audio_dim: int) -> None:
        super().build(dim, audio_dim)
        if self.looks:
            kinds = len(self.settings.kinds.typical)
            for name, shape in (("kind_weight", (dim, kinds)), ("kind_bias", (kinds,)), ("kind_frequency", (kinds,))):
                self.register_buffer(name, torch.zeros(shape))

    def learn_looks(self, batches: Sequence[Batch]) -> None:
        if not self.looks:
            return
        s = self.settings
        videos = [
            _less_mean(self.standardise(clips[mask]))
            for batch in batches
            for clips, mask in zip(batch.clips, batch.mask)
        ]
        orders = self._orders(batches)
        long_enough = [len(video) >= s.kinds.least_clips(order) for video, order in zip(videos, orders)]
        if not any(long_enough):
            raise DataError(
                f"no training video has the {min(map(s.kinds.least_clips, orders))} clips that its elements take at least: "
                f"element_clips ({s.element_clips}) and gap_clips are lengths in clips; give shorter ones"
            )
        clips = torch.cat(videos)
        spread = safe_spread(clips, LEAST_CLIP_SPREAD, torch.max).double()
        scaled = clips.double() / spread
        values, vectors = torch.linalg.eigh(scaled.T @ scaled / len(clips))
        count = min(s.components, len(values))
        # The square root of whitening: large components keep a part of their size.
        project = vectors[:, -count:] * values[-count:].clamp_min(1e-8) ** -0.25 / spread[:, None]
        known = [(video.double() @ project, order) for video, order, kept in zip(videos, orders, long_enough) if kept]
        emission = learn([video for video, _ in known], [order for _, order in known], s.kinds, s.sharpness, s.rounds)
        self.kind_weight.copy_(project @ emission.weight)
        self.kind_bias.copy_(emission.bias)
        shown = torch.tensor([kind for order in orders for kind in order])
        self.kind_frequency.copy_(torch.bincount(shown, minlength=len(s.kinds.typical)) / len(orders))

    def look(self, standardised: torch.Tensor) -> torch.Tensor:
        log_likely = _less_mean(standardised).double() @ self.kind_weight.double() + self.kind_bias.double()
        (found,) = recognise([log_likely], self.settings.kinds, self.kind_frequency.double())
        chosen = found[:, [int(kind) for kind in names(self.settings.look_at)]].sum(1, keepdim=True)
        mass = chosen.sum()
        return chosen / (mass + SOFTENING) * (mass / FEW_CLIPS).clamp_max(1)

    def _orders(self, batches: Sequence[Batch]) -> list[list[int]]:
        s = self.settings
        columns, kinds = names(s.elements), len(s.kinds.typical) - 1
        found = torch.cat([batch.scores for batch in batches if batch.scores is not None])[:, -self.not_learnt :]
        for name, values in zip(columns, found.T):
            wrong = values[(values != values.round()) | (values < 1) | (values > kinds)]
            if len(wrong):
                raise DataError(
                    f"the score {name!r} holds kinds of elements, whole numbers from 1 to {kinds} since element_clips has {kinds} lengths; "
                    f"a training video has {float(wrong[0]):g}"
                )
        return [[int(kind) for kind in row] for row in found.tolist()]


def _less_mean(clips: torch.Tensor) -> torch.Tensor:
    """A video's clips less their mean: what the rink and the broadcast look like says nothing of elements."""
    return clips - clips.mean(0)
