"""Plug-ins before any head that is trained by gradient: they inform the clips, and the host head takes it from there.

Clips keep their width, so that the host's own layers stay what they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn

from longtake.errors import there_are
from longtake.train.errors import SettingsError
from longtake.train.heads.base import GRADES, Batch, Comparable, Head, HeadOutput, Needs
from longtake.train.heads.blocks.action_graph import MAG2, SAGE
from longtake.train.heads.blocks.layers import Projection
from longtake.train.heads.blocks.segmentation import times_of, to_clips
from longtake.train.heads.mvla import Guidance, MVLASettings, own_texts
from longtake.train.heads.staged import GROUPS, StagedMVLA, StagedSettings, StageGuidance, boundaries_of

PREFIX, SUFFIX = "plugin_", "_texts"
"""Of the buffers that hold a plug-in's texts, `plugin_<group>_texts`, in its checkpoint too."""


@dataclass(frozen=True)
class MAG2Settings:
    dropout: float = 0.3


def both(host: dict[str, torch.Tensor], own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Terms of the host and of the plug-in, added where both have one of a name."""
    return {**host, **{name: host[name] + term if name in host else term for name, term in own.items()}}


class PlugIn(Head):
    """A head before another, its host. What the host can do beyond `forward`, it cannot."""

    host_reads_terms: ClassVar[bool] = True

    def __init__(self, host: Head, dim: int, texts: Mapping[str, torch.Tensor], audio_dim: int, settings: Any) -> None:
        nn.Module.__init__(self)
        self.settings, self.host = settings, host
        for group, features in texts.items():
            self.register_buffer(f"{PREFIX}{group}{SUFFIX}", torch.as_tensor(features, dtype=torch.float32))
        self.groups = tuple(texts)
        self.build(dim, audio_dim)

    @property
    def batch_needs(self) -> Needs:
        """Those of the host, and the boundaries that the plug-in learns."""
        needs = self.host.batch_needs
        return replace(needs, boundaries=max(needs.boundaries, self.needs(self.settings).boundaries))

    def texts(self, group: str) -> torch.Tensor:
        return self.get_buffer(f"{PREFIX}{group}{SUFFIX}")

    def learn_groups(self, training: Comparable) -> None:
        self.host.learn_groups(training)

    def inform(self, batch: Batch) -> tuple[torch.Tensor, Any]:
        """Informed clips, zero where there is none, and what `finish` needs of the videos of the batch."""
        raise NotImplementedError

    def finish(self, output: HeadOutput, batch: Batch, seen: Any) -> HeadOutput:
        """The host's output, with what the plug-in adds to it."""
        return output

    def forward(self, batch: Batch) -> HeadOutput:
        """Exemplars are informed in the same way."""
        clips, seen = self.inform(batch)
        informed = replace(batch, clips=clips, terms=batch.terms if self.host_reads_terms else None)
        if batch.exemplar is not None:
            informed = replace(informed, exemplar=replace(batch.exemplar, clips=self.inform(batch.exemplar)[0]))
        return self.finish(self.host(informed), batch, seen)


class WithMAG2(PlugIn):
    """MAG2 (MLAVL, Table 4): action texts inform the clips."""

    Settings = MAG2Settings

    def build(self, dim: int, audio_dim: int) -> None:
        self.text = Projection(self.texts("visual_actions").shape[1], dim)
        self.mag2 = MAG2(dim, SAGE, self.settings.dropout)

    def inform(self, batch: Batch) -> tuple[torch.Tensor, Any]:
        texts = self.text(self.texts("visual_actions"))
        return self.mag2(batch.clips, self.mask(batch), texts), None


class WithMVLA(PlugIn):
    """MVLA before a host (MVLA, section 3.4). The paper lets stages and the whole video attend, of which a host that reads clips
    knows nothing; here clips do. The similarity terms are those of stages and video, as there."""

    Settings = MVLASettings

    @classmethod
    def needs(cls, settings: MVLASettings) -> Needs:
        return Needs(second_stream=True, terms=(GRADES,))

    def build(self, dim: int, audio_dim: int) -> None:
        self.guidance = Guidance(self.settings, self.texts(self.groups[0]), audio_dim or dim, dim)

    def inform(self, batch: Batch) -> tuple[torch.Tensor, Any]:
        mask, texts = self.mask(batch), self.guidance.texts(self.texts(self.groups[0]))
        vision = self.guidance.vision_of_clips(batch, mask)
        clips = self.guidance.attend(batch.clips, vision, own_texts(texts, batch.terms), mask)
        return clips.masked_fill(~mask[..., None], 0.0), (vision, texts, mask)

    def finish(self, output: HeadOutput, batch: Batch, seen: Any) -> HeadOutput:
        return replace(output, losses=both(output.losses, self.guidance.losses(batch, batch.clips, *seen)))


class WithStages(PlugIn):
    """MVLA whole before a host. As in the scheme for long programmes, the host reads clips, so clips attend; segmentation and similarity
    are those of `StagedMVLA`."""

    host_reads_terms = False
    Settings = StagedSettings

    @classmethod
    def needs(cls, settings: StagedSettings) -> Needs:
        return replace(StagedMVLA.needs(settings), texts=())

    def build(self, dim: int, audio_dim: int) -> None:
        self.guidance = StageGuidance(self.settings, self.texts("stages"), audio_dim or dim, dim)

    def inform(self, batch: Batch) -> tuple[torch.Tensor, Any]:
        guidance, mask = self.guidance, self.mask(batch)
        texts = [guidance.texts(self.texts(group)) for group in GROUPS]
        grains = guidance.grains(batch, batch.clips, mask)
        vision = grains.vision
        if grains.found is not None:
            vision = to_clips(vision, grains.grid, batch.mask, times_of(batch))
        clips = guidance.attend(batch.clips, vision, guidance.own(batch, *texts), mask)
        return clips.masked_fill(~mask[..., None], 0.0), (grains, *texts)

    def finish(self, output: HeadOutput, batch: Batch, seen: Any) -> HeadOutput:
        losses = self.guidance.losses_of(batch, *seen)
        boundaries = boundaries_of(seen[0]) if output.boundaries is None else output.boundaries
        return replace(output, boundaries=boundaries, losses=both(output.losses, losses))


@dataclass(frozen=True)
class Plugin:
    """A plug-in as it is for the texts of one prompt set."""

    kind: type[PlugIn]
    prompt_set: str
    groups: tuple[str, ...]


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
