"""How threads of the processor wait for each other. It matters where other work runs on the same cores."""

from __future__ import annotations

import os

SPIN_COUNT = "30000"
"""Turns that a thread of GNU OpenMP waits in a loop before it sleeps: some tenths of a millisecond. Its own 300,000 are several milliseconds,
which are lost each time another process has the core of a thread that is waited for: benchmarks/busy.py measures it."""
CHOSEN_BY_USERS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def spin_less() -> None:
    """Let threads that wait sleep sooner, unless the user has chosen how they wait. Call it before torch is imported, which reads this."""
    if not any(name in os.environ for name in CHOSEN_BY_USERS):
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
