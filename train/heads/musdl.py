"""MUSDL: a distribution over the scores of each judge, and from judges to the score by the rule of the sport (Tang et al., Uncertainty-aware
Score Distribution Learning, CVPR 2020, section 3). A host that MVLA is plugged into.

The rule is a fact of the dataset's card: which scores judges give, how many of the highest and lowest do not count, what the sum is
multiplied by. In diving, the middle three of seven times the difficulty; in surgery, the sum of six ratings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from longtake.train.errors import SettingsError, require_one_of
from longtake.train.heads.base import Batch, Head, HeadOutput, Needs
from longtake.train.heads.published import size
from longtake.train.heads.usdl import (
    CODE,
    EXPECTATION,
    LAYERS,
    MODE,
    DistributionSettings,
    gaussian_labels,
    mean_of_clips,
    perceptron,
)

FINE = 50
"""Values between two bins at which labels are made, to read expectations back."""


@dataclass(frozen=True, repr=False)
class MUSDLSettings(DistributionSettings):
    """Everything from `judges` to `score_maximum` comes from the card, where it states it."""

    bins: int = 21
    """Of each judge: a step of half a point from 0 to 10."""
    judges: str = ""
    """Scores that the judges give, with commas between."""
    drop: int = 0
    """How many of the highest, and as many of the lowest, do not count."""
    times: str = ""
    """Score that multiplies the sum."""
    judge_minimum: float = 0.0
    judge_maximum: float = 10.0
    times_maximum: float = 1.0
    score_minimum: float = 0.0
    score_maximum: float = 1.0
    known: bool = True
    """What multiplies is known of tested videos (`w/ DD`), as published. False (`w/o DD`, which the paper leaves open): the judges' scores are learnt
    already multiplied by it."""
    read: str = EXPECTATION
    """How a distribution is read: its expectation, brought back to the score whose label has the same one, or its `mode`, as the published code has
    it, which takes as many values as there are bins."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("read", self.read, (EXPECTATION, MODE))
        if self.drop < 0 or (self.judges and 2 * self.drop >= len(self.columns)):
            raise SettingsError(f"of {len(self.columns)} judges, drop={self.drop} at both ends leaves none")

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.judges.split(",") if name.strip())


class MUSDL(Head):
    """MUSDL: a distribution over scores for each judge, and the sport's rule to the score. 2,086,035 parameters for 1024-wide features and
    seven judges."""

    SOURCE = replace(CODE, golden=("musdl",))
    Settings = MUSDLSettings

    @classmethod
    def from_published(cls, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        found = {}
        for name, value in state.items():
            judge, _, rest = name.removeprefix("evaluator.").partition(".")
            layer, _, kind = rest.rpartition(".")
            found[f"paths.{judge}.{LAYERS[layer + '.']}{kind}" if f"{layer}." in LAYERS else name] = value
        return found

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        return {"bins": size(state, "paths.0.5.weight"), "width": size(state, "paths.0.0.weight"), "read": MODE}

    @classmethod
    def needs(cls, settings: MUSDLSettings) -> Needs:
        """Raises `SettingsError` where the settings name no judges."""
        s = settings
        if not s.columns:
            raise SettingsError(
                "head musdl learns the scores of judges, and no card says which these are: name them with "
                "--set judges=NAME,NAME,..., and what multiplies them with --set times=NAME"
            )
        times = (s.times,) if s.times else ()
        scores, targets = (times, s.columns) if s.known else ((), (*times, *s.columns))
        return Needs(scores=scores, targets=targets, sees_padding=not s.mask)

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.paths = nn.ModuleList(perceptron(dim, s.width, s.bins, s.dropout) for _ in s.columns)
        values = torch.linspace(0, 1, (s.bins - 1) * FINE + 1)
        expectations = gaussian_labels(values, s.bins, s.sigma) @ torch.linspace(0, 1, s.bins)
        self.register_buffer("values", values, persistent=False)
        self.register_buffer("expectations", expectations, persistent=False)

    def forward(self, batch: Batch) -> HeadOutput:
        s = self.settings
        features = mean_of_clips(batch.clips, self.mask(batch))
        logits = torch.stack([path(features) for path in self.paths], 1).float()
        losses = {}
        if self.training:
            labels = gaussian_labels(self.judged01(batch.scores).flatten(), s.bins, s.sigma)
            # Of each judge the mean over videos; the sum over judges.
            terms = nn.functional.kl_div(logits.log_softmax(-1).flatten(0, 1), labels, reduction="sum")
            losses["distribution"] = terms / len(features) / (s.bins if s.per_bin else 1)
        return HeadOutput(self.ruled01(self.read01(logits.softmax(-1)), batch.scores), losses=losses)

    def judged01(self, scores: torch.Tensor) -> torch.Tensor:
        """What the paths learn, `(batch, judges)`, from 0 to 1, of `Batch.scores`."""
        s = self.settings
        judges = scores[:, 1:] if s.times else scores
        if s.known:
            return (judges - s.judge_minimum) / (s.judge_maximum - s.judge_minimum)
        factor = scores[:, :1] if s.times else 1.0
        most = s.times_maximum if s.times else 1.0
        return (judges * factor - s.judge_minimum * most) / ((s.judge_maximum - s.judge_minimum) * most)

    def read01(self, weights: torch.Tensor) -> torch.Tensor:
        """Distributions `(..., bins)` -> what they say, from 0 to 1."""
        if self.settings.read == MODE:
            return weights.argmax(-1) / (self.settings.bins - 1)
        expectation = weights @ self.values[::FINE]
        place = torch.searchsorted(self.expectations, expectation.detach().contiguous()).clamp(1, len(self.values) - 1)
        low, high = self.expectations[place - 1], self.expectations[place]
        share = ((expectation - low) / (high - low)).clamp(0, 1)
        return self.values[place - 1] + share * (self.values[place] - self.values[place - 1])

    def ruled01(self, judged01: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The rule: `(batch, judges)` from 0 to 1 -> scores from 0 to 1, `(batch,)`."""
        s = self.settings
        most = 1.0 if s.known or not s.times else s.times_maximum
        judges = (s.judge_minimum + judged01 * (s.judge_maximum - s.judge_minimum)) * most
        ranked = judges.sort(-1).values
        total = ranked[:, s.drop : ranked.shape[1] - s.drop].sum(-1)
        if s.times and s.known:
            total = total * scores[:, 0]
        return (total - s.score_minimum) / (s.score_maximum - s.score_minimum)
