"""Whole runs: resume, failures, kills, and several processes with one store."""

import json
import random
import signal
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import h5py
import numpy as np
import pytest

import longtake
from longtake.errors import LongtakeWarning
from longtake.extract.errors import ExtractError
from longtake.extract.executors.local import run_locally
from longtake.extract.run import run_plan
from longtake.features import parts
from longtake.features.cli import main as features
from longtake.features.finished import read_finished
from longtake.features.found_parts import find_parts
from longtake.features.parts import lock_file
from longtake.features.segments.reader import list_segments
from longtake.features.store import open_store
from longtake.features.tools.inspect import diff, verify
from tests.calls import invoke
from tests.extract import fake_backbone
from tests.extract.media import write_video
from tests.extract.runs import ForkedRun, equal_stores, extract, make_dataset, plan_of, run, wait_for_parts


def test_shards_that_end_together(tmp_path, numbers_backbone, monkeypatch):
    """A process that ends while another publishes waits, and then publishes the rest; after a vain wait it says so."""
    make_dataset(tmp_path, [9, 30])
    extract(tmp_path, "--shard", "1/2")
    lock = lock_file(tmp_path / "small.h5")
    lock_for_another = lambda: (lock.parent.mkdir(exist_ok=True), lock.write_text("1@another-machine"))  # noqa: E731
    lock_for_another()
    pack = parts.pack

    def pack_while_the_other_ends(*arguments, **options):
        packed = pack(*arguments, **options)
        if not packed.published:
            lock.unlink()
        return packed

    monkeypatch.setattr(parts, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(parts, "pack", pack_while_the_other_ends)
    done = extract(tmp_path, "--shard", "2/2")
    assert f"waiting while process 1@another-machine ({lock}) publishes {tmp_path / 'small.h5'}" in done.stderr
    with open_store(tmp_path / "small.h5") as store:
        assert len(store.stream().records) == 2
    lock_for_another()
    monkeypatch.setattr(parts, "pack", pack)
    monkeypatch.setattr("longtake.extract.run.WAIT_SECONDS", 0.1)
    assert f"locked by process 1@another-machine ({lock})" in extract(tmp_path).stderr, "nothing waits"
    write_video(tmp_path / "videos" / "v2.mp4", 8)
    with (tmp_path / "small.csv").open("a") as file:
        file.write("v2,train,A,2\n")
    done = extract(tmp_path, status=1)
    assert "delete the lock file" in done.stderr and "1 finished videos are kept" in done.stderr
    found = json.loads(extract(tmp_path, "--json", status=1).stdout)
    assert (found["published"], found["waiting"]) == (False, 1) and "another-machine" in found["claimed_for"]

    def stopped(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(parts.time, "sleep", stopped)
    done = extract(tmp_path, status=130)
    assert "1 finished videos are kept" in done.stderr and "were there" in done.stdout


def test_failures_are_rows_and_the_rest_is_stored(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8, 8, 8, 8])
    (tmp_path / "videos" / "v0.mp4").unlink()
    (tmp_path / "videos" / "v1.mp4").write_bytes(b"no video at all" * 10)
    whole = (tmp_path / "videos" / "v2.mp4").read_bytes()
    done = extract(tmp_path, status=1)
    assert "missing: 1 of 4 videos: v0" in done.output and "failed: v1 (decode)" in done.output
    assert "2 new" in done.output and "Traceback" not in done.output
    with open_store(tmp_path / "small.h5") as store:
        status = {r.video_id: (r.status, r.error_stage, r.error_type) for r in store.stream().records}
    assert status == {
        "v1": ("failed", "decode", "VideoUnreadable"),
        "v2": ("ok", "", ""),
        "v3": ("ok", "", ""),
    }
    # A file that was missing is extracted once it is there; a broken one only with --retry-failed.
    (tmp_path / "videos" / "v0.mp4").write_bytes(whole)
    assert "failed: v1" in extract(tmp_path, status=1).output
    (tmp_path / "videos" / "v1.mp4").write_bytes(whole)
    assert "--retry-failed" in extract(tmp_path, status=1).output
    assert "failed" not in extract(tmp_path, "--retry-failed").output.replace("0 failed", "")


def test_resume_does_nothing_twice(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8, 8, 8])
    extract(tmp_path, "--limit", "1")
    assert "2 new, 1 were there" in extract(tmp_path).output
    before = (tmp_path / "small.h5").stat().st_mtime_ns
    assert "0 new, 3 were there" in extract(tmp_path).output
    assert (tmp_path / "small.h5").stat().st_mtime_ns == before, "nothing to do, nothing written"


