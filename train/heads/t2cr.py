"""T2CR: two views of a video, of all clips and of fewer, are judged directly and against an exemplar (Ke et al., Two-path Target-aware
Contrastive Regression for Action Quality Assessment, Information Sciences 2024).

Full view `(batch, clips, dim)` and thin view `(batch, thin, dim)`, lifted to as many rows by convolutions along the features.
TAA: channels weighed (squeeze-excite), then clips and places along the features (CBAM), then dim -> 256 -> 64, the logits of a view.
Direct score: the regressor on the logits of the full view. Relative score: the logits of both views, mixed over rows and by separable attention, ask those of
the exemplar in three layers of cross-attention; then the same regressor. The score is the mean of exemplar + relative and direct score.

Losses, weights 1 in points: both relative scores; direct scores of all views by the regressor and by TAA's own layer; equal logits of both views, and NT-Xent (temperature 0.1) between
their means; ten times the relative score of a video's views, which should be 0; the dive's class (`classes`); soft-DTW between the views of the pair (`dtw_weight`).

XuHuangbiao/T2CR, followed here, has 10 and 8 clips of a dive, extracted apart (`--second`, `second=true`). For long videos the same authors' and others' later code takes `rows=68` and every second of them as the
thin view, without classes and soft-DTW: the default. Deviations:
- A video has any number of clips: its rows are on straight lines between them. `stretch=false` cuts the centre and adds zeros.
- Score losses are in the points of the dataset, as published, also where layers work on the scale 0 to 1.
- Weights that the published network never uses are left out: 8,212 of 618,784.
- The class enters where the manifest has its number as a score (`class_score`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import DataError, SettingsError, require_at_least
from longtake.train.heads.base import Batch, Comparable, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.contrast import ContrastSettings, Pairs, Qualities, exemplars_of
from longtake.train.heads.blocks.resample import fit_rows, lerp_rows, resample
from longtake.train.heads.blocks.rows import Asking, SeparableAttention, SqueezeExcite
from longtake.train.heads.blocks.soft_dtw import soft_dtw
from longtake.train.heads.blocks.units import UnitSettings
from longtake.train.heads.published import num_modules, size

TEMPERATURE, GAMMA, SAME_VIDEO = 0.1, 0.1, 10.0
"""Of NT-Xent and of soft-DTW; the weight of the relative score of a video's views."""


@dataclass(frozen=True)
class T2CRSettings(UnitSettings, ContrastSettings):
    width: int = 64
    hidden: int = 256
    heads: int = 8
    layers: int = 3
    rows: int = 68
    """Rows of the full view."""
    thin: int = 34
    second: bool = False
    """The thin view is the second stream; otherwise it is taken from the full one."""
    classes: int = 0
    class_score: str = ""
    """A score of the manifest that is the number of a video's class, from 0."""
    dtw_weight: float = 0.0
    squeezed: int = 4
    """Fewest values to which squeeze-excite takes its channels, of which it takes a sixteenth. Published: 1."""
    stretch: bool = True
    """Rows are at even distances over a video. False cuts the centre of a longer video and adds zeros to a shorter one, as published."""

    def __post_init__(self) -> None:
        require_at_least(self, rows=2, thin=1, classes=0, squeezed=1)
        if self.width % self.heads:
            raise SettingsError(f"heads={self.heads} does not divide width={self.width}")


