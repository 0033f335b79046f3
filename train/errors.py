"""Errors of `train`."""

from longtake.errors import LongtakeError


class TrainError(LongtakeError):
    """Base of this package."""


class SettingsError(TrainError, ValueError):
    """A setting that does not exist or a value that it cannot take."""


class DataError(TrainError, ValueError):
    """A store that lacks what the head or the protocol needs."""


class CheckpointError(TrainError, ValueError):
    """A checkpoint that is not one, or does not fit the head."""
