"""CoFInAl: the first two digits of a score by grades, the next two as a class (Zhou et al., CoFInAl: Enhancing Action Quality Assessment with
Coarse-to-Fine Instruction Alignment, IJCAI 2024, section 3).

Encoder and grades are those of GDLT: clips `(batch, clips, dim)` to patterns `(batch, 4, 256)`. With y the score from 0 to 1:

    coarse     the expectation of values of the grades; learns y to two digits
    reverted   a second one with values of its own; learns 1 - coarse
    fine       attention, two linear layers, length 1: `(batch, 100)`; learns the column of its class, the third and fourth digit of y,
               of 100 fixed vectors as far from each other as can be (an equiangular tight frame)
    score      (coarse + 1 - reverted) / 2 + class / 10000

Squared errors of the first two, absolute errors of the third, and GDLT's triplet loss; nothing learns the score itself. ZhouKanglei/CoFInAl_AQA,
3,715,692 parameters for 1024 values; the published width 448 cannot run there, its authors' later toolbox has the layer that it lacks, and so
has this head.

Deviations: the published fine branch attends across the videos of a batch, and to nothing when videos are tested one by one. Here it attends
across the grades (`fine=grades`); weights that are imported score as published, `fine=alone`. Classes are read for each video, and digits
are those of the decimal number, where float32 loses one of 283 of 5001 scores. `published_defects` restores all three and unmasked padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import SettingsError, require_at_least, require_one_of
from longtake.train.heads.base import GRADES, Batch, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.layers import SHARED_KEY_MAP, ContextEncoder, DiagonalScore, xavier_
from longtake.train.heads.blocks.transformer import decoder
from longtake.train.heads.blocks.units import UnitSettings
from longtake.train.heads.published import WithDefects, num_modules, size

CLASSES, FINE_HEADS = 100, 4
ALONE, BATCH = "alone", "batch"
VALUES = (
    (None, None),
    (None, None),
    ((0.1, 0.2, 0.8, 1.0), (1.0, 1.0, -1.0, -1.0)),
    ((-1.0, -0.8, 0.8, 1.0), (1.0, 0.8, -0.8, -1.0)),
)
"""Of grades in the two scores, by the number that the published code gives them; the first two for any number of grades."""
ROUNDING = 1e-2
"""Of 1e-4 of the scale: far above the error of a float32 and far below a step of judges."""


@dataclass(frozen=True)
class CoFInAlSettings(UnitSettings, WithDefects):
    width: int = 256
    heads: int = 1
    encoder_layers: int = 1
    decoder_layers: int = 2
    grades: int = 4
    dropout: float = 0.3
    values: int = 2
    """Of the grades: 0 evenly from 0 to 1, 1 evenly above 0, 2 and 3 of four grades, see `VALUES`."""
    reverted: bool = True
    """False leaves the second score out, as published for Ribbon."""
    fine: str = GRADES
    """What the fine branch attends across: `grades` of a video, the `batch`, or nothing, `alone`."""
    align: int = 1
    """2 keeps all patterns of a batch apart, those of one grade as well, as published for Hoop; 0 and 1 are alike."""

    def __post_init__(self) -> None:
        require_at_least(self, grades=1, encoder_layers=1, decoder_layers=1)
        require_one_of("fine", self.fine, (GRADES, ALONE, BATCH))
        if self.values not in range(len(VALUES)) or self.align not in (0, 1, 2):
            raise SettingsError(f"values takes 0 to 3 and align 0 to 2, got {self.values} and {self.align}")
        if self.values > 1 and self.grades != 4:
            raise SettingsError(f"values={self.values} are of 4 grades, got {self.grades}: take values=0 or 1")
        if self.width % FINE_HEADS:
            raise SettingsError(f"width must be a multiple of {FINE_HEADS}, got {self.width}")


def tight_frame(classes: int) -> torch.Tensor:
    """`(classes, classes)`: columns of length 1 whose products with each other are all `-1 / (classes - 1)` (section 3.4). Rotated as in the
    published code, by numpy's generator of seed 0."""
    rotation = np.linalg.qr(np.random.RandomState(0).random_sample((classes, classes)))[0]
    frame = np.sqrt(classes / (classes - 1)) * (np.eye(classes) - 1 / classes)
    return torch.from_numpy(rotation @ frame).float()