class View(nn.Module):
    """TAA: a view to its logits, `(batch, rows, width)`."""

    def __init__(self, dim: int, settings: T2CRSettings) -> None:
        super().__init__()
        s = settings
        inner = max(s.rows // 10, 1)
        self.lift = nn.Sequential(
            nn.Conv1d(s.thin, s.rows, 3, padding=1), nn.BatchNorm1d(s.rows), nn.ReLU(),
            nn.Conv1d(s.rows, s.rows, 3, padding=1), nn.BatchNorm1d(s.rows), nn.ReLU(),
        )  # fmt: skip
        self.excite = SqueezeExcite(dim, s.squeezed)
        self.channels = nn.Sequential(
            nn.Linear(s.rows, inner, bias=False), nn.ReLU(), nn.Linear(inner, s.rows, bias=False)
        )
        self.places = nn.Conv1d(2, 1, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(dim, s.hidden), nn.Linear(s.hidden, s.width)
        self.score = nn.Linear(s.width, 1)
        self.classes = nn.Linear(s.width, s.classes) if s.classes else None

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        excited = self.excite(rows)
        by_row = self.channels(excited.amax(-1)) + self.channels(excited.mean(-1))
        weighed = excited * torch.sigmoid(by_row)[..., None]
        seen = torch.stack([weighed.amax(1), weighed.mean(1)], 1)
        weighed = weighed * torch.sigmoid(self.places(seen)) + excited
        return torch.relu(self.fc2(torch.relu(self.fc1(weighed))))


class Comparison(nn.Module):
    """What the mixed logits of one video become when they ask those of another, or one view the other."""

    def __init__(self, settings: T2CRSettings) -> None:
        super().__init__()
        s = settings
        self.full, self.thin = (nn.Linear(s.rows, s.rows) for _ in range(2))
        self.mix = SeparableAttention(s.width)
        self.layers = nn.ModuleList(Asking(s.width, s.heads) for _ in range(s.layers))

    def views(self, full: torch.Tensor, thin: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both views, mixed over rows."""
        one, other = (
            layer.weight @ rows + layer.bias[:, None] for layer, rows in ((self.full, full), (self.thin, thin))
        )
        return one, other

    def forward(self, mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            mine = layer(mine, theirs)
        return mine


class Regressor(nn.Module):
    """Logits or compared rows `(batch, rows, width)` to a score `(batch,)`, the mean over rows."""

    def __init__(self, width: int, hidden: int, squeezed: int) -> None:
        super().__init__()
        self.layer1, self.layer2, self.layer3 = nn.Linear(width, hidden), nn.Linear(hidden, width), nn.Linear(width, 1)
        self.excite = SqueezeExcite(width, squeezed)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        rows = torch.relu(self.layer2(torch.relu(self.layer1(rows))))
        return self.layer3(self.excite(rows)).mean(1)[:, 0].float()


def nt_xent(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Row i of one belongs to row i of the other, among all rows of both (Chen et al., SimCLR, ICML 2020, equation 1)."""
    count = len(one)
    rows = F.normalize(torch.cat([one, other]).float(), dim=-1)
    itself = torch.eye(2 * count, dtype=torch.bool, device=rows.device)
    logits = (rows @ rows.T / TEMPERATURE).masked_fill(itself, -torch.inf)
    return F.cross_entropy(logits, torch.arange(2 * count, device=rows.device).roll(count))


class T2CR(Head):
    """T2CR: two views of a video, judged directly and against an exemplar."""

    SOURCE = Source("Ke et al., T2CR, Information Sciences 2024", 2024, "XuHuangbiao/T2CR", ("t2cr",))
    Settings = T2CRSettings
    not_in_weights = ("heads", "stretch")
    bfloat16 = True
    KEY_MAP = {
        "taa.mlp.": None,
        "taa.ca.": None,
        "taa.selayer.": "view.excite.",
        "taa.inconv.conv.": "view.lift.",
        "taa.cbam.ca.se.": "view.channels.",
        "taa.cbam.sa.conv.": "view.places.",
        "taa.fc_score.": "view.score.",
        "taa.fc_class.": "view.classes.",
        "taa.": "view.",
        "regressor.selayer.": "regressor.excite.",
        "decoder.conv1.": "comparison.full.",
        "decoder.conv2.": "comparison.thin.",
        "decoder.sa.": "comparison.mix.",
        "decoder.model.": "comparison.layers.",
    }

    @classmethod
    def needs(cls, settings: T2CRSettings) -> Needs:
        targets = (settings.class_score,) if settings.class_score else ()
        return replace(settings.needs, second_stream=settings.second, targets=targets)

    @classmethod
    def from_published(cls, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        renamed = super().from_published(state)
        inner = {".attn.": ".", ".mlp.fc1.": ".mlp.0.", ".mlp.fc2.": ".mlp.3."}
        made = {}
        for name, value in renamed.items():
            for published, ours in inner.items():
                name = name.replace(published, ours) if name.startswith("comparison.layers.") else name
            made[name] = value
        return made

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        return {
            "width": size(state, "view.fc2.weight"),
            "hidden": size(state, "view.fc2.weight", 1),
            "rows": size(state, "view.lift.0.weight"),
            "thin": size(state, "view.lift.0.weight", 1),
            "classes": size(state, "view.classes.weight") or 0,
            "layers": num_modules(state, "comparison.layers.") or None,
            "squeezed": 1,
            "judges_units": True,
        }

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        if s.second and audio_dim != dim:
            raise DataError(f"second=true takes a second stream as wide as the clips, {dim}, got {audio_dim}")
        self.view, self.regressor = View(dim, s), Regressor(s.width, s.hidden, s.squeezed)
        self.comparison = Comparison(s)
        self.qualities = Qualities(s)

    def learn_groups(self, training: Comparable) -> None:
        if not self.settings.judges_units:
            self.qualities.learn_groups(training)

    def views(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Full view `(batch, clips, dim)` and thin view `(batch, thin, dim)`."""
        s = self.settings
        fit = resample if s.stretch else fit_rows
        full = fit(batch.clips, batch.mask, s.rows)
        if not s.second and s.rows % s.thin == 0:
            return full, full[:, :: s.rows // s.thin]
        if not s.second:
            place = torch.arange(s.thin, device=full.device)[None].expand(len(full), -1) * (s.rows / s.thin)
            return full, lerp_rows(full, place.clamp(max=s.rows - 1))
        if batch.second_stream is not None:
            features, mask = batch.second_stream.features, batch.second_stream.mask
        elif batch.audio is not None:
            features, mask = batch.audio, batch.mask
        else:
            raise DataError("second=true takes the thin view from a second stream: name it with --second")
        return full, fit(features, mask, s.thin)

    def known(self, batch: Batch) -> torch.Tensor:
        """What is compared, `(batch,)`: scores in the units of the layers, divided where the settings say so."""
        return self.qualities.of(self.settings.from01(batch.target01), batch.scores)

    def forward(self, batch: Batch) -> HeadOutput:
        pairs, others = Pairs.of(batch), exemplars_of(batch)
        seen = [self.views(one) for one in (batch, others)]
        full = self.view(torch.cat([one[0] for one in seen]))
        thin = self.view(self.view.lift(torch.cat([one[1] for one in seen])))
        one, other = self.comparison.views(full, thin)
        # Videos of the batch come first, exemplars after them; each is mixed once for all its pairs.
        both = self.comparison.mix(torch.cat([one, other], 1))
        mine, theirs = both.index_select(0, pairs.query), both.index_select(0, len(batch.mask) + pairs.exemplar)
        known = self.known(others)[pairs.exemplar]
        better = self.regressor(self.comparison(mine, theirs))
        direct = self.regressor(full)
        mean = (pairs.votes @ (known + better) + direct[: len(batch.mask)]) / 2
        score01 = self.settings.to01(self.qualities.back(mean, batch.scores))
        if not self.training:
            return HeadOutput(score01)
        relative = better, self.regressor(self.comparison(theirs, mine))
        itself = self.regressor(self.comparison(self.comparison.mix(one), self.comparison.mix(other)))
        losses = self._losses(batch, others, pairs, full, thin, direct, relative, itself)
        return HeadOutput(score01, losses=losses)

    def _losses(
        self, batch: Batch, others: Batch, pairs: Pairs, full: torch.Tensor, thin: torch.Tensor, direct: torch.Tensor,
        relative: tuple[torch.Tensor, torch.Tensor], itself: torch.Tensor,
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        s, sides = self.settings, (slice(0, len(batch.mask)), slice(len(batch.mask), None))
        # Squared errors are in points of the dataset, also where layers work on the scale 0 to 1.
        points = 1.0 if s.judges_units else ((s.score_maximum - s.score_minimum) / self.qualities.unit) ** 2
        true = [self.known(one) for one in (batch, others)]
        difference = true[0][pairs.query] - true[1][pairs.exemplar]
        by_view = [(one[side], other[side]) for side in sides for one, other in [(full, thin)]]
        views = [F.mse_loss(a, b) + nt_xent(a.mean(1), b.mean(1)) for a, b in by_view]
        own = [itself[side] for side in sides]
        compared = F.mse_loss(relative[0], difference) + F.mse_loss(relative[1], -difference)
        compared = compared + SAME_VIDEO * sum((values**2).mean() for values in own)
        by_thin, taa = self.regressor(thin), [self.view.score(rows).mean(1)[:, 0].float() for rows in (full, thin)]
        judged = [
            F.mse_loss(rows[side], target) for rows in (direct, by_thin, *taa) for side, target in zip(sides, true)
        ]
        losses = {"views": sum(views), "comparison": points * (compared + sum(judged))}
        if self.view.classes is not None and s.class_score:
            losses["classes"] = sum(self._class_loss(rows, batch, others) for rows in (full, thin))
        if s.dtw_weight:
            apart = [soft_dtw(rows[pairs.query], rows[sides[1]][pairs.exemplar], GAMMA).mean() for rows in (full, thin)]
            losses["alignment"] = s.dtw_weight * sum(apart)
        return losses

    def _class_loss(self, rows: torch.Tensor, batch: Batch, others: Batch) -> torch.Tensor:
        """Binary cross-entropy of a softmax, as published; of both sides the mean over videos and classes."""
        assert self.view.classes is not None
        weights = self.view.classes(rows).mean(1).float().softmax(-1)
        total = torch.zeros((), device=rows.device)
        for part, one in zip(weights.split([len(batch.mask), len(others.mask)]), (batch, others)):
            assert one.scores is not None
            number = one.scores[:, -1].long().clamp(0, self.settings.classes - 1)
            label = F.one_hot(number, self.settings.classes).to(part)
            # Not defined under autocast, and its logarithms are bounded as torch's own are.
            terms = label * part.log().clamp(min=-100) + (1 - label) * (1 - part).log().clamp(min=-100)
            total = total - terms.mean()
        return total
