"""Errors of `train`."""

import difflib
from collections.abc import Collection

from longtake.errors import LongtakeError


class TrainError(LongtakeError):
    """Base of this package."""


class SettingsError(TrainError, ValueError):
    """A setting that does not exist or a value that it cannot take."""


class DataError(TrainError, ValueError):
    """A store that lacks what the head or the protocol needs."""


class MissingPackage(TrainError):
    """A package of an extra that is not installed."""


class CheckpointError(TrainError, ValueError):
    """A checkpoint that is not one, or does not fit the head."""


def require_one_of(name: str, value: str, allowed: Collection[str]) -> None:
    """Raises `SettingsError` where a setting does not have one of these values."""
    if value not in allowed:
        close = difflib.get_close_matches(value, allowed, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise SettingsError(f"{name} takes one of {', '.join(allowed)}, got {value!r}{hint}")


def require_at_least(settings: object, **lowest: int) -> None:
    """Raises `SettingsError` where one of these settings is below its lowest value."""
    for name, least in lowest.items():
        if getattr(settings, name) < least:
            raise SettingsError(f"{name} must be {least} or more, got {getattr(settings, name)}")
