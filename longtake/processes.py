"""What all worker processes do."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.process import BaseProcess


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
