"""The road from files to a store, with a backbone whose numbers can be checked by eye."""

import json
import random
import signal
import threading
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from longtake.extract.cli import main
from longtake.extract.decode.pyav import PyAVDecoder
from longtake.extract.errors import DecoderUnfit
from longtake.features import parts
from longtake.features.parts import lock_file, read_finished
from longtake.features.store import open_store
from longtake.features.tools.inspect import diff
from tests.extract import fake_backbone
from tests.extract.media import write_video
from tests.extract.runs import extract, make_dataset, start, wait_for_parts

ROOT = Path(__file__).resolve().parents[2]


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


def test_shards_share_one_store(tmp_path, numbers_backbone):
    """Three processes without a scheduler, each with its share, fill what one would have filled."""
    make_dataset(tmp_path, [9, 30, 5, 12, 20, 7, 4])
    extract(tmp_path)
    for number in (3, 1, 2):
        extract(tmp_path, "--shard", f"{number}/3", out="shared.h5")
        with open_store(tmp_path / "shared.h5") as store:
            done = {video_id for video_id in store.stream().videos.video_ids}
        assert {f"v{n}" for n in range(number - 1, 7, 3)} <= done
    with open_store(tmp_path / "small.h5") as one, open_store(tmp_path / "shared.h5") as other:
        assert diff(one, other) == []
    for wrong, message in (
        ("4/3", "I from 1 to N"),
        ("0/3", "I from 1 to N"),
        ("x", "takes I/N"),
        ("1/x", "takes I/N"),
    ):
        assert message in extract(tmp_path, "--shard", wrong, status=2).output


