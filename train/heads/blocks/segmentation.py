"""Stages of a performance: from clips to frames, from frames to the boundaries of stages, from boundaries to features of stages.

Procedure segmentation of TSA (Xu et al., FineDiving, CVPR 2022, section 4) as MVLA takes it over (section 3.2, equation 4). The published
code of TSA takes the clips of a video for the channels of a convolution, so that it knows 9 clips and 96 frames and nothing else.
Here clips are brought to frames by their times, for any numbers of both; convolutions run over time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import DataError, SettingsError, require_one_of
from longtake.train.heads.base import Batch
from longtake.train.heads.blocks.layers import two_layers

PREDICTED, TRUE, FIXED = "predicted", "true", "fixed"
BOUNDARIES = (PREDICTED, TRUE, FIXED)
"""Where a head takes stages to end: as it predicts, as labels say (the oracle of the papers), or at fixed shares of the video, without segmentation."""


def require_stages(boundaries: str, stages: int, frames: int) -> None:
    """Raises `SettingsError` for settings that no head with stages can have."""
    require_one_of("boundaries", boundaries, BOUNDARIES)
    if stages < 2 or frames < stages:
        raise SettingsError(f"stages must be 2 or more, and frames as many, got {stages} and {frames}")


@dataclass(frozen=True)
class Grid:
    """The frames on which stages are found."""

    mask: torch.Tensor
    """bool, `(batch, frames)`."""
    seconds: torch.Tensor
    """float32, `(batch, frames, 2)`: start and end of each, in the clock of the clips."""

    @property
    def middles(self) -> torch.Tensor:
        return self.seconds.mean(-1)

    def boundary_frames(self, boundaries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Boundaries `(batch, boundaries)` in seconds -> the first frame whose middle is not before each, int64, and whether the boundary is known
        and inside the video, bool."""
        middles = self.middles.masked_fill(~self.mask, float("inf"))
        lengths = self.mask.sum(1, keepdim=True)
        known = ~boundaries.isnan()
        index = (middles[:, None] < boundaries.nan_to_num(nan=-1e9)[..., None]).sum(-1)
        inside = known & (index > 0) & (index < lengths)
        return index.clamp(min=1).minimum(lengths - 1).clamp(min=0), inside

    def boundary_loss(self, logits: torch.Tensor, boundaries: torch.Tensor | None, mean: bool = False) -> torch.Tensor:
        """Equation 4 on logits `(batch, frames, boundaries)`: binary cross-entropy, summed over frames and boundaries as the text has it, or their
        `mean`, as published code of TSA has it; the mean over the videos of which boundaries are known; 0 where none is."""
        if boundaries is None:
            return logits.sum() * 0
        index, known = self.boundary_frames(boundaries)
        label = F.one_hot(index, logits.shape[1]).transpose(1, 2).to(logits.dtype)
        terms = F.binary_cross_entropy_with_logits(logits, label, reduction="none")
        counted = self.mask[..., None] & known[:, None]
        return (terms * counted).sum() / (counted if mean else known.any(1)).sum().clamp(min=1)

    def true_or_predicted(self, found: Segmented, boundaries: torch.Tensor | None) -> torch.Tensor:
        """The oracle: true boundaries of videos that have all of theirs, predicted ones of the others; as frames, int64 `(batch, boundaries)`."""
        if boundaries is None:
            return found.index
        index, known = self.boundary_frames(boundaries)
        return torch.where(known.all(1, keepdim=True), index, found.index)

    def stage_of_frames(self, index: torch.Tensor) -> torch.Tensor:
        """int64, `(batch, frames)`: the stage of each frame, from 0."""
        place = torch.arange(self.mask.shape[1], device=index.device)
        return (place[None, :, None] >= index[:, None]).sum(-1)

    def stage_means(self, index: torch.Tensor) -> torch.Tensor:
        """float32, `(batch, boundaries + 1, frames)`: by which a product with frame features averages them over each stage."""
        inside = F.one_hot(self.stage_of_frames(index), index.shape[1] + 1).transpose(1, 2) * self.mask[:, None]
        return inside / inside.sum(-1, keepdim=True).clamp(min=1)

    def boundary_seconds(self, index: torch.Tensor) -> torch.Tensor:
        """Where the frames of `index` begin, `(batch, boundaries)` seconds: halfway between a frame's middle and that of the frame before."""
        before = (index - 1).clamp(min=0)
        return (self.middles.gather(1, index) + self.middles.gather(1, before)) / 2


def frame_grid(batch: Batch, num_frames: int) -> Grid:
    """The frames of the batch's second stream where it has a clock of its own; otherwise `num_frames` of equal length over the time
    of each video's clips."""
    if batch.second_stream is not None:
        return Grid(batch.second_stream.mask, batch.second_stream.seconds)
    begin, end = spans(batch)
    edges = torch.linspace(0, 1, num_frames + 1, device=begin.device)
    edges = begin[:, None] + (end - begin)[:, None] * edges
    return Grid(torch.ones_like(edges[:, 1:], dtype=torch.bool), torch.stack([edges[:, :-1], edges[:, 1:]], -1))


def times_of(batch: Batch) -> torch.Tensor:
    """float32, `(batch, clips, 2)` seconds. Raises `DataError` where the batch has none."""
    if batch.seconds is None:
        raise DataError("stages need the times of clips, which these batches do not have")
    return batch.seconds


