"""Decoding that may hang: what comes back, what is killed, and that nothing is left over."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from longtake.extract import decode
from longtake.extract.cli import main
from longtake.extract.decode.killable import InProcess, KillableProcess
from longtake.extract.decode.shared_memory import HALF_BYTES, MESSAGE_ITEMS, MESSAGE_SECONDS, Stopped
from longtake.extract.errors import DecoderDied, VideoStalled, VideoTruncated
from longtake.features.store import open_store
from tests.extract import fake_backbone, hanging
from tests.extract.media import write_video

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def apart():
    with KillableProcess(30.0, threading.Event()) as host:
        yield host


def children_of(parent: int | str) -> set[int]:
    """Processes that it started and that still live, or were not waited for."""
    tasks = Path(f"/proc/{parent}/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


@pytest.fixture(autouse=True)
def nothing_left():
    before = children_of("self")
    yield
    assert children_of("self") <= before


@pytest.mark.parametrize("make", [lambda: KillableProcess(30.0, threading.Event()), InProcess], ids=["apart", "here"])
def test_both_places_answer_alike(make):
    with make() as host:
        for _ in range(2):
            found = list(host.stream(hanging.numbers, 5))
            assert [number for number, _ in found] == list(range(5))
            assert all((arrays["a"] == number).all() and arrays["a"].flags.writeable for number, arrays in found)
            assert found[0][1]["a"].shape == (300, 1000) and found[0][1]["empty"].shape == (0,)
        assert host.call(hanging.works_silently, 0.0) == "done"
        with pytest.raises(VideoTruncated, match="as it was said"):
            list(host.stream(hanging.fails, VideoTruncated))
        # One that looks like the end of the connection is only an error of the function.
        for kind in (EOFError, ConnectionResetError, ZeroDivisionError):
            with pytest.raises(kind):
                list(host.stream(hanging.fails, kind))


def test_a_defect_says_where_it_was(apart):
    with pytest.raises(ZeroDivisionError) as caught:
        list(apart.stream(hanging.fails, ZeroDivisionError))
    assert "hanging.py" in "".join(caught.value.__notes__)


def test_one_process_for_all_questions(apart):
    assert len({apart.call(os.getpid) for _ in range(3)} | {os.getpid()}) == 2


@pytest.mark.parametrize("num_bytes", [0, 1, HALF_BYTES // 5, HALF_BYTES // 2, HALF_BYTES, HALF_BYTES + 1])
def test_arrays_of_any_size_come_as_they_were(apart, num_bytes):
    count = 2 * MESSAGE_ITEMS + 3
    found = [array for _, array in apart.stream(hanging.stamped, count, num_bytes, 0.0)]
    assert len(found) == count
    assert all(len(array) == num_bytes and (array == number).all() for number, array in enumerate(found))
    assert apart.call(np.arange, 3).tolist() == [0, 1, 2]


def test_what_does_not_fit_passes_nothing_by(apart):
    sizes = [10, HALF_BYTES + 1, HALF_BYTES, 10, 2 * HALF_BYTES, 0, HALF_BYTES // 2 + 1, HALF_BYTES // 2 + 1]
    found = list(apart.stream(map, np.zeros, sizes))
    assert [len(array) for array in found] == sizes
    assert len(list(apart.stream(map, np.zeros, [HALF_BYTES + 1] * 150))) == 150
    assert list(apart.stream(range, 10_000)) == list(range(10_000))


def test_what_comes_slowly_is_not_held_back(apart, tmp_path):
    found = []
    for number in apart.stream(hanging.made_when_taken, 4, tmp_path, 2 * MESSAGE_SECONDS):
        found.append(number)
        (tmp_path / str(number)).touch()
    assert found == list(range(4))


def test_no_more_is_made_ahead_than_the_memory_holds(apart):
    stream = apart.stream(hanging.stamped, 20, HALF_BYTES // 4, 0.0)
    next(stream)
    time.sleep(0.5)
    slept = time.monotonic()
    made = [moment for moment, _ in stream]
    # The first, two halves of four, and one that waits for room.
    assert sum(moment > slept for moment in made) >= 20 - 10


def test_an_answer_that_cannot_be_read_spoils_no_later_one(apart):
    with pytest.raises(ZeroDivisionError):
        list(apart.stream(map, hanging.Unreadable, range(3)))
    assert [number for number, _ in apart.stream(hanging.numbers, 3)] == [0, 1, 2]


def test_leaving_in_the_middle_spoils_no_later_answer(apart):
    stream = apart.stream(hanging.numbers, 50)
    next(stream)
    stream.close()
    assert [number for number, _ in apart.stream(hanging.numbers, 3)] == [0, 1, 2]


def test_a_stall_is_killed_though_it_holds_the_interpreter():
    with KillableProcess(1.0, threading.Event()) as host:
        host.call(os.getpid)
        began = time.monotonic()
        with pytest.raises(VideoStalled, match="returned nothing for 1 s and was killed, as --stall-timeout of"):
            list(host.stream(hanging.hangs_after, 3))
        assert 0.9 < time.monotonic() - began < 20
        assert host.call(hanging.works_silently, 0.0) == "done"


def test_neither_slow_readers_nor_long_loops_are_stalls():
    # Longer than a busy machine lets a process wait.
    stall_seconds = 2.0
    with KillableProcess(stall_seconds, threading.Event()) as host:
        found = []
        per_half = HALF_BYTES // 300_000
        for number, _ in host.stream(hanging.numbers, 3 * per_half):
            found.append(number)
            # While more is made, and when all is.
            time.sleep(1.1 * stall_seconds * (number in (0, 2 * per_half)))
        assert found == list(range(3 * per_half))
        assert host.call(hanging.works_silently, 1.1 * stall_seconds) == "done"


def test_a_crash_is_not_ours(apart):
    with pytest.raises(DecoderDied, match="was killed by SIGABRT"):
        apart.call(os.abort)
    with pytest.raises(DecoderDied, match="ended with status 3"):
        apart.call(os._exit, 3)


def test_stopping_does_not_wait_for_a_stall():
    stop = threading.Event()
    with KillableProcess(600.0, stop) as host:
        host.call(os.getpid)
        threading.Timer(0.3, stop.set).start()
        began = time.monotonic()
        with pytest.raises(Stopped):
            list(host.stream(hanging.hangs_after, 0))
        assert time.monotonic() - began < 20


def test_a_stalled_process_does_not_outlive_a_killed_parent(tmp_path):
    code = (
        "import pathlib, threading; from longtake.extract.decode.killable import KillableProcess; from tests.extract import hanging; "
        f"KillableProcess(2.0, threading.Event()).call(hanging.writes_pid_and_hangs, pathlib.Path({str(tmp_path / 'pid')!r}))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    pid = int((tmp_path / "pid").read_text())
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_running(pid))


def test_an_idle_process_does_not_outlive_a_killed_parent(tmp_path):
    code = (
        "import os, threading, time; from longtake.extract.decode.killable import KillableProcess; host = KillableProcess(0.0, threading.Event()); "
        "print(host.call(os.getpid), flush=True); time.sleep(1000)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    )
    pid = int(parent.stdout.readline())
    assert is_running(pid)
    parent.kill()
    parent.communicate()
    wait_until(lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    """Not gone, and not a zombie that nobody waits for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(true) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_goes_on_after_a_stall_and_a_crash(tmp_path, numbers_backbone, monkeypatch):
    monkeypatch.setattr(decode, "TABLE", {**decode.TABLE, "hanging": "tests.extract.hanging:Hanging"})
    (tmp_path / "videos").mkdir()
    names = ("before", "hangs", "dies", "after")
    for name in names:
        write_video(tmp_path / "videos" / f"{name}.mp4", 20)
    (tmp_path / "m.csv").write_text("video_id\n" + "\n".join(names) + "\n")
    call = ["run", "--manifest", str(tmp_path / "m.csv"), "--videos", str(tmp_path / "videos"), "--weights", "random",
            "--backbone", numbers_backbone, "--out", str(tmp_path / "m.h5")]  # fmt: skip
    done = CliRunner().invoke(main, [*call, "--decoder", "hanging", "--stall-timeout", "2"])
    assert done.exit_code == 1, done.output
    assert "hangs (decode): the decoder returned nothing for 2 s and was killed" in done.output
    with open_store(tmp_path / "m.h5") as store:
        found = {r.video_id: (r.status, r.error_stage, r.error_type) for r in store.stream().records}
    assert found == {
        "before": ("ok", "", ""), "after": ("ok", "", ""), "hangs": ("failed", "decode", "VideoStalled"),
        "dies": ("failed", "decode", "DecoderDied"),
    }  # fmt: skip