def test_shards_that_end_together(tmp_path, numbers_backbone, monkeypatch):
    """Who ends while another publishes waits, and then publishes what the other did not see; who waits in vain says so."""
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
    assert "delete the lock file" in done.stderr and "1 finished parts are kept" in done.stderr
    found = json.loads(extract(tmp_path, "--json", status=1).stdout)
    assert (found["published"], found["waiting"]) == (False, 1) and "another-machine" in found["claimed_for"]

    def stopped(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(parts.time, "sleep", stopped)
    done = extract(tmp_path, status=130)
    assert "1 finished parts are kept" in done.stderr and "were there" in done.stdout


def test_what_was_there_is_counted_by_video(tmp_path, numbers_backbone):
    """A video that failed is not among those that were there, and is listed once, for however many backbones."""
    make_dataset(tmp_path, [8, 8])
    (tmp_path / "videos" / "v0.mp4").write_bytes(b"no video")
    extract(tmp_path, status=1)
    done = extract(tmp_path, status=1)
    assert "0 new, 1 were there, 1 failed" in done.output
    found = json.loads(extract(tmp_path, "--clip-length", "8", "--beside", "--json", status=1).stdout)
    assert (found["new"], found["already_there"], len(found["failed"])) == (1, 0, 1)
    found = json.loads(extract(tmp_path, "--beside", "--json", status=1).stdout)
    assert (found["new"], found["already_there"], len(found["failed"])) == (0, 1, 1)


def test_the_same_video_asked_for_twice(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [40, 8])
    found = json.loads(extract(tmp_path, "--only", "v0", "--only", "v0", "--json").stdout)
    assert (found["new"], found["failed"]) == (1, [])


def test_a_name_that_the_disk_spells_otherwise(tmp_path, numbers_backbone):
    """A Mac takes accents apart."""
    make_dataset(tmp_path, [8])
    (tmp_path / "videos" / "v0.mp4").rename(tmp_path / "videos" / unicodedata.normalize("NFD", "été.mp4"))
    (tmp_path / "small.csv").write_text(f"video_id\n{unicodedata.normalize('NFC', 'été')}\n")
    assert "1 new" in extract(tmp_path).output


def test_an_estimate_from_a_sample(tmp_path, numbers_backbone, monkeypatch):
    make_dataset(tmp_path, [40] * 10)
    (tmp_path / "videos" / "v3.mp4").unlink()
    # 10 clips a video in batches of 3, so a third of a second a video
    monkeypatch.setattr(fake_backbone.Numbers, "seconds_per_batch", 0.1)
    call = [
        "plan",
        "--manifest",
        str(tmp_path / "small.csv"),
        "--videos",
        str(tmp_path / "videos"),
        "--weights",
        "random",
    ]
    call += ["--backbone", fake_backbone.NAME, "--sample", "3", "--workers", "2"]
    done = CliRunner().invoke(main, [*call, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["num_videos"], found["num_missing"], found["num_sampled"], found["clips"]) == (9, 1, 3, 90)
    assert found["gigabytes"] == pytest.approx(90 * 4 * 4 / 1e9, rel=0.01)
    assert found["hours"] * 3600 == pytest.approx(found["sample_seconds"] * 9 / 3 / 2, rel=0.1)
    assert found["sample_seconds"] > 0.9
    assert list(tmp_path.glob("*.h5*")) == [], "nothing is stored"
    output = CliRunner().invoke(main, call).output
    assert (
        "3 of 9 videos took" in output and "on 2 workers like this machine" in output and "1 videos of small" in output
    )
    for path in (tmp_path / "videos").iterdir():
        path.write_bytes(b"no video")
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 2 and "no video of the sample could be extracted" in done.output


def test_failures_are_rows_and_the_rest_is_stored(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8, 8, 8, 8])
    (tmp_path / "videos" / "v0.mp4").unlink()
    (tmp_path / "videos" / "v1.mp4").write_bytes(b"no video at all" * 10)
    whole = (tmp_path / "videos" / "v2.mp4").read_bytes()
    done = extract(tmp_path, status=1)
    assert "failed: v0 (find)" in done.output and "failed: v1 (decode)" in done.output
    assert "2 new" in done.output and "Traceback" not in done.output
    with open_store(tmp_path / "small.h5") as store:
        status = {r.video_id: (r.status, r.error_stage, r.error_type) for r in store.stream().records}
    assert status == {
        "v0": ("failed", "find", "VideoMissing"),
        "v1": ("failed", "decode", "VideoUnreadable"),
        "v2": ("ok", "", ""),
        "v3": ("ok", "", ""),
    }
    # A missing file that appears is taken; a broken one only when asked.
    (tmp_path / "videos" / "v0.mp4").write_bytes(whole)
    assert "failed: v1" in extract(tmp_path, status=1).output
    (tmp_path / "videos" / "v1.mp4").write_bytes(whole)
    assert "--retry-failed" in extract(tmp_path, status=1).output
    assert "failed" not in extract(tmp_path, "--retry-failed").output.replace("0 failed", "")


def test_two_files_of_one_id(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8, 8])
    (tmp_path / "videos" / "v0.mkv").write_bytes((tmp_path / "videos" / "v0.mp4").read_bytes())
    done = extract(tmp_path, status=1)
    assert "failed: v0 (find)" in done.output and "1 new" in done.output
    assert "holds v0.mkv, v0.mp4: name one of them in the manifest's column path" in done.output
    (tmp_path / "small.csv").write_text("video_id,path\nv0,v0.mp4\nv1,\n")
    assert "1 new, 1 were there, 0 failed" in extract(tmp_path).output


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


def test_resume_does_nothing_twice(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8, 8, 8])
    extract(tmp_path, "--limit", "1")
    assert "2 new, 1 were there" in extract(tmp_path).output
    before = (tmp_path / "small.h5").stat().st_mtime_ns
    assert "0 new, 3 were there" in extract(tmp_path).output
    assert (tmp_path / "small.h5").stat().st_mtime_ns == before, "nothing to do, nothing written"


