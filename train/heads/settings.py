"""Settings that a later release added, which leave the ids of earlier runs as they are.

A run's id is a hash of the `repr` of its settings. While a later setting has its default, it is left out of that.
"""

from __future__ import annotations

from dataclasses import field, fields
from typing import Any

LATER = "later"


def later(default: Any) -> Any:
    """A field of a class of settings that was added after a release. Its default is what that release did."""
    return field(default=default, metadata={LATER: True})


def fact(default: Any) -> Any:
    """A field of a class of settings that the dataset's card fills. The id of the data covers it, so that of the settings does not."""
    return field(default=default, repr=False)


class WithLater:
    """Base of settings with such fields; they are decorated with `@dataclass(frozen=True, repr=False)`."""

    def __repr__(self) -> str:
        shown = [(one, getattr(self, one.name)) for one in fields(self) if one.repr]  # type: ignore[arg-type]
        words = [
            f"{one.name}={value!r}" for one, value in shown if not (one.metadata.get(LATER) and value == one.default)
        ]
        return f"{type(self).__qualname__}({', '.join(words)})"
