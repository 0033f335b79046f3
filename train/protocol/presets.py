"""The hyper-parameters of every head and dataset: those of the authors' code, and tuned ones. One table, in this file.

The defaults of each hyper-parameter are those of `TrainSettings` and of the head's own settings.
"""

from __future__ import annotations

from collections.abc import Mapping

from longtake.errors import there_are
from longtake.train.data.windows import CENTRE, SPREAD
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import SettingsError
from longtake.train.protocol.options import PUBLISHED, TUNED

_Row = dict[str, object]
_RG_EPOCHS: _Row = {"Ball": 250, "Clubs": 400, "Hoop": 500, "Ribbon": 150}
_GDLT: _Row = {"mse_weight": 1.0, "ce_weight": 0.0}
_MLAVL: _Row = {
    "text": "mlavl", "optimizer": "adam", "lr": 1e-3, "batch_size": 64, "epochs": 400, "ce_weight": 0.01,
    "test_window": CENTRE,
}  # fmt: skip
_MVLA: _Row = {
    "optimizer": "adam",
    "lr": 1e-3,
    "weight_decay": 0.0,
    "epochs": 100,
    "triplet_weight": 0.0,
    "ce_weight": 0.0,
}
"""Of the text: Adam, 1e-3 for attention and assessment (1e-4 for the rest, which is one rate here), no weight decay. Epochs are ours."""
_DIRECT: _Row = {
    "optimizer": "adam", "lr": 1e-4, "weight_decay": 1e-5, "epochs": 100, "triplet_weight": 0.0, "ce_weight": 0.0,
}  # fmt: skip
_RATINGS: _Row = {"sigma": 1.0, "weight_decay": 0.0, "epochs": 80}
_COMPARED: _Row = {**_DIRECT, "mse_weight": 0.0, "epochs": 200}
_REGRESSED: _Row = {**_COMPARED, "lr": 1e-3, "weight_decay": 0.0}
_BY_DIFFICULTY: _Row = {"exemplars": "score_difficulty", "divide": "difficulty"}
_QGVL: _Row = {"warmup_epochs": 10, "epochs": 200}

_PUBLISHED: dict[tuple[str, str], _Row] = {
    # Ours: with the published weight of 1, the triplet loss drowns the scores of a small dataset (docs/results.md).
    ("gdlt", ""): {"mse_weight": 10.0, "ce_weight": 0.0, "epochs": 100},
    ("gdlt", "rg"): {**_GDLT, "epochs": _RG_EPOCHS},
    ("gdlt", "fisv"): {**_GDLT, "triplet_weight": 0.5, "dropout": 0.7, "epochs": 400},
    ("avcf", ""): _MLAVL,
    ("avcf", "rg"): {**_MLAVL, "epochs": _RG_EPOCHS},
    ("pgt", ""): _MLAVL,
    ("pgt", "rg"): {**_MLAVL, "epochs": _RG_EPOCHS},
    ("sca", ""): _MVLA,
    ("sca", "jigsaws"): {**_MVLA, "text": "mvla"},
    ("mvla", ""): {**_MVLA, "text": "mvla"},
    ("mvla", "mtl-aqa"): {**_MVLA, "text": "mvla", "boundaries": "fixed"},
    # Of the published code: Adam, 1e-4, decay 1e-5, the loss of the distribution alone.
    ("usdl", ""): {**_DIRECT, "mse_weight": 0.0},
    ("usdl", "jigsaws"): {**_DIRECT, "mse_weight": 0.0, **_RATINGS, "bins": 25},
    ("musdl", ""): {**_DIRECT, "mse_weight": 0.0},
    ("musdl", "jigsaws"): {**_DIRECT, "mse_weight": 0.0, **_RATINGS, "bins": 5},
    ("i3d-mlp", ""): _DIRECT,
    # Of the published code: the loss of the comparisons alone, Adam, 1e-3 for what is learnt on features, no decay. On diving, exemplars
    # are of the same difficulty, and scores are divided by it.
    ("core", ""): _REGRESSED,
    ("core", "mtl-aqa"): {**_REGRESSED, **_BY_DIFFICULTY},
    # Of the published code: 1e-4, the decay that it has for cached features.
    ("tpt", ""): {**_COMPARED, "weight_decay": 5e-4},
    ("tpt", "mtl-aqa"): {**_COMPARED, "weight_decay": 5e-4, **_BY_DIFFICULTY},
    # Of the published code: Adam, 1e-3 for all that is learnt on features, no decay. Its batch is 8; ours is that of the others.
    ("tsa", ""): _REGRESSED,
    # Neither dataset has labels of where stages end.
    ("tsa", "mtl-aqa"): {**_REGRESSED, **_BY_DIFFICULTY, "boundaries": "fixed"},
    ("tsa", "jigsaws"): {**_REGRESSED, "boundaries": "fixed"},
    ("gslm", ""): _QGVL,
    ("gslm", "rg"): {**_QGVL, "epochs": _RG_EPOCHS},
    # Published: 260 to 320 epochs, depending on the score.
    ("gslm", "fisv"): {**_QGVL, "lr": 5e-2, "dropout": 0.7, "final_lr_ratio": 0.002, "epochs": 300},
}
"""(head, dataset) -> settings of the authors' code. A dataset of no paper takes the head's row with an empty name. A
mapping as value is per category."""


