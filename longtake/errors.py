"""The one root of every error that Longtake shows to a user.

Each package has its own base below this root, so that a caller can catch one package's errors or all of them. Their
messages are written for the person who typed the command: what was asked, what was found, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_NAMES = 40
"""That a message lists; stores hold thousands of videos."""


def there_are(name: str, known: Iterable[str]) -> str:
    """The end of a message about a name that nobody knows: the nearest that is known, and the first `MOST_NAMES` of all."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    more = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
    return f"{hint} (there are {', '.join(known[:MOST_NAMES])}{more})" if known else " (there are none)"


def printable(text: str) -> str:
    """A stranger's text, or a file's name, on its one line, where it can neither move the cursor nor hide what stands before it."""
    return "".join(character if character.isprintable() else " " for character in text)


class LongtakeError(Exception):
    """Something a user can put right. Command lines print its message and exit with status 2."""


class LongtakeWarning(UserWarning):
    """Something a user should know that ends nothing. Command lines print it on a line of its own."""


class ManifestError(LongtakeError, ValueError):
    """A manifest, card or label file that breaks its rules; the message lists every fault with its line."""


class UnknownDataset(ManifestError, KeyError):
    """A dataset name without a card."""

    def __str__(self) -> str:  # KeyError would show the message quoted
        return str(self.args[0])
