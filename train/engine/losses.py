"""The three losses of the GDLT family (QGVL, section III-E), on the patterns and logits that a head returns."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from longtake.train.engine.settings import BATCH_HARD, BFLOAT16, EQUATION16, TrainSettings
from longtake.train.heads.base import Batch, HeadOutput


def batch_hard_triplet(patterns: torch.Tensor, margin: float) -> torch.Tensor:
    """Batch-hard triplet loss with cosine distance over `(batch, n, d)` patterns; the pattern's index is its label.

    As in the published code of GDLT and QGVL: per anchor the farthest pattern of the same index and the nearest of
    another, `max(0, positive - negative + margin)`, mean over all `batch * n` anchors.
    """
    batch, num_patterns, _ = patterns.shape
    if num_patterns == 1:
        return patterns.new_zeros(())
    flat = F.normalize(patterns, dim=-1, eps=1e-8).flatten(0, 1)
    with torch.no_grad():
        cosine = flat @ flat.T
        same = cosine.view(batch, num_patterns, batch, num_patterns).diagonal(dim1=1, dim2=3)
        # An anchor is its own positive at distance 0, which is the farthest only if there is no other.
        farthest = same.argmin(1) * num_patterns + torch.arange(num_patterns, device=patterns.device)
        same.fill_(-torch.inf)
        nearest = cosine.argmax(1)
    # Gradients pass through these two pairs of each anchor only, so the other products need none.
    positive, negative = (
        (flat * flat.index_select(0, index)).sum(-1) for index in (farthest.flatten(), nearest.flatten())
    )
    return F.relu(negative - positive + margin).mean()


def equation16_triplet(patterns: torch.Tensor, margin: float) -> torch.Tensor:
    """The triplet loss as MLAVL's equation 16 writes it, over `(batch, n, d)`: within a video, each pattern's largest cosine
    with another one minus its smallest, plus the margin, at least 0; the sum over patterns, the mean over videos."""
    unit = F.normalize(patterns, dim=-1, eps=1e-8)
    cosine = unit @ unit.transpose(1, 2)
    itself = torch.eye(patterns.shape[1], dtype=torch.bool, device=patterns.device)
    largest = cosine.masked_fill(itself, -float("inf")).amax(-1)
    smallest = cosine.masked_fill(itself, float("inf")).amin(-1)
    return F.relu(largest - smallest + margin).sum(-1).mean()


TRIPLETS = {BATCH_HARD: batch_hard_triplet, EQUATION16: equation16_triplet}


def alignment(logits: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    """Cross-entropy of `(batch, n, n)` similarities: pattern i belongs to text i (QGVL, the loss L_CE)."""
    batch, num_patterns, _ = logits.shape
    target = torch.arange(num_patterns, device=logits.device).repeat(batch)
    return F.cross_entropy(logits.reshape(batch * num_patterns, -1), target, label_smoothing=label_smoothing)


def total_loss(
    output: HeadOutput, target01: torch.Tensor, settings: TrainSettings
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The weighted sum, and its terms before weighting for the log."""
    terms = {"mse": F.mse_loss(output.score01, target01)}
    loss = settings.mse_weight * terms["mse"]
    if settings.triplet_weight and output.patterns:
        terms["triplet"] = sum(TRIPLETS[settings.triplet](p, settings.margin) for p in output.patterns)
        loss = loss + settings.triplet_weight * terms["triplet"]
    if settings.ce_weight and output.logits:
        terms["cross_entropy"] = sum(alignment(logits, settings.label_smoothing) for logits in output.logits)
        loss = loss + settings.ce_weight * terms["cross_entropy"]
    for name, term in output.losses.items():
        terms[name] = term
        loss = loss + term
    return loss, {name: value.detach() for name, value in terms.items()}


def batch_loss(
    head: Callable[[Batch], HeadOutput], batch: Batch, settings: TrainSettings
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """`total_loss` of a head on a batch."""
    with autocast(batch.clips.device, settings):
        output = head(batch)
    return total_loss(output, batch.target01, settings)


def autocast(device: torch.device, settings: TrainSettings) -> torch.autocast:
    """Matrix products of the head in bfloat16, where the settings say so; losses and scores stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == BFLOAT16)
