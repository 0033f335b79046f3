"""C3D-SVR: support vector regression on the mean of a video's clips (Parmar and Morris, Learning to Score Olympic Events, CVPR Workshops 2017,
section 3.2), fitted in closed form by scikit-learn: `pip install 'longtake[svr]'`. Scores are predicted without it.

Clips `(batch, clips, dim)`. No code of it is published, and neither are kernel, C and epsilon: all are settings, and the defaults are
scikit-learn's but for the kernel, which is linear, and epsilon, which is on the scale of scores from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from longtake.packages import needs
from longtake.train.errors import DataError, MissingPackage, SettingsError, require_at_least, require_one_of
from longtake.train.heads.base import Batch, Head, HeadOutput, Source
from longtake.train.heads.usdl import mean_of_clips

LINEAR, RBF = "linear", "rbf"


@dataclass(frozen=True)
class SVRSettings:
    kernel: str = LINEAR
    """`linear`, or `rbf` with a width of `dim` times the variance of the means."""
    C: float = 1.0
    """Of errors beyond epsilon."""
    epsilon: float = 0.01
    """Errors up to this cost nothing; on the scale 0 to 1."""
    videos: int = 1024
    """Training videos that a head with the kernel `rbf` can carry; not used by `linear`."""

    def __post_init__(self) -> None:
        require_one_of("kernel", self.kernel, (LINEAR, RBF))
        require_at_least(self, epsilon=0, videos=1)
        if not self.C > 0:
            raise SettingsError(f"C must be above 0, got {self.C}")


class C3DSVR(Head):
    """C3D-SVR: support vector regression on the mean of the clips; seconds to fit, no epochs."""

    SOURCE = Source("Parmar and Morris, Learning to Score Olympic Events, CVPRW 2017", 2017)
    Settings = SVRSettings
    closed_form = True

    def build(self, dim: int, audio_dim: int) -> None:
        # Of the kernel `rbf` the support vectors and their weights, zero where there are fewer; of `linear` what these add up to.
        rows = self.settings.videos if self.settings.kernel == RBF else 1
        self.register_buffer("support", torch.zeros(rows, dim))
        self.register_buffer("weight", torch.zeros(rows))
        for name in ("gamma", "intercept"):
            self.register_buffer(name, torch.zeros(()))

    @torch.no_grad()
    def fit_closed_form(self, batches: Iterable[Batch]) -> None:
        """Raises `MissingPackage` without scikit-learn, and `DataError` for more support vectors than the head can carry."""
        with needs(
            lambda _: MissingPackage("head c3d-svr is fitted by scikit-learn: python -m pip install 'longtake[svr]'")
        ):
            from sklearn.svm import SVR
        s = self.settings
        pairs = [(mean_of_clips(batch.clips, batch.mask), batch.target01) for batch in batches]
        means, target = (torch.cat(parts).double().cpu().numpy() for parts in zip(*pairs))
        found = SVR(kernel=s.kernel, C=s.C, epsilon=s.epsilon).fit(means, target)
        self.intercept.fill_(float(found.intercept_[0]))
        if s.kernel == LINEAR:
            self.support.copy_(torch.tensor(found.coef_))
            self.weight.fill_(1.0)
            return
        number = len(found.support_vectors_)
        if number > s.videos:
            raise DataError(
                f"the fit has {number} support vectors and the head room for {s.videos}: --set videos={number}"
            )
        self.support[:number] = torch.tensor(found.support_vectors_).to(self.support)
        self.weight[:number] = torch.tensor(found.dual_coef_[0]).to(self.weight)
        variance = means.var()
        self.gamma.fill_(1 / (means.shape[1] * variance) if variance else 1.0)

    def forward(self, batch: Batch) -> HeadOutput:
        means = mean_of_clips(batch.clips, batch.mask)
        if self.settings.kernel == LINEAR:
            likeness = means @ self.support.T
        else:
            squares = (means**2).sum(1)[:, None] + (self.support**2).sum(1)
            distance = torch.addmm(squares, means, self.support.T, alpha=-2).clamp_min(0)
            likeness = torch.exp(-self.gamma * distance)
        return HeadOutput(likeness @ self.weight + self.intercept)
