"""From videos to features: every row in its place, batches in order, failures as rows."""

import queue
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from longtake.extract.decode import get_decoder
from longtake.extract.pipeline import batcher as pipeline
from longtake.extract.pipeline.device import HostRunner, Started
from longtake.extract.pipeline.reader import End
from longtake.features.store import open_store
from longtake.features.tools.inspect import diff
from tests.extract import fake_backbone
from tests.extract.media import write_video
from tests.extract.runs import extract, extracted, make_dataset, plan_of, run

pytestmark = pytest.mark.usefixtures("numbers_backbone")


def test_every_video_its_own_clips(tmp_path, numbers_backbone):
    """Batches of 3 clips across videos of 1 to 11 clips: every row ends up where it belongs."""
    lengths = [10, 3, 41, 4, 17]
    make_dataset(tmp_path, lengths)
    extract(tmp_path)
    with open_store(tmp_path / "small.h5") as store:
        stream = store.stream()
        assert [record.video_id for record in stream.records] == [f"v{n}" for n in range(5)]
        assert np.diff(stream.offsets).tolist() == [-(-length // 4) for length in lengths]
        assert store.labels.scores[:, 0].tolist() == [0, 1, 2, 3, 4]
        assert stream.header.weights_random
        alone = {}
        for row, record in enumerate(stream.records):
            alone[record.video_id] = stream.read(row).features
    # One by one, in stores of their own, they give the same bits.
    for number in range(5):
        extract(tmp_path, "--only", f"v{number}", out=f"one{number}.h5")
        with open_store(tmp_path / f"one{number}.h5") as store:
            np.testing.assert_array_equal(store.stream().read(0).features, alone[f"v{number}"])


def test_several_workers_give_the_same_store(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [9, 30, 5, 12, 20, 7])
    extract(tmp_path)
    extract(tmp_path, "--workers", "3", out="parallel.h5")
    with open_store(tmp_path / "small.h5") as one, open_store(tmp_path / "parallel.h5") as other:
        assert diff(one, other) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_gives_no_number(tmp_path, numbers_backbone, monkeypatch, value):
    make_dataset(tmp_path, [12] * 3)  # three clips each: a batch is a video
    begun, forward = [], fake_backbone.Numbers.forward

    def overflows_once(self, clips):
        begun.append(True)
        rows = forward(self, clips)
        if len(begun) == 2:
            rows[1, 2] = value
        return rows

    monkeypatch.setattr(fake_backbone.Numbers, "forward", overflows_once)
    done = extract(tmp_path, status=1)
    assert "failed: v1 (model): the network returned NaN or infinity" in done.output and "2 new" in done.output
    with open_store(tmp_path / "small.h5") as store:
        stream = store.stream()
        status = {r.video_id: (r.status, r.error_stage, r.error_type) for r in stream.records}
        assert status == {"v0": ("ok", "", ""), "v1": ("failed", "model", "NotFinite"), "v2": ("ok", "", "")}
        assert np.diff(stream.offsets).tolist() == [3, 0, 3]


def test_too_short_for_a_clip(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [2, 8])
    done = extract(tmp_path, "--tail", "drop", status=1)
    assert "failed: v0 (plan)" in done.output and "--tail pad" in done.output


class LateRunner:
    """A device that answers as late as possible: when its rows are fetched, which is after the next batch was started."""

    lag = 1

    def __init__(self, backbone, batch_size):
        self._host = HostRunner(backbone, batch_size)
        self.events: list[str] = []

    def start(self, clips: Sequence[np.ndarray]) -> Started:
        number = sum(event.startswith("start") for event in self.events)
        self.events.append(f"start {number}")
        started = self._host.start(clips)
        rows = started.rows().copy()

        def fetch() -> np.ndarray:
            self.events.append(f"fetch {number}")
            return rows

        return Started(started.frames, fetch)


def test_results_are_fetched_one_batch_behind(tmp_path, monkeypatch):
    """The same store as from a runner that answers at once; and each batch but the last is fetched after the next was started."""
    lengths = [10, 3, 41, 4, 17]
    plan = plan_of(tmp_path, lengths)
    expected = {}
    for done in extracted(plan):
        (expected[done.row.video_id],) = done.features.values()
    runners = []

    def late(backbone, batch_size):
        runners.append(LateRunner(backbone, batch_size))
        return runners[-1]

    monkeypatch.setattr(pipeline, "runner_for", late)
    # All clips are there before the first batch is run, so the order does not depend on who is faster.
    monkeypatch.setattr(pipeline, "QUEUED_BATCHES", 50)
    start = LateRunner.start

    def start_when_all_is_read(self, clips):
        for thread in threading.enumerate():
            if thread.name.startswith("decode"):
                thread.join(60)
        return start(self, clips)

    monkeypatch.setattr(LateRunner, "start", start_when_all_is_read)
    found = {}
    for done in extracted(plan):
        (found[done.row.video_id],) = done.features.values()
    assert found.keys() == expected.keys()
    for name, video in found.items():
        np.testing.assert_array_equal(video.features, expected[name].features)
        np.testing.assert_array_equal(video.start_seconds, expected[name].start_seconds)
    (runner,) = runners
    num_batches = -(-sum(-(-length // 4) for length in lengths) // 3)
    order = [event for number in range(1, num_batches) for event in (f"start {number}", f"fetch {number - 1}")]
    assert runner.events == ["start 0", *order, f"fetch {num_batches - 1}"]


def test_clips_that_wait_for_the_model_are_bounded(tmp_path, monkeypatch):
    """During the first batch as much is read as there is room for, and no more."""
    plan = plan_of(tmp_path, [80])  # 20 clips
    no_more = threading.Event()
    queues, waiting = [], []

    class Watched(queue.Queue):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            queues.append(self)

        def put(self, item, *arguments, **options):
            try:
                super().put(item, *arguments, **options)
            except queue.Full:
                no_more.set()
                raise
            if isinstance(item, End):
                no_more.set()

    forward = fake_backbone.Numbers.forward

    def forward_when_no_more_comes(self, clips):
        assert no_more.wait(60)
        waiting.append(queues[0].qsize())
        return forward(self, clips)

    monkeypatch.setattr(pipeline.queue, "Queue", Watched)
    monkeypatch.setattr(fake_backbone.Numbers, "forward", forward_when_no_more_comes)
    (done,) = extracted(plan)
    (video,) = done.features.values()
    assert len(video.features) == 20
    assert waiting[0] == max(waiting) == pipeline.QUEUED_BATCHES * plan.extractors[0].batch_size


def test_a_decoder_that_leaves_clips_out_is_found_out(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, [12])
    pictures = type(get_decoder("pyav")).pictures

    def lossy(self, info, *arguments, **named):
        for index, found in pictures(self, info, *arguments, **named):
            if index < 8:
                yield index, found

    monkeypatch.setattr(type(get_decoder("pyav")), "pictures", lossy)
    (done,) = extracted(plan)
    (video,) = done.features.values()
    assert (video.record.error_type, video.record.error_stage) == ("ClipsMissing", "decode")
    assert "2 of 3 clips" in video.record.error_message


def test_a_span_that_begins_after_its_file(tmp_path, numbers_backbone):
    write_video(tmp_path / "a.mp4", 50)
    (tmp_path / "mine.csv").write_text("video_id,start_seconds,end_seconds\na,20,30\n")
    call = ("run", "--manifest", tmp_path / "mine.csv", "--videos", tmp_path, "--backbone", numbers_backbone)
    output = run(*call, "--weights", "random", "--out", tmp_path / "s.h5", status=1)
    assert "start_seconds 20 is after the end of the video, 2.00 s" in output and "--tail pad" not in output
