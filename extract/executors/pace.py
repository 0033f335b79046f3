"""How many tasks a cluster gets at a time, and of how many videos each, by the workers there are and by how long videos took."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

LEAST_AHEAD = 256
"""Tasks submitted to the scheduler at a time, or `TASKS_AHEAD` for each worker: every worker finds its next task, and 100,000 videos cost nothing."""
TASKS_AHEAD = 3
TASK_SECONDS, MOST_IN_TASK = 2.0, 64
"""How long a task of several videos should take: each task costs the scheduler some milliseconds, and a worker that dies loses one."""
SMOOTHED = 16
"""Videos whose time counts for the next task, about."""
LOOK_SECONDS = 5.0
"""How often to ask how many workers there are; batch systems start them one by one."""


class Pace:
    """`count_workers` asks the scheduler."""

    def __init__(self, count_workers: Callable[[], int]) -> None:
        self._count_workers = count_workers
        self._num_workers, self._looked = 0, -math.inf
        self._seconds = TASK_SECONDS
        """Of a video, lately. At first each is a task."""

    def took(self, num_videos: int, seconds: float) -> None:
        """A task of so many videos took so long."""
        for _ in range(num_videos):
            self._seconds += (seconds / num_videos - self._seconds) / SMOOTHED

    def _workers(self) -> int:
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._num_workers = self._count_workers()
            self._looked = time.monotonic()
        return self._num_workers

    @property
    def num_ahead(self) -> int:
        return max(LEAST_AHEAD, TASKS_AHEAD * self._workers())

    def num_videos(self, num_waiting: int) -> int:
        """Of the next task: fewer towards the end, so that all workers end together."""
        by_time = TASK_SECONDS / max(self._seconds, TASK_SECONDS / MOST_IN_TASK)
        return max(1, int(min(by_time, num_waiting / (2 * max(1, self._workers())))))
