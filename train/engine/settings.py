"""The hyper-parameters of training and their defaults. Values per head and dataset are in `train/protocol/presets.toml`."""

from __future__ import annotations

from dataclasses import dataclass

from longtake.train.data.windows import CONTIGUOUS, SAMPLINGS, TEST_WINDOWS, WHOLE
from longtake.train.errors import SettingsError, require_at_least, require_one_of
from longtake.train.heads.settings import WithLater, later

BATCH_HARD, EQUATION16 = "batch_hard", "equation16"
AUTO, FLOAT32, BFLOAT16 = "auto", "float32", "bfloat16"
COSINE, STEP, CONSTANT = "cosine", "step", "constant"


@dataclass(frozen=True, repr=False)
class TrainSettings(WithLater):
    """How a head is trained. Rates are per batch of `batch_size` videos."""

    epochs: int = 100
    lr: float = 1e-2
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch_size: int = 32
    warmup_epochs: int = 0
    final_lr_ratio: float = 0.01
    """The cosine schedule ends at this share of `lr`."""
    schedule: str = later(COSINE)
    """How the rate falls: along a `cosine`, by a factor at some epochs, `step`, or not at all, `constant`."""
    milestones: str = later("")
    """Of `step`: after how many epochs the rate falls, such as `300,350`; never in fewer epochs than that."""
    step_epochs: int = later(0)
    """Of `step`: instead of `milestones`, the rate falls again after each so many epochs."""
    step_factor: float = later(0.1)
    """Of `step`: what the rate is multiplied by."""
    mse_weight: float = 10.0
    triplet_weight: float = 1.0
    ce_weight: float = 0.5
    triplet: str = BATCH_HARD
    """`batch_hard` as published, or `equation16`, which is what the text of MLAVL says."""
    margin: float = 1.0
    label_smoothing: float = 0.1
    window: int = 0
    """Clips per training video; 0 takes the window of the dataset's card, or the longest video where there is none."""
    sampling: str = CONTIGUOUS
    """Which clips a longer training video gives: `contiguous`, as published, or `spread` over all of it."""
    test_window: str = WHOLE
    validation: float = 0.0
    """Share of the training videos that is held out to choose an epoch; its metrics are reported in addition to the result."""
    clip_gradient: float = 0.0
    """Largest gradient norm; 0 leaves gradients alone, as the published code does."""
    precision: str = FLOAT32
    """`bfloat16` rounds the inputs of matrix products: faster on recent processors and GPUs; losses stay float32. `auto`, the default of a
    run, is one of the two before training begins: train/protocol/precision.py."""

    def __post_init__(self) -> None:
        choices = {
            "optimizer": ("sgd", "adam", "adamw"),
            "triplet": (BATCH_HARD, EQUATION16),
            "sampling": SAMPLINGS,
            "test_window": TEST_WINDOWS,
            "precision": (AUTO, FLOAT32, BFLOAT16),
            "schedule": (COSINE, STEP, CONSTANT),
        }
        for name, allowed in choices.items():
            require_one_of(name, getattr(self, name), allowed)
        require_at_least(self, epochs=1, batch_size=2, warmup_epochs=0, window=0, step_epochs=0)
        if not 0 <= self.validation <= 0.5:
            raise SettingsError(f"validation takes a share from 0 to 0.5, got {self.validation}")
        if not 0 < self.lr < 100:
            raise SettingsError(f"lr must lie above 0 and below 100, got {self.lr}")
        if not 0 < self.step_factor <= 1:
            raise SettingsError(f"step_factor takes a share above 0 and up to 1, got {self.step_factor}")
        if (self.schedule == STEP) != bool(self.milestones or self.step_epochs) or self.milestones and self.step_epochs:
            raise SettingsError(
                f"schedule=step takes either milestones=EPOCH,EPOCH,... or step_epochs=N, and no other schedule takes them; got "
                f"schedule={self.schedule}, milestones={self.milestones!r}, step_epochs={self.step_epochs}"
            )
        _ = self.falls

    @property
    def falls(self) -> tuple[int, ...]:
        """After how many epochs the rate falls, by `milestones`; in rising order."""
        words = [word.strip() for word in self.milestones.split(",")] if self.milestones else []
        if not all(word.isascii() and word.isdigit() and 0 < int(word) < 10**6 for word in words):
            raise SettingsError(
                f"milestones takes epochs above 0 with commas between, such as 300,350, got {self.milestones!r}"
            )
        return tuple(sorted(map(int, words)))
