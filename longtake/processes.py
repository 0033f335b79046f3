"""What processes that others start have in common."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_starter() -> None:
    """In a process: end when the one that started it has ended, in whatever way. Nobody would give it another job, for which it would wait
    for ever."""
    starter = multiprocessing.parent_process()

    def watch() -> None:
        starter.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
