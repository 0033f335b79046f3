"""Plug-ins before any head that is trained by gradient: they inform the clips, and the host head takes it from there.

Clips keep their width, so that the host's own layers stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from longtake.errors import there_are
from longtake.train.data.dataset import Batch
from longtake.train.errors import SettingsError
from longtake.train.heads.base import Needs, masks
from longtake.train.heads.blocks.layers import Projection
from longtake.train.heads.blocks.output import HeadOutput
from longtake.train.heads.blocks.segmentation import to_clips
from longtake.train.heads.mlavl import MAG2, SAGE
from longtake.train.heads.mvla import Guidance, MVLASettings, own_texts
from longtake.train.heads.staged import GROUPS, Grains, StagedMVLA, StagedSettings, StageGuidance, boundaries_of

PREFIX, SUFFIX = "plugin_", "_texts"
"""Of the buffers that hold a plug-in's texts, `plugin_<group>_texts`, in its checkpoint too."""


@dataclass(frozen=True)
class MAG2Settings:
    dropout: float = 0.3


def with_clips(batch: Batch, inform: Callable[[Batch], torch.Tensor]) -> Batch:
    """The batch with informed clips, and those of its exemplars informed in the same way."""
    informed = replace(batch, clips=inform(batch))
    if batch.exemplar is None:
        return informed
    return replace(informed, exemplar=replace(batch.exemplar, clips=inform(batch.exemplar)))