def test_a_corrected_path_is_another_file(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8, 20])
    table = tmp_path / "small.csv"
    table.write_text("video_id,path\na,v0.mp4\n")
    assert "1 new" in extract(tmp_path).output
    table.write_text("video_id,path\na,v1.mp4\n")
    assert "1 new" in extract(tmp_path).output
    assert "0 new, 1 were there" in extract(tmp_path).output
    with open_store(tmp_path / "small.h5") as store:
        assert store.stream().records[0].source_name == "v1.mp4" and np.diff(store.stream().offsets).tolist() == [5]
    # What was there of another file does not stand in for one that cannot be read, or is not there.
    for name, content in (("broken", b"no video"), ("gone", None)):
        if content:
            (tmp_path / "videos" / f"{name}.mp4").write_bytes(content)
        table.write_text(f"video_id,path\na,{name}.mp4\nb,v0.mp4\n")
        extract(tmp_path, status=1)
        with open_store(tmp_path / "small.h5") as store:
            videos = store.stream().videos
            assert (videos.statuses, videos.source_names) == (("failed", "ok"), (f"{name}.mp4", "v0.mp4"))


class Refuses(PyAVDecoder):
    """Stands for a GPU whose pictures differ, which shows only when they are there."""

    name = "refuses"

    def pictures(self, info, wanted, *, num_threads):
        for number, found in enumerate(super().pictures(info, wanted, num_threads=num_threads)):
            if number == 6 and info.path.stem == "v1":
                raise DecoderUnfit("its frame 6 differs")
            yield number, {rule: np.zeros_like(picture) for rule, picture in found[1].items()}


def test_auto_reads_anew_what_the_first_decoder_refuses(tmp_path, numbers_backbone, monkeypatch):
    make_dataset(tmp_path, [16, 16])
    monkeypatch.setattr("longtake.extract.decode.auto._if_usable", lambda name: Refuses())
    done = extract(tmp_path, "--decoder", "auto", "--stall-timeout", "0")
    assert "2 new" in done.output
    extract(tmp_path, out="pyav.h5")
    with open_store(tmp_path / "small.h5") as store, open_store(tmp_path / "pyav.h5") as expected:
        assert [record.decoder for record in store.stream().records] == ["refuses", "pyav"]
        assert not store.stream().read(0).features.any()
        np.testing.assert_array_equal(store.stream().read(1).features, expected.stream().read(1).features)


def test_a_finished_run_builds_no_network(tmp_path, numbers_backbone, monkeypatch):
    make_dataset(tmp_path, [8, 8, 8])
    torch.save({"none": torch.zeros(1)}, tmp_path / "weights.pt")
    loaded = []
    monkeypatch.setattr(fake_backbone.Numbers, "load_weights", lambda self, state: loaded.append(state))
    weights = ("--weights", str(tmp_path / "weights.pt"))
    assert "3 new" in extract(tmp_path, *weights).output
    assert len(loaded) == 1
    done = extract(tmp_path, *weights, "--json")
    assert json.loads(done.stdout)["already_there"] == 3 and json.loads(done.stdout)["recipes"]
    assert len(loaded) == 1
    make_dataset(tmp_path, [8, 8, 8, 8])
    assert "1 new" in extract(tmp_path, *weights).output
    assert len(loaded) == 2


def test_another_recipe_is_refused_or_another_stream(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8, 8])
    extract(tmp_path)
    refused = extract(tmp_path, "--clip-length", "3", status=2).output
    assert "clip_length: 4 before, 3 now" in refused and "--beside" in refused and "tail" not in refused
    assert "2 new" in extract(tmp_path, "--clip-length", "3", "--beside").output
    with open_store(tmp_path / "small.h5") as store:
        assert sorted(stream.header.clip_length for stream in store.streams) == [3, 4]
        names = [stream.name for stream in store.streams]
    assert len(set(names)) == 2


def test_a_zarr_store_holds_the_same(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [10, 3, 41])
    extract(tmp_path)
    for number in (1, 3):
        extract(tmp_path, "--limit", str(number), out="small.zarr")
    assert "0 new, 3 were there" in extract(tmp_path, out="small.zarr").output
    with open_store(tmp_path / "small.h5") as one, open_store(tmp_path / "small.zarr") as other:
        assert diff(one, other) == []


