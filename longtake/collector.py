"""Python's garbage collector, paused while many objects are made at once.

The collector looks through all live objects again and again while a table of 100,000 rows becomes objects, which is more than half of the time that
reading it takes. None of these objects is part of a cycle, so there is nothing to collect.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

_is_paused = False


@contextmanager
def paused_collector() -> Iterator[None]:
    """Also a decorator. Nested uses, and a process without the collector, stay as they are."""
    global _is_paused
    if not gc.isenabled():
        yield
        return
    try:
        _is_paused = True
        gc.disable()
        yield
    finally:
        gc.enable()
        _is_paused = False


def _resume() -> None:
    global _is_paused
    if _is_paused:
        gc.enable()
        _is_paused = False


# A child that another thread forks meanwhile, such as a worker of a data loader, has no thread that would turn it on again.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_resume)
