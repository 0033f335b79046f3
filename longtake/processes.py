"""What all worker processes do."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path


def end_with_starter() -> None:
    """End this process as soon as the process that started it ends, even when that one was killed. Otherwise it would wait for work for
    ever. Does nothing in the main process."""
    starter = multiprocessing.parent_process()
    if starter is None:
        return

    def watch(starter: BaseProcess = starter) -> None:
        starter.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


EACH_STARTS_AGAIN = (
    'each would run this script from its first line: put what it calls under `if __name__ == "__main__":`'
)
"""What is wrong with processes of a script for which `starts_again` is true."""


def starts_again() -> bool:
    """Whether this is a script that each new process would run from its first line, and not only import. Python ends such a process, and the one that
    has started it waits for ever."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    with suppress(OSError, ValueError):
        return path is not None and "__name__" not in Path(path).read_text(encoding="utf-8")
    return False