_TUNED: _Row = {
    "optimizer": "adamw", "lr": 3e-4, "batch_size": 64, "epochs": 30, "mse_weight": 10.0, "triplet_weight": 0.0,
    "ce_weight": 0.01, "sampling": SPREAD, "window": 32,
}  # fmt: skip
"""A low rate, the squared error alone where there are no texts, a tenth of the epochs, and 32 clips, spread over the whole routine. Ours,
chosen by cross-validation of `gdlt` and `pgt` on Fis-V (docs/real-data.md), and taken for the other heads untried."""

_TUNED_MLAVL: _Row = {**_TUNED, "text": "mlavl", "optimizer": "adam", "lr": 1e-3, "triplet_weight": 1.0}
"""These two keep their own optimiser, rate and triplet loss: `pgt` without MAG2 0.685 / 19.3 where the above gives 0.664 / 22.3."""

PRESETS: dict[str, dict[tuple[str, str], _Row]] = {
    PUBLISHED: _PUBLISHED,
    TUNED: {
        # The two scores of a skater are given by the same judges for the same performance.
        ("kernel", "fisv"): {"beside": "tes,pcs"},
        ("gdlt", ""): _TUNED,
        # Several times the work of other heads a step.
        ("gslm", ""): {**_TUNED, "epochs": 20},
        ("sca", ""): _TUNED,
        ("mvla", ""): {"text": "mvla", **_TUNED},
        ("usdl", ""): {**_TUNED, "mse_weight": 0.0},
        ("musdl", ""): {**_TUNED, "mse_weight": 0.0},
        ("core", ""): {**_TUNED, "mse_weight": 0.0},
        ("tsa", ""): {**_TUNED, "mse_weight": 0.0},
        ("tpt", ""): {**_TUNED, "mse_weight": 0.0},
        ("i3d-mlp", ""): _TUNED,
        ("pgt", ""): _TUNED_MLAVL,
        ("avcf", ""): _TUNED_MLAVL,
    },
}


def preset_row(preset: str, head: str, dataset: str, category: str) -> dict[str, object]:
    """Settings that a preset gives a head on a dataset and category. Raises `SettingsError` for an unknown preset."""
    if preset not in PRESETS:
        raise SettingsError(f"no preset is called {preset!r}{there_are(preset, PRESETS)}")
    table = PRESETS[preset]
    row = table.get((head, dataset), table.get((head, ""), {}))
    per_category = {name: value for name, value in row.items() if isinstance(value, Mapping)}
    return {**row, **{name: values.get(category, TrainSettings.epochs) for name, values in per_category.items()}}