def test_a_run_with_little_memory_publishes_in_several_steps(tmp_path, numbers_backbone, monkeypatch):
    """What killed runs left is in the parts folder, a segment of each."""
    for number in (1, 2, 3):
        assert len(list(run_locally(plan_of(tmp_path, [8, 8, 8, 8], limit=number)))) == 1
    written, write = [], parts.write_store
    monkeypatch.setattr(
        parts, "write_store", lambda *place, **content: (written.append(place), write(*place, **content))
    )
    assert "1 new, 3 were there" in extract(tmp_path, "--memory", "1kB").output and len(written) == 4
    with open_store(tmp_path / "small.h5") as store:
        assert sorted(store.stream().rows()) == ["v0", "v1", "v2", "v3"] and verify(store) == []


def test_a_zarr_store_holds_the_same(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [10, 3, 41])
    extract(tmp_path)
    for number in (1, 3):
        extract(tmp_path, "--limit", str(number), out="small.zarr")
    assert "0 new, 3 were there" in extract(tmp_path, out="small.zarr").output
    with open_store(tmp_path / "small.h5") as one, open_store(tmp_path / "small.zarr") as other:
        assert diff(one, other) == []


def test_kill_nine_at_random_moments(tmp_path):
    """Ten kills, a re-run after each: the store is whole at every moment, nothing finished is lost, the end is the same."""
    make_dataset(tmp_path, [20 + number for number in range(30)])
    undisturbed = ForkedRun(tmp_path, "undisturbed.h5", 0.0)
    output, errors = undisturbed.communicate(timeout=120)
    assert undisturbed.returncode == 0, errors
    rng = random.Random(0)
    store_path = tmp_path / "killed.h5"
    finished: set[str] = set()
    stop, broken = threading.Event(), []

    def read_all_the_time() -> None:
        while not stop.is_set():
            if store_path.exists():
                try:
                    with open_store(store_path) as store:
                        store.stream().read_all()
                except Exception as error:  # noqa: BLE001 - any error fails this test
                    broken.append(error)
            time.sleep(0.01)

    reader = threading.Thread(target=read_all_the_time)
    reader.start()
    try:
        kills = 0
        while kills < 10:
            run = ForkedRun(tmp_path, "killed.h5", 0.04)
            # Kill anywhere between the start and the end of a run.
            wait_for_parts(run, tmp_path / "killed.h5.parts", rng.randrange(0, 4))
            time.sleep(rng.uniform(0, 0.15))
            run.send_signal(signal.SIGKILL)
            run.communicate(timeout=60)
            kills += 1
            now = held(store_path)
            assert finished <= now, "a finished video was lost"
            finished = now
    finally:
        stop.set()
        reader.join()
    assert not broken, broken[0]
    last = ForkedRun(tmp_path, "killed.h5", 0.0)
    output, errors = last.communicate(timeout=120)
    assert last.returncode == 0, errors
    facts = json.loads(output)
    assert facts["already_there"] == len(finished) and facts["new"] == 30 - len(finished)
    with open_store(tmp_path / "undisturbed.h5") as one, open_store(store_path) as other:
        assert diff(one, other) == []
    assert not (tmp_path / "killed.h5.parts").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def held(store_path: Path) -> set[str]:
    return {video_id for records in read_finished(store_path, "small", None).records.values() for video_id in records}


