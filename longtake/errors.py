"""The root of every error that Longtake shows to a user.

Each package has its own base class below this root, so a caller can catch the errors of one package or all of them. Messages are for
the person who typed the command: what was asked, what was found, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

MOST_NAMES = 40
MOST_FAULTS = 20
"""Limits for one message: stores hold thousands of videos."""


def there_are(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: what was probably meant, and the first `MOST_NAMES` of all known names."""
    known = list(known)
    hint = did_you_mean(name, known)
    more = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
    return f"{hint} (there are {', '.join(known[:MOST_NAMES])}{more})" if known else " (there are none)"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What to do about an unknown name: several names in one, the name of a file in place of an id, or the nearest known name. Empty where
    nothing is near."""
    known = list(known)
    several = [part.strip() for part in name.split(",")]
    if len(several) > 1 and any(part in known for part in several):
        return "; that is several names in one: repeat the option for each, where it takes several"
    stem = name.rpartition("/")[2].rpartition(".")[0]
    by_small_letters = {one.casefold(): one for one in reversed(known)}
    close = [stem] if stem in known else difflib.get_close_matches(name, known, n=1)
    close = close or [
        by_small_letters[one] for one in difflib.get_close_matches(name.casefold(), by_small_letters, n=1)
    ]
    return f"; did you mean {close[0]}?" if close else ""


def listed(faults: Sequence[str]) -> str:
    """The first `MOST_FAULTS` faults, one on each line, for the end of a message."""
    more = [f"and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
    return "".join(f"\n  {line}" for line in [*faults[:MOST_FAULTS], *more])


def printable(text: str) -> str:
    """Untrusted text, such as a file's name, on one line: it can neither move the cursor nor hide what is before it."""
    return text if text.isprintable() else "".join(one if one.isprintable() else " " for one in text)


class LongtakeError(Exception):
    """Something a user can fix. Commands print the message and exit with status 2."""


class LongtakeWarning(UserWarning):
    """Something a user should know. Commands print it on one line and continue."""


class ManifestError(LongtakeError, ValueError):
    """An invalid manifest, card or label file; the message lists all faults with their places."""


class UnknownDataset(ManifestError, KeyError):
    """A dataset that has no card."""

    def __str__(self) -> str:  # KeyError would show the message quoted
        return str(self.args[0])