def spans(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Start of each video's first clip in the batch and end of its last, `(batch,)` seconds each."""
    seconds, last = times_of(batch), batch.mask.sum(1) - 1
    return seconds[:, 0, 0], seconds[torch.arange(len(last), device=last.device), last, 1]


def to_frames(clips: torch.Tensor, mask: torch.Tensor, seconds: torch.Tensor, grid: Grid) -> torch.Tensor:
    """`(batch, clips, dim)` at times `(batch, clips, 2)` -> `(batch, frames, dim)`, zero in the padding: on the straight line between the
    clips whose middles are before and after the frame's; the first and the last clip hold to the ends."""
    middles = seconds.mean(-1).masked_fill(~mask, float("inf")).contiguous()
    after = torch.searchsorted(middles, grid.middles.contiguous(), right=True)
    last = mask.sum(1, keepdim=True) - 1
    low, high = (after - 1).clamp(min=0).minimum(last), after.minimum(last)
    begin, end = middles.gather(1, low), middles.gather(1, high)
    share = ((grid.middles - begin) / (end - begin).clamp(min=1e-6)).clamp(0, 1)[..., None].to(clips.dtype)
    wide = (*low.shape, clips.shape[-1])
    before, behind = (clips.gather(1, index[..., None].expand(wide)) for index in (low, high))
    return ((1 - share) * before + share * behind) * grid.mask[..., None]


def to_clips(frames: torch.Tensor, grid: Grid, mask: torch.Tensor, seconds: torch.Tensor) -> torch.Tensor:
    """`(batch, frames, dim)` -> `(batch, clips, dim)`: the mean of the frames whose middle is in the clip, or the nearest frame."""
    middles = grid.middles[:, None]
    inside = (middles >= seconds[..., :1]) & (middles < seconds[..., 1:]) & grid.mask[:, None]
    distance = (middles - seconds.mean(-1, keepdim=True)).abs().masked_fill(~grid.mask[:, None], float("inf"))
    nearest = F.one_hot(distance.argmin(-1), distance.shape[-1]).bool()
    inside = torch.where(inside.any(-1, keepdim=True), inside, nearest) & mask[..., None]
    share = inside / inside.sum(-1, keepdim=True).clamp(min=1)
    return share.to(frames.dtype) @ frames


@dataclass(frozen=True)
class Segmented:
    frames: torch.Tensor
    """`(batch, frames, width)`: the clips at the level of frames, zero in the padding."""
    logits: torch.Tensor
    """`(batch, frames, boundaries)`: before the sigmoid that makes confidences of them."""
    index: torch.Tensor
    """int64, `(batch, boundaries)`: the predicted boundaries, each by the first frame of the stage that begins there."""


class ConvolutionBlock(nn.Module):
    """Convolution over time, layer norm, GELU, added to what came in; padding stays zero."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, width, 5, padding=2)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        found = self.norm(self.convolution(frames.transpose(1, 2)).transpose(1, 2))
        return (frames + self.dropout(F.gelu(found))) * mask[..., None]


class Segmentation(nn.Module):
    """Clips to frames by times and convolutional blocks, and a perceptron's confidence that a frame begins the next stage.

    With `vision_dim`, the perceptron also reads frame features of a second branch, after a convolutional block of their own: the paper's Table 5 has
    AIoU rise when CLIP's pictures join, and its text does not say where they do. Without convolution a frame would not know of the one before.
    """

    def __init__(
        self, dim: int, width: int, num_boundaries: int, dropout: float, blocks: int = 3, vision_dim: int = 0
    ) -> None:
        super().__init__()
        self.enter = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(ConvolutionBlock(width, dropout) for _ in range(blocks))
        self.vision_block = ConvolutionBlock(vision_dim, dropout) if vision_dim else None
        self.perceptron = two_layers(width + vision_dim, width, num_boundaries, dropout, nn.GELU)
        # One frame in so many is a boundary, so confidence starts low.
        nn.init.constant_(self.perceptron[-1].bias, -4.0)

    def forward(
        self, batch: Batch, grid: Grid, clips: torch.Tensor | None = None, vision: torch.Tensor | None = None
    ) -> Segmented:
        """Of the batch's clips, or of `clips` in their place, `(batch, clips, dim)`. `vision`: `(batch, frames, vision_dim)`."""
        clips = batch.clips if clips is None else clips
        frames = to_frames(self.enter(clips), batch.mask, times_of(batch), grid)
        for block in self.blocks:
            frames = block(frames, grid.mask)
        read = frames
        if vision is not None and self.vision_block is not None:
            read = torch.cat([frames, self.vision_block(vision * grid.mask[..., None], grid.mask)], -1)
        logits = self.perceptron(read)
        return Segmented(frames, logits, most_confident(logits, grid.mask))


def most_confident(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The frames, one a boundary and in order, whose logits have the largest sum: int64, `(batch, boundaries)`.

    Every stage keeps a frame, as far as a video has so many. The published code of TSA lets each boundary choose in its own equal part of the video instead, which
    cannot find two boundaries in one half.
    """
    batch, num_frames, num_boundaries = logits.shape
    lengths = mask.sum(1)
    # A boundary may be at `frame` when so many stages still fit before and after it.
    place = torch.arange(num_frames, device=logits.device)[None]
    scores = logits.detach().float()
    total = torch.zeros_like(scores[..., 0])
    choices = []
    for number in range(num_boundaries):
        allowed = (place >= number + 1) & (place < (lengths - (num_boundaries - 1 - number))[:, None])
        here = scores[..., number].masked_fill(~allowed, -1e9)
        if number:
            best, index = total.cummax(1)
            choices.append(F.pad(index[:, :-1], (1, 0)))
            here = here + F.pad(best[:, :-1], (1, 0), value=-1e9)
        total = here
    found = [total.argmax(1)]
    for choice in reversed(choices):
        found.append(choice.gather(1, found[-1][:, None])[:, 0])
    return torch.stack(found[::-1], 1).minimum(lengths[:, None] - 1)
