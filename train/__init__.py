"""Train and use the heads that score performances. For notebooks: `fit` and `predict`; torch loads when one of them is used."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from train.predicting import Prediction, predict
    from train.protocol import Options
    from train.run import Run, fit

__all__ = ["Options", "Prediction", "Run", "fit", "predict"]


def __getattr__(name: str) -> object:
    if name in ("Prediction", "predict"):
        from train import predicting as home
    elif name in ("Run", "fit"):
        from train import run as home
    elif name == "Options":
        from train import protocol as home
    else:
        raise AttributeError(f"module 'train' has no attribute {name!r}")
    return getattr(home, name)