class CoFInAl(Head):
    """CoFInAl: grades give the first digits of a score, classes in a fixed frame the next two."""

    SOURCE = Source(
        "Zhou et al., CoFInAl: Coarse-to-Fine Instruction Alignment, IJCAI 2024", 2024, "ZhouKanglei/CoFInAl_AQA",
        ("cofinal", "cofinal_norevert", "cofinal_full_rule"),
    )  # fmt: skip
    Settings = CoFInAlSettings
    not_in_weights = ("heads", "values")
    bfloat16 = True
    KEY_MAP = {
        **SHARED_KEY_MAP,
        "regressor.": "coarse.linear.",
        "regressor_revert.": "reverted.linear.",
        "regi.0.": "attention.",
        "regressori.0.1.": "fine1.",
        "regressori.0.2.": "fine2.",
        "etf_vec1": "frame",
        "prototype.weight": "prototypes",
    }

    @classmethod
    def needs(cls, settings: CoFInAlSettings) -> Needs:
        alone = settings.published_defects or settings.fine == BATCH
        return Needs(sees_padding=settings.sees_padding, alone=alone)

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        return {
            "encoder_layers": num_modules(state, "context.encoder.layers.") or None,
            "decoder_layers": num_modules(state, "decoder.layers.") or None,
            "grades": size(state, "prototypes"),
            "width": size(state, "prototypes", 1),
            "reverted": "reverted.linear.weight" in state,
            "fine": ALONE,
        }

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.context = ContextEncoder(dim, s.width, heads=s.heads, layers=s.encoder_layers, dropout=s.dropout)
        self.decoder = decoder(s.width, heads=s.heads, layers=s.decoder_layers, dropout=s.dropout)
        xavier_(self.decoder)
        self.prototypes = nn.Parameter(torch.randn(s.grades, s.width))
        first, last = (0.0, 1.0) if s.values == 0 else (1 / s.grades, 1.0)
        evenly = torch.linspace(first, last, s.grades)
        rising, falling = (evenly if one is None else torch.tensor(one) for one in VALUES[s.values])
        self.coarse = DiagonalScore(s.width, s.grades, rising)
        if s.reverted:
            self.reverted = DiagonalScore(s.width, s.grades, falling.flip(0) if s.values < 2 else falling)
        self.attention = nn.MultiheadAttention(s.width, FINE_HEADS)
        self.fine1, self.fine2 = nn.Linear(s.grades * s.width, s.width), nn.Linear(s.width, CLASSES)
        self.register_buffer("frame", tight_frame(CLASSES))

    def patterns(self, batch: Batch) -> torch.Tensor:
        """`(batch, grades, width)`."""
        mask = self.mask(batch)
        return self.decoder(self.prototypes, self.context(batch.clips, mask), mask)

    def fine(self, patterns: torch.Tensor) -> torch.Tensor:
        """`(batch, classes)`, of length 1."""
        across = BATCH if self.settings.published_defects else self.settings.fine
        if across == ALONE:
            # A softmax over one key is always 1.
            width = patterns.shape[-1]
            weight, bias = self.attention.in_proj_weight[2 * width :], self.attention.in_proj_bias[2 * width :]
            mixed = self.attention.out_proj(F.linear(patterns, weight, bias))
        else:
            rows = patterns if across == BATCH else patterns.transpose(0, 1)
            mixed = self.attention(rows, rows, rows, need_weights=False)[0]
            mixed = mixed if across == BATCH else mixed.transpose(0, 1)
        return F.normalize(self.fine2(self.fine1(mixed.flatten(1))).float(), dim=-1)

    def classes(self, fine: torch.Tensor) -> torch.Tensor:
        """int64, `(batch,)`: the class whose vector is nearest."""
        products = fine @ self.frame
        if self.settings.published_defects:
            return products.argmax().expand(len(fine))
        return products.argmax(-1)

    def digits(self, target01: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores `(batch,)` -> their first two digits as a number, and their next two as a class, int64."""
        scores = self.settings.from01(target01.float()) * CLASSES**2
        whole = (scores if self.settings.published_defects else scores + ROUNDING).floor().long()
        return torch.div(whole, CLASSES, rounding_mode="floor") / CLASSES, whole.remainder(CLASSES)

    def losses(
        self, target01: torch.Tensor, coarse: torch.Tensor, reverted: torch.Tensor | None, fine: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Section 3.5, without the triplet loss, which is that of the patterns."""
        number, which = self.digits(target01)
        found = {"coarse": F.mse_loss(coarse, number), "fine": F.l1_loss(fine, self.frame.T[which])}
        return found if reverted is None else {**found, "reverted": F.mse_loss(reverted, 1 - number)}

    def forward(self, batch: Batch) -> HeadOutput:
        s, patterns = self.settings, self.patterns(batch)
        coarse, weights = self.coarse(patterns)
        reverted = self.reverted(patterns)[0] if s.reverted else None
        fine = self.fine(patterns)
        score = coarse if reverted is None else (coarse + 1 - reverted) / 2
        losses = self.losses(batch.target01, coarse, reverted, fine) if self.training else {}
        # With `align` 2 all patterns of a batch are those of one video, so that none has another to be near to.
        apart = patterns.flatten(0, 1)[None] if self.training and s.align == 2 else patterns
        score01 = s.to01(score + self.classes(fine) / CLASSES**2)
        return HeadOutput(score01, patterns=(apart,), weights={"grades": weights}, losses=losses)