def both(host: dict[str, torch.Tensor], own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Terms of the host and of the plug-in, added where both have one of a name."""
    return {**host, **{name: host[name] + term if name in host else term for name, term in own.items()}}


class WithMAG2(nn.Module):
    """MAG2 (MLAVL, Table 4): action texts inform the clips."""

    Settings = MAG2Settings

    @staticmethod
    def needs(settings: MAG2Settings) -> Needs:
        return Needs()

    def __init__(
        self, host: nn.Module, dim: int, texts: Mapping[str, torch.Tensor], audio_dim: int, settings: MAG2Settings
    ) -> None:
        super().__init__()
        self.host, self.settings = host, settings
        actions = torch.as_tensor(texts["visual_actions"], dtype=torch.float32)
        self.register_buffer(f"{PREFIX}visual_actions{SUFFIX}", actions)
        self.text = Projection(actions.shape[1], dim)
        self.mag2 = MAG2(dim, SAGE, settings.dropout)

    def forward(self, batch: Batch) -> HeadOutput:
        texts = self.text(self.plugin_visual_actions_texts)
        return self.host(with_clips(batch, lambda one: self.mag2(one.clips, self._mask(one), texts)))

    def _mask(self, batch: Batch) -> torch.Tensor:
        return batch.mask if masks(self.host) else torch.ones_like(batch.mask)


class WithMVLA(nn.Module):
    """MVLA before a host (MVLA, section 3.4). The paper lets stages and the whole video attend, of which a host that reads clips
    knows nothing; here clips do. The similarity terms are those of stages and video, as there."""

    Settings = MVLASettings

    @staticmethod
    def needs(settings: MVLASettings) -> Needs:
        return Needs(frames=True, terms=("grades",))

    def __init__(
        self, host: nn.Module, dim: int, texts: Mapping[str, torch.Tensor], audio_dim: int, settings: MVLASettings
    ) -> None:
        super().__init__()
        self.host, self.settings = host, settings
        (group,) = texts
        self.register_buffer(f"{PREFIX}{group}{SUFFIX}", torch.as_tensor(texts[group], dtype=torch.float32))
        self._texts = f"{PREFIX}{group}{SUFFIX}"
        self.guidance = Guidance(settings, getattr(self, self._texts), audio_dim or dim, dim)

    def forward(self, batch: Batch) -> HeadOutput:
        texts = self.guidance.texts(getattr(self, self._texts))
        seen = []

        def inform(one: Batch) -> torch.Tensor:
            mask = one.mask if masks(self.host) else torch.ones_like(one.mask)
            vision = self.guidance.vision_of_clips(one, mask)
            seen.append((vision, mask))
            clips = self.guidance.attend(one.clips, vision, own_texts(texts, one.terms), mask)
            return clips.masked_fill(~mask[..., None], 0.0)

        output = self.host(with_clips(batch, inform))
        vision, mask = seen[0]
        losses = self.guidance.losses(batch, batch.clips, vision, texts, mask)
        return replace(output, losses=both(output.losses, losses))


class WithStages(nn.Module):
    """MVLA whole before a host. As in the scheme for long programmes, the host reads clips, so clips attend; segmentation and similarity
    are those of `StagedMVLA`."""

    Settings = StagedSettings

    @staticmethod
    def needs(settings: StagedSettings) -> Needs:
        return StagedMVLA.needs(settings)

    def __init__(
        self, host: nn.Module, dim: int, texts: Mapping[str, torch.Tensor], audio_dim: int, settings: StagedSettings
    ) -> None:
        super().__init__()
        self.host, self.settings = host, settings
        for group in GROUPS:
            self.register_buffer(f"{PREFIX}{group}{SUFFIX}", torch.as_tensor(texts[group], dtype=torch.float32))
        self.guidance = StageGuidance(settings, self.plugin_stages_texts, audio_dim or dim, dim)

    def forward(self, batch: Batch) -> HeadOutput:
        guidance = self.guidance
        texts = guidance.texts(self.plugin_stages_texts), guidance.texts(self.plugin_videos_texts)
        seen: list[Grains] = []

        def inform(one: Batch) -> torch.Tensor:
            mask = one.mask if masks(self.host) else torch.ones_like(one.mask)
            grains = guidance.grains(one, one.clips, mask)
            seen.append(grains)
            vision = grains.vision
            if grains.found is not None:
                vision = to_clips(vision, grains.grid, one.mask, one.seconds)
            clips = guidance.attend(one.clips, vision, guidance.own(one, *texts), mask)
            return clips.masked_fill(~mask[..., None], 0.0)

        output = self.host(replace(with_clips(batch, inform), terms=None))
        losses = guidance.losses_of(batch, seen[0], *texts)
        boundaries = boundaries_of(seen[0]) if output.boundaries is None else output.boundaries
        return replace(output, boundaries=boundaries, losses=both(output.losses, losses))


@dataclass(frozen=True)
class Plugin:
    """A plug-in as it is for the texts of one prompt set."""

    kind: type
    prompt_set: str
    groups: tuple[str, ...]

    def build(
        self, host: nn.Module, dim: int, texts: Mapping[str, torch.Tensor], audio_dim: int, settings: object
    ) -> nn.Module:
        return self.kind(host, dim, texts, audio_dim, settings)


PLUGINS: dict[str, tuple[Plugin, ...]] = {
    "mag2": (Plugin(WithMAG2, "mlavl", ("visual_actions",)),),
    "mvla": (
        Plugin(WithStages, "mvla", GROUPS),
        Plugin(WithMVLA, "mvla", ("grades",)),
        Plugin(WithMVLA, "qgvl", ("grades",)),
        Plugin(WithMVLA, "mlavl", ("visual_grades",)),
    ),
}
"""Name -> for which texts it is made; the first whose texts the store has."""


def plugin_for(name: str, have: Mapping[str, Collection[str]]) -> Plugin:
    """`have`: prompt set -> its groups. Raises `SettingsError` for an unknown name; where no texts fit, it is the first."""
    if name not in PLUGINS:
        raise SettingsError(f"no plug-in is called {name!r}{there_are(name, PLUGINS)}")
    fitting = (one for one in PLUGINS[name] if set(one.groups) <= set(have.get(one.prompt_set, ())))
    return next(fitting, PLUGINS[name][0])


def plugin_of_state(name: str, state: Mapping[str, torch.Tensor]) -> tuple[Plugin, dict[str, torch.Tensor]]:
    """Of a checkpoint's weights: the plug-in, and its texts by group."""
    texts = {
        key.removeprefix(PREFIX).removesuffix(SUFFIX): value
        for key, value in state.items()
        if key.startswith(PREFIX) and key.endswith(SUFFIX)
    }
    return next(one for one in PLUGINS[name] if set(one.groups) == set(texts)), texts