def test_spans_of_one_file(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [100])
    (tmp_path / "small.csv").write_text(
        "video_id,path,start_seconds,end_seconds\nfirst,v0.mp4,0,2\nsecond,v0.mp4,2,4\n"
    )
    extract(tmp_path)
    with open_store(tmp_path / "small.h5") as store:
        stream = store.stream()
        assert np.diff(stream.offsets).tolist() == [13, 13]  # 50 frames: 12 clips of 4 and a padded one
        assert stream.read(1).start_seconds[0] == pytest.approx(2.0)
    # A corrected span is another part of the file: it is extracted anew.
    (tmp_path / "small.csv").write_text(
        "video_id,path,start_seconds,end_seconds\nfirst,v0.mp4,0,2\nsecond,v0.mp4,2,3\n"
    )
    assert "1 new" in extract(tmp_path).output
    # What was there of other seconds does not stand in for them.
    (tmp_path / "small.csv").write_text(
        "video_id,path,start_seconds,end_seconds\nfirst,v0.mp4,0,2\nsecond,v0.mp4,50,60\n"
    )
    assert "is after the end of the video" in extract(tmp_path, status=1).output
    with open_store(tmp_path / "small.h5") as store:
        assert store.stream().videos.statuses == ("ok", "failed") and np.diff(store.stream().offsets).tolist() == [
            13,
            0,
        ]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--backbone", "i3e"], "did you mean"),
        (["--tail", "dorp"], "--tail takes"),
        (["--decoder", "dekord"], "no decoder is called"),
        (["--only", "v99"], "no such video"),
        (["--fps", "-1"], "rate above 0"),
        (["--device", "cuda:99"], "cannot be used"),
        (["--videos", "nowhere"], "no folder"),
        (["--cluster-options", "site.toml"], "--cluster-options needs --cluster"),
        (["--backbone", "i3d-r50", "--clip-length", "1"], "takes clips of 2 frames or more, got 1"),
    ],
)
def test_wrong_calls(tmp_path, numbers_backbone, arguments, message):
    make_dataset(tmp_path, [8])
    done = extract(tmp_path, *arguments, status=2)
    assert message in done.output and "Traceback" not in done.output
    assert not (tmp_path / "small.h5").exists()


def test_a_dataset_without_its_videos_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["run", "--dataset", "rg", "--weights", "random"])
    assert done.exit_code == 2
    assert "no folder videos/rg" in done.output and "<video_id>.mp4" in done.output


def test_neither_dataset_nor_manifest():
    done = CliRunner().invoke(main, ["run"])
    assert done.exit_code == 2 and "--manifest" in done.output


def test_kill_nine_at_random_moments(tmp_path):
    """Ten kills, a re-run after each: the store is whole at every moment, nothing finished is lost, the end is the same."""
    make_dataset(tmp_path, [20 + number for number in range(30)])
    undisturbed = start(tmp_path, "undisturbed.h5", 0.0)
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
                except Exception as error:  # noqa: BLE001 - whatever it is, it is what this test is about
                    broken.append(error)
            time.sleep(0.01)

    reader = threading.Thread(target=read_all_the_time)
    reader.start()
    try:
        kills = 0
        while kills < 10:
            run = start(tmp_path, "killed.h5", 0.04)
            # Starting takes over a second, and a whole run a few more: kill anywhere in between and at the end.
            wait_for_parts(run, tmp_path / "killed.h5.parts", rng.randrange(0, 4))
            time.sleep(rng.uniform(0, 0.15))
            run.send_signal(signal.SIGKILL)
            run.communicate()
            kills += 1
            now = held(store_path)
            assert finished <= now, "a finished video was lost"
            finished = now
    finally:
        stop.set()
        reader.join()
    assert not broken, broken[0]
    last = start(tmp_path, "killed.h5", 0.0)
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
    run = start(tmp_path, "small.h5", 0.1)
    wait_for_parts(run, tmp_path / "small.h5.parts", 2)
    run.send_signal(signal.SIGINT)
    output, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors
    facts = json.loads(output)
    assert facts["interrupted"] and 2 <= facts["new"] < 12
    assert "Traceback" not in errors
    with open_store(tmp_path / "small.h5") as store:
        assert len(store.stream().records) == facts["new"]
