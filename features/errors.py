"""Errors of `features`: bad input to a store, a store that is not one, two stores that do not go together."""

from longtake.errors import LongtakeError


class FeaturesError(LongtakeError):
    """Base of this package."""


class InvalidFeatures(FeaturesError, ValueError):
    """Arrays or records that break the contract in FORMAT.md."""


class NotAStore(FeaturesError, ValueError):
    """The file is missing, is not a feature store, or is damaged."""


class Damaged(NotAStore):
    """Values that do not match their checksum: they have changed since they were stored."""


class NotInStore(FeaturesError, KeyError):
    """A backbone, recipe, video or prompt set that the store does not hold."""

    def __str__(self) -> str:  # KeyError would show the message quoted
        return str(self.args[0])


class Superseded(FeaturesError):
    """A push that adds to a version which is no longer the newest."""


class StoreConflict(FeaturesError, ValueError):
    """Two sources that say different things about the same video."""
