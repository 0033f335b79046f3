"""The executor in this process: videos are stored while the models run, and what it reports of each video."""

import threading
import time

import pytest

from longtake.extract.executors import local
from longtake.extract.executors.local import publish, run_locally
from longtake.features.store import open_store
from tests.extract import fake_backbone
from tests.extract.media import write_video
from tests.extract.runs import plan_of, run

pytestmark = pytest.mark.usefixtures("numbers_backbone")


def test_videos_are_stored_while_the_models_run(tmp_path, monkeypatch):
    """The first video is written for as long as no later batch has begun: one after the other, this would never end."""
    plan = plan_of(tmp_path, [12] * 8)  # three clips each: a batch is a video
    threads, begun, overlapped = set(), [], []
    write, forward = local.write_video, fake_backbone.Numbers.forward

    def counted(self, clips):
        begun.append(len(begun))
        return forward(self, clips)

    def slow_write(parts, plan, done):
        threads.add(threading.current_thread().name)
        if not overlapped:
            deadline = time.monotonic() + 60
            while len(begun) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            overlapped.append(len(begun) >= 2)
        return write(parts, plan, done)

    monkeypatch.setattr(local, "write_video", slow_write)
    monkeypatch.setattr(fake_backbone.Numbers, "forward", counted)
    done = list(run_locally(plan))
    publish(plan)
    assert [finished.video_id for finished in done] == [f"v{n}" for n in range(8)]
    assert threads == {"write_0"} and overlapped == [True]
    with open_store(tmp_path / "small.h5") as store:
        assert len(store.stream().records) == 8


def test_a_disk_that_is_full_stops_the_run_and_keeps_what_was_stored(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, [12] * 6)
    write, written = local.write_video, []

    def fills_up(parts, plan, done):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(done.row.video_id)
        return write(parts, plan, done)

    monkeypatch.setattr(local, "write_video", fills_up)
    finished = []
    with pytest.raises(OSError, match="No space left"):
        for done in run_locally(plan):
            finished.append(done.video_id)
    assert finished == written == ["v0", "v1"]
    publish(plan)
    with open_store(tmp_path / "small.h5") as store:
        assert [record.video_id for record in store.stream().records] == ["v0", "v1"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("write", "decode"))]


def test_a_span_that_ends_after_its_file(tmp_path, numbers_backbone):
    """A table with frames for seconds, or a file that was cut: it is extracted, with a remark."""
    write_video(tmp_path / "a.mp4", 50)
    (tmp_path / "mine.csv").write_text("video_id,path,end_seconds\na,a.mp4,50\nb,a.mp4,2.5\n")
    call = ("run", "--manifest", tmp_path / "mine.csv", "--videos", tmp_path, "--backbone", numbers_backbone)
    output = run(*call, "--weights", "random", "--out", tmp_path / "s.h5")
    assert "clips; end_seconds is 50, but the file ends at 2.0 s" in output and output.count("end_seconds") == 1
