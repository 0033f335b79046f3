"""Score long performances from video. For notebooks and scripts: `extract_videos`, `open_store`, `fit` and `predict`.

`import longtake` loads nothing else; each name imports its module when it is first used, torch and the decoders included. Type checkers
and editors follow the imports below: longtake/extract, features, manifests and train are links to the folders at the top level.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longtake.errors import LongtakeError, LongtakeWarning
    from longtake.extract.run import Extraction, extract_videos
    from longtake.features.store import Store, open_store
    from longtake.features.types import FeatureHeader
    from longtake.train.protocol.options import Options
    from longtake.train.runs.fit import Run, fit
    from longtake.train.runs.predict import predict
    from longtake.train.runs.prediction import Prediction, Predictions

_NAMES = {
    "longtake.errors": ("LongtakeError", "LongtakeWarning"),
    "longtake.extract.run": ("Extraction", "extract_videos"),
    "longtake.features.store": ("Store", "open_store"),
    "longtake.features.types": ("FeatureHeader",),
    "longtake.train.protocol.options": ("Options",),
    "longtake.train.runs.fit": ("Run", "fit"),
    "longtake.train.runs.predict": ("predict",),
    "longtake.train.runs.prediction": ("Prediction", "Predictions"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}
# Written out, because type checkers read it.
__all__ = [
    "Extraction", "FeatureHeader", "LongtakeError", "LongtakeWarning", "Options", "Prediction", "Predictions", "Run", "Store",
    "extract_videos", "fit", "open_store", "predict",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'longtake' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