def test_ctrl_c_keeps_what_is_finished(tmp_path):
    make_dataset(tmp_path, [40] * 12)
    run = ForkedRun(tmp_path, "small.h5", 0.1)
    wait_for_parts(run, tmp_path / "small.h5.parts", 2)
    run.send_signal(signal.SIGINT)
    output, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors
    facts = json.loads(output)
    assert facts["interrupted"] and 2 <= facts["new"] < 12
    assert "Traceback" not in errors
    with open_store(tmp_path / "small.h5") as store:
        assert len(store.stream().records) == facts["new"]


def test_the_python_call_does_what_the_command_does(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8, 12, 4])
    extract(tmp_path, out="command.h5")
    (tmp_path / "videos" / "v2.mp4").write_bytes(b"no video")
    arguments = {"manifest": tmp_path / "small.csv", "videos": str(tmp_path / "videos"), "out": tmp_path / "small.h5"}
    arguments |= {"backbones": numbers_backbone, "weights": "random", "show_progress": False}
    with pytest.warns(LongtakeWarning, match="RANDOM weights"):
        done = longtake.extract_videos(**arguments)
    assert (done.num_new, done.num_there, done.complete) == (2, 0, False)
    assert [record.video_id for record in done.failures] == ["v2"]
    assert repr(done) == f"<Extraction {tmp_path / 'small.h5'}: 2 new, 0 were there, 1 failed>"
    with open_store(tmp_path / "command.h5") as one, open_store(done.store) as other:
        assert done.recipes == {numbers_backbone: one.stream().header.recipe_id}
        for video_id in ("v0", "v1"):
            np.testing.assert_array_equal(one.stream().read(video_id).features, other.stream().read(video_id).features)
    with pytest.warns(LongtakeWarning):
        again = longtake.extract_videos(**arguments, limit=2)
    assert (again.num_new, again.num_there, again.complete) == (0, 2, True)
    with pytest.raises(ExtractError, match="did you mean numbers"):
        longtake.extract_videos(**{**arguments, "backbones": ["numberz"]})
    with pytest.raises(ExtractError, match="either --dataset NAME or --manifest FILE"):
        longtake.extract_videos()


def test_an_interrupted_python_call_stores_what_is_finished(tmp_path, numbers_backbone, monkeypatch):
    make_dataset(tmp_path, [12] * 4)  # three clips each: a batch is a video
    forward, begun = fake_backbone.Numbers.forward, []

    def interrupted(self, clips):
        begun.append(True)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return forward(self, clips)

    monkeypatch.setattr(fake_backbone.Numbers, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt), pytest.warns(LongtakeWarning):
        longtake.extract_videos(
            manifest=tmp_path / "small.csv", videos=tmp_path / "videos", out=tmp_path / "small.h5",
            backbones=[numbers_backbone], weights=["random"], show_progress=False,
        )  # fmt: skip
    with open_store(tmp_path / "small.h5") as store:
        assert store.stream().videos.video_ids == ("v0", "v1")


