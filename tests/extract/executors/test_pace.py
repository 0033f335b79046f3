"""Short videos share a task; long ones, and the last ones, do not."""

from longtake.extract.executors import pace
from longtake.extract.executors.pace import Pace


def paced(num_workers, seconds, num_tasks=100):
    made = Pace(lambda: num_workers)
    for _ in range(num_tasks):
        made.took(1, seconds)
    return made


def test_videos_of_a_task():
    assert Pace(lambda: 64).num_videos(100_000) == 1, "nothing is known of their time yet"
    assert paced(64, 30.0).num_videos(100_000) == 1
    assert paced(64, 0.5).num_videos(100_000) == 3, "about two seconds"
    assert paced(64, 0.0).num_videos(100_000) == pace.MOST_IN_TASK
    assert paced(64, 0.0).num_videos(300) == 2 and paced(64, 0.0).num_videos(5) == 1
    assert paced(0, 0.0).num_videos(5) == 2, "workers have not started"


def test_times_that_change():
    made = paced(4, 0.1)
    assert made.num_videos(10_000) > 10
    made.took(20, 200.0)
    assert made.num_videos(10_000) == 1


def test_tasks_for_all_workers(monkeypatch):
    asked = []
    made = Pace(lambda: asked.append(1) or (1 if len(asked) == 1 else 1000))
    assert made.num_ahead == made.num_ahead == pace.LEAST_AHEAD and len(asked) == 1
    monkeypatch.setattr(pace, "LOOK_SECONDS", -1)
    assert made.num_ahead == 3000
