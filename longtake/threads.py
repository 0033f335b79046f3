"""How many threads compute, and how they wait for each other, which matters where other work runs on the same cores."""

from __future__ import annotations

import os
from pathlib import Path

SPIN_COUNT = "3000"
"""Turns that a thread of GNU OpenMP waits in a loop before it sleeps: some hundredths of a millisecond. Its own 300,000 are several milliseconds,
which are lost each time another process has the core of a thread that is waited for. benchmarks/busy.py measures it: on an idle machine 3,000 cost
3 to 14%; where one of two cores is busy they take 0.6 to 1.0 of the time, and 30,000 take 1.0 to 2.1 of it."""
CHOSEN_BY_USERS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def spin_less() -> None:
    """Let threads that wait sleep sooner, unless the user has chosen how they wait. Call it before torch is imported, which reads this."""
    if not any(name in os.environ for name in CHOSEN_BY_USERS):
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def processors() -> list[int]:
    """Those that this process may use, which are fewer than the machine has in a batch job or under taskset; all of them where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def num_threads() -> int:
    """As torch counts the threads of one process, without importing it: the cores that the process may use, or OMP_NUM_THREADS if that is less."""
    # Two processors of one core share what computes.
    cores = set()
    for number in processors():
        siblings = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text(encoding="ascii"))
        except OSError:
            cores.add(str(number))
    for name in ("MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        first = os.environ.get(name, "").partition(",")[0].strip()
        if first.isdecimal() and int(first):
            return min(int(first), len(cores))
    return len(cores)