def wide_pixels_of_high_range(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 180, 144, "yuv420p"
        stream.codec_context.sample_aspect_ratio, stream.codec_context.color_trc = Fraction(64, 45), 16
        for number in range(4):
            picture = np.full((144, 180, 3), 20, np.uint8)
            picture[:, :40] = 200
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_the_shape_and_the_light_of_pictures_are_kept_and_said_once(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [4, 4, 4])
    for name in ("v1", "v2"):
        wide_pixels_of_high_range(tmp_path / "videos" / f"{name}.mp4")
    done = extract(tmp_path)
    assert done.output.count("warning:") == 2
    assert done.output.count("--square-pixels stretches") == 1 and done.output.count("high dynamic range (PQ)") == 1
    with open_store(tmp_path / "small.h5") as store:
        plain = store.stream()
        assert {(r.video_id, round(r.pixel_aspect, 3), r.transfer) for r in plain.records} == {
            ("v0", 1.0, "SDR"), ("v1", 1.422, "PQ"), ("v2", 1.422, "PQ")
        }  # fmt: skip
        before = plain.header.recipe_id
        taken_as_square = plain.read("v1").features
    done = extract(tmp_path, "--square-pixels", out="square.h5")
    assert done.output.count("warning:") == 1 and "--square-pixels" not in done.output
    with open_store(tmp_path / "square.h5") as store:
        assert store.stream().header.recipe_id != before
        assert store.stream().header.preprocessing["square_pixels"] is True
        # The bright part is farther from the middle, so less of it is in the crop.
        assert (store.stream().read("v1").features < taken_as_square - 1).all()
    facts = json.loads(run("probe", tmp_path / "videos" / "v1.mp4", "--json"))
    assert (facts["pixel_aspect"], facts["transfer"]) == ("64:45", "PQ")


def test_two_recipes_that_are_planned_at_the_same_time(tmp_path, numbers_backbone):
    """Both find an empty store; the second one to publish keeps its parts, and publishes them when it is asked to."""
    one, other = (plan_of(tmp_path, [8, 8], clip_length=length) for length in (4, 5))
    assert run_plan(one).complete
    done = run_plan(other)
    assert (done.num_new, done.packed.published, done.packed.num_waiting, done.complete) == (2, True, 2, False)
    assert "2 finished videos are kept" in done.packed.trouble(one.out)
    with open_store(one.out) as store:
        assert [stream.header.clip_length for stream in store.streams] == [4]
    assert "another recipe" in extract(tmp_path, "--clip-length", "5", status=2).output
    assert "0 new, 2 were there" in extract(tmp_path, "--clip-length", "5", "--beside").output
    with open_store(one.out) as store:
        assert sorted(stream.header.clip_length for stream in store.streams) == [4, 5]
    assert not (tmp_path / "small.h5.parts").exists()


def test_a_segment_that_is_damaged_before_it_is_published(tmp_path, numbers_backbone):
    """Its whole videos are published, the damaged one is named, and the next run extracts it again."""
    plan = plan_of(tmp_path, [8, 16, 8])
    assert len(list(run_locally(plan))) == 3
    (path,) = list_segments(tmp_path / "small.h5.parts")
    content = bytearray(path.read_bytes())
    (found,) = find_parts(path.parent)
    content[found.parts[1].video.streams[0].offset] ^= 1
    path.write_bytes(content)
    with pytest.warns(LongtakeWarning, match="features of v1 are damaged"):
        done = run_plan(plan_of(tmp_path, [8, 16, 8]))
    assert (done.complete, done.num_new, done.packed.num_lost) == (False, 0, 1)
    assert "were damaged; run the same command again" in done.packed.trouble(done.store)
    extract(tmp_path, out="whole.h5")
    assert not equal_stores(tmp_path / "whole.h5", tmp_path / "small.h5")
    assert "1 new, 2 were there" in extract(tmp_path).stdout
    assert equal_stores(tmp_path / "whole.h5", tmp_path / "small.h5")


def test_damaged_videos_are_dropped_and_extracted_again(tmp_path, numbers_backbone):
    """By `features convert --drop-damaged` and `--retry-failed`, to the store that a run without damage makes."""
    make_dataset(tmp_path, [8, 16, 8])
    extract(tmp_path, out="whole.h5")
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes((tmp_path / "whole.h5").read_bytes())
    with open_store(damaged) as store:
        name, (begin, _) = store.stream().name, store.stream().offsets[1:3].tolist()
    with h5py.File(damaged, "r+") as file:
        file[f"streams/{name}/features"][begin] += 1
    invoke(features, "convert", damaged, tmp_path / "again.h5", "--drop-damaged", status=1)
    assert "1 new, 2 were there, 0 failed" in extract(tmp_path, "--retry-failed", out="again.h5").output
    with open_store(tmp_path / "whole.h5") as whole, open_store(tmp_path / "again.h5") as again:
        assert diff(whole, again) == []
