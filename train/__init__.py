"""Train and use the heads that score performances. For notebooks: `fit` and `predict`; torch loads when one of them is used."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longtake.train.protocol.experiment import Options
    from longtake.train.protocol.run import Run, fit
    from longtake.train.runs.predict import Prediction, predict

__all__ = ["Options", "Prediction", "Run", "fit", "predict"]


def __getattr__(name: str) -> object:
    if name in ("Prediction", "predict"):
        from longtake.train.runs import predict as home
    elif name in ("Run", "fit"):
        from longtake.train.protocol import run as home
    elif name == "Options":
        from longtake.train.protocol import experiment as home
    else:
        raise AttributeError(f"module 'train' has no attribute {name!r}")
    return getattr(home, name)
