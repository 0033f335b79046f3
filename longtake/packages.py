"""Packages that are not installed, and installed ones that do not load because builds or versions do not go together."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec


@contextmanager
def needs(refused: Callable[[str], Exception]) -> Iterator[None]:
    """Around the import of a package that an extra brings. Where it is not installed, raises what `refused` makes of its name. A package that is
    installed and does not load raises its own error, since to install the extra would not help."""
    try:
        yield
    except ModuleNotFoundError as error:
        if _is_installed(error.name):
            raise
        raise refused(_top(error.name)) from error


def why_not_loaded(error: BaseException) -> str | None:
    """A message for an error that ended an import of another package; None for every other error."""
    importing = [
        frame.f_globals.get("__name__", "")
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name == "<module>"
    ]
    package = _top(importing[-1]) if importing else ""
    if package in ("", "__main__", "longtake"):
        # One of our imports: of a name that the package lacks, of a library in machine code, or of a package that is not there.
        package = _top(error.name) if isinstance(error, ImportError) else ""
    if package in ("", "longtake"):
        return None
    if isinstance(error, ModuleNotFoundError) and not _is_installed(error.name):
        return f"the package {_top(error.name)} is not installed: install longtake again, with the extras that you use"
    return (
        f"the installed package {package} does not load: {type(error).__name__}: {error}. Packages of different builds or versions do not go "
        f"together: install longtake into a new environment. `python -c 'import {package}'` shows where it fails"
    )


def _is_installed(name: str | None) -> bool:
    try:
        return find_spec(_top(name)) is not None
    except ValueError:  # of no name, or of a module that does not say where it is from
        return False


def _top(name: str | None) -> str:
    return (name or "").partition(".")[0]
