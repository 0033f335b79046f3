"""What runs beside what: decoding once for all backbones, batches under way on a device, parts written meanwhile."""

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from longtake.extract.backbones import build, get_spec
from longtake.extract.decode import get_decoder
from longtake.extract.errors import ExtractError
from longtake.extract.executors import local
from longtake.extract.executors.local import run_locally
from longtake.extract.executors.parts import publish
from longtake.extract.pipeline import batcher as pipeline
from longtake.extract.pipeline.device import HostRunner, Started, runner_for
from longtake.extract.pipeline.reader import End
from longtake.extract.plan.job import Extractor, Job
from longtake.extract.plan.options import RunOptions
from longtake.extract.plan.plan import make_plan
from longtake.features.store import open_store
from longtake.manifests.table import read_manifest
from tests.extract import fake_backbone
from tests.extract.runs import make_dataset

pytestmark = pytest.mark.usefixtures("numbers_backbone")


def plan_of(folder, lengths, **options):
    manifest = read_manifest(make_dataset(folder, lengths))
    settings = RunOptions(backbones=(fake_backbone.NAME,), weights=("random",), **options)
    return make_plan(manifest, folder / "videos", folder / "small.h5", settings)


class LateRunner:
    """A device that answers as late as it may: when asked, and never before the next batch was queued, but at an end."""

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
    for done in extract(plan):
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
    for done in extract(plan):
        (found[done.row.video_id],) = done.features.values()
    assert found.keys() == expected.keys()
    for name, video in found.items():
        np.testing.assert_array_equal(video.features, expected[name].features)
        np.testing.assert_array_equal(video.start_seconds, expected[name].start_seconds)
    (runner,) = runners
    num_batches = -(-sum(-(-length // 4) for length in lengths) // 3)
    order = [event for number in range(1, num_batches) for event in (f"start {number}", f"fetch {number - 1}")]
    assert runner.events == ["start 0", *order, f"fetch {num_batches - 1}"]


def extract(plan):
    return pipeline.run_jobs(
        plan.jobs,
        videos_folder=plan.videos_folder,
        stems=plan.stems,
        decoder=get_decoder("pyav"),
        num_workers=1,
        # In this process, so that a test can put something in the decoder's place.
        stall_seconds=0,
    )


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
    (done,) = extract(plan)
    (video,) = done.features.values()
    assert len(video.features) == 20
    assert waiting[0] == max(waiting) == pipeline.QUEUED_BATCHES * plan.extractors[0].batch_size


def test_a_runner_fills_up_the_last_batch_and_uses_its_buffer_again():
    shapes = []

    class Counting:
        device = torch.device("cpu")

        def forward(self, clips):
            shapes.append((tuple(clips.shape), clips.data_ptr()))
            return clips.float().mean(dim=(1, 2, 3, 4))[:, None]

    runner = runner_for(Counting(), 3)
    clips = [np.full((2, 4, 4, 3), value, np.uint8) for value in (1, 2, 3)]
    assert runner.start(clips).rows()[:, 0].tolist() == [1, 2, 3]
    assert runner.start(clips[:2]).rows()[:, 0].tolist() == [1, 2, 2]
    assert len(set(shapes)) == 1, "one shape, one buffer"


def test_parts_are_written_while_the_models_run(tmp_path, monkeypatch):
    """The first video is written for as long as no later batch has begun: one after the other, this would never end."""
    plan = plan_of(tmp_path, [12] * 8)  # three clips each: a batch is a video
    threads, begun, overlapped = set(), [], []
    write, forward = local.write_video, fake_backbone.Numbers.forward

    def counted(self, clips):
        begun.append(len(begun))
        return forward(self, clips)

    def slow_write(plan, done):
        threads.add(threading.current_thread().name)
        if not overlapped:
            deadline = time.monotonic() + 60
            while len(begun) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            overlapped.append(len(begun) >= 2)
        return write(plan, done)

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

    def fills_up(plan, done):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(done.row.video_id)
        return write(plan, done)

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


def test_one_decode_for_all_backbones(tmp_path, monkeypatch):
    """Two backbones with rules of their own: each video is opened for its pictures once."""
    plan = plan_of(tmp_path, [10, 5, 7])
    decoder = get_decoder("pyav")
    opened = []
    pictures = type(decoder).pictures

    def counted(self, info, *arguments, **named):
        opened.append(info.path.name)
        return pictures(self, info, *arguments, **named)

    monkeypatch.setattr(type(decoder), "pictures", counted)
    (one,) = plan.extractors
    other = Extractor(
        replace(one.spec, frames=replace(one.spec.frames, short_side=64, crop_height=64, crop_width=64)),
        replace(one.rule, length=3, stride=3),
        replace(one.header, clip_length=3, clip_stride=3),
        one.backbone,
        2,
    )
    jobs = [Job(job.row, (one, other)) for job in plan.jobs]
    found = list(extract(replace(plan, jobs=tuple(jobs))))
    assert sorted(opened) == ["v0.mp4", "v1.mp4", "v2.mp4"]
    clips = {done.row.video_id: [len(video.features) for video in done.features.values()] for done in found}
    assert clips == {"v0": [3, 4], "v1": [2, 2], "v2": [2, 3]}


def test_a_decoder_that_leaves_clips_out_is_found_out(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, [12])
    pictures = type(get_decoder("pyav")).pictures

    def lossy(self, info, *arguments, **named):
        for index, found in pictures(self, info, *arguments, **named):
            if index < 8:
                yield index, found

    monkeypatch.setattr(type(get_decoder("pyav")), "pictures", lossy)
    (done,) = extract(plan)
    (video,) = done.features.values()
    assert (video.record.error_type, video.record.error_stage) == ("ClipsMissing", "decode")
    assert "2 of 3 clips" in video.record.error_message


def test_channels_last_changes_the_layout_only():
    from longtake.extract.backbones.frozen import channels_last

    network = torch.nn.Sequential(torch.nn.Conv3d(3, 8, 3), torch.nn.Flatten(1, 2), torch.nn.Conv2d(8, 4, 3))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    channels_last(network)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert network[2].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_gives_what_its_network_gives(precision):
    """Through copies, streams and buffers: the rows of a batch are those of the network called by itself."""
    backbone = build("i3d", precision=precision, device="cuda")
    backbone.init_random(0)
    runner = runner_for(backbone, 2)
    assert runner.lag == 1
    rng = np.random.default_rng(0)
    batches = [[rng.integers(0, 255, (16, 224, 224, 3), dtype=np.uint8) for _ in range(2)] for _ in range(5)]
    under_way = []
    found = []
    for batch in batches:
        under_way.append(runner.start(batch))
        if len(under_way) > 1:
            found.append(under_way.pop(0).rows().copy())
    found.append(under_way.pop().rows().copy())
    for batch, rows in zip(batches, found):
        expected = backbone.forward(torch.from_numpy(np.stack(batch)).cuda()).cpu().numpy()
        np.testing.assert_array_equal(rows, expected)


def tiny_backbone():
    """A network of one convolution behind the machinery of the real ones."""
    from longtake.extract.backbones.frozen import Frozen

    spec = replace(get_spec("i3d"), dim=4)
    return Frozen(
        spec,
        lambda num_classes: torch.nn.Conv3d(3, 4, 3),
        features=lambda network, pictures: network(pictures).relu().mean(dim=(2, 3, 4)),
        precision="float32",
        device="cpu",
    )


@pytest.mark.slow
def test_compiled_networks_give_the_same_features():
    backbone = tiny_backbone()
    backbone.init_random(0)
    clips = torch.randint(0, 256, (2, 4, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = backbone.forward(clips)
    backbone.compile()
    torch.testing.assert_close(backbone.forward(clips), expected, rtol=1e-5, atol=1e-6)


def test_no_compiler_is_said_before_any_work(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ExtractError, match="--compile needs a C\\+\\+ compiler, and there is no no-such-compiler"):
        tiny_backbone().compile()