def test_ctrl_c_does_not_wait_for_a_stall(tmp_path):
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "hangs.mp4", 20)
    (tmp_path / "m.csv").write_text("video_id\nhangs\n")
    code = (
        "from longtake.extract import decode; from longtake.extract.cli import main; from tests.extract import fake_backbone; "
        "fake_backbone.install(); decode.TABLE['hanging'] = 'tests.extract.hanging:Hanging'; "
        f"main(['run', '--manifest', 'm.csv', '--videos', 'videos', '--weights', 'random', '--backbone', "
        f"{fake_backbone.NAME!r}, '--decoder', 'hanging', '--stall-timeout', '600', '--out', 'm.h5'])"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    wait_until(lambda: children_of(run.pid))
    (decoding,) = children_of(run.pid)
    time.sleep(3)
    began = time.monotonic()
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130 and b"Traceback" not in errors, errors
    assert time.monotonic() - began < 30
    assert not is_running(decoding)


def test_zero_decodes_in_this_process(tmp_path, numbers_backbone):
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", 20)
    (tmp_path / "m.csv").write_text("video_id\na\n")
    features = []
    for seconds in ("0", "60"):
        out = tmp_path / f"{seconds}.h5"
        call = ["run", "--manifest", str(tmp_path / "m.csv"), "--videos", str(tmp_path / "videos"), "--weights", "random",
                "--backbone", numbers_backbone, "--out", str(out), "--stall-timeout", seconds]  # fmt: skip
        assert CliRunner().invoke(main, call).exit_code == 0
        with open_store(out) as store:
            features.append(store.stream().read("a").features)
    np.testing.assert_array_equal(*features)
