"""Feature stores: what `extract` writes and `train` reads. For notebooks: `open_store`, `Store`, `FeatureHeader`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longtake.features.store import Store, open_store
    from longtake.features.types import FeatureHeader

__all__ = ["FeatureHeader", "Store", "open_store"]


def __getattr__(name: str) -> object:
    if name in ("Store", "open_store"):
        from longtake.features import store as home
    elif name == "FeatureHeader":
        from longtake.features import types as home
    else:
        raise AttributeError(f"module 'features' has no attribute {name!r}")
    return getattr(home, name)
