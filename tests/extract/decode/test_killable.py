"""Decoding that may hang: what comes back, what is killed, and that no process is left."""

import errno
import gc
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
from longtake.extract.decode.shared_memory import HALF_BYTES, Stopped
from longtake.extract.errors import DecoderDied, VideoStalled, VideoTruncated
from longtake.features.store import open_store
from tests.calls import wait_until
from tests.extract import fake_backbone, hanging
from tests.extract.media import write_video
from tests.extract.runs import extract, make_dataset

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def host():
    with KillableProcess(30.0, threading.Event()) as process:
        yield process


def children_of(parent: int | str) -> set[int]:
    """Its child processes that are alive or were not waited for."""
    tasks = Path(f"/proc/{parent}/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


@pytest.fixture(autouse=True)
def nothing_left():
    before = children_of("self")
    yield
    assert children_of("self") <= before


@pytest.mark.parametrize(
    "make", [lambda: KillableProcess(30.0, threading.Event()), InProcess], ids=["killable", "here"]
)
def test_both_hosts_answer_alike(make):
    with make() as host:
        for _ in range(2):
            found = list(host.stream(hanging.numbers, 5))
            assert [number for number, _ in found] == list(range(5))
            assert all((arrays["a"] == number).all() and arrays["a"].flags.writeable for number, arrays in found)
            assert found[0][1]["a"].shape == (300, 1000) and found[0][1]["empty"].shape == (0,)
        assert host.call(hanging.works_silently, 0.0) == "done"
        with pytest.raises(VideoTruncated, match="as it was said"):
            list(host.stream(hanging.fails, VideoTruncated))
        # Errors of the function that look like a closed connection are not taken for one.
        for kind in (EOFError, ConnectionResetError, ZeroDivisionError):
            with pytest.raises(kind):
                list(host.stream(hanging.fails, kind))


def test_an_unexpected_error_names_its_place(host):
    with pytest.raises(ZeroDivisionError) as caught:
        list(host.stream(hanging.fails, ZeroDivisionError))
    assert "hanging.py" in "".join(caught.value.__notes__)


def test_one_process_answers_all_calls(host):
    assert len({host.call(os.getpid) for _ in range(3)} | {os.getpid()}) == 2


def test_leaving_a_stream_early_does_not_spoil_the_next_answer(host):
    stream = host.stream(hanging.numbers, 50)
    next(stream)
    stream.close()
    assert [number for number, _ in host.stream(hanging.numbers, 3)] == [0, 1, 2]


def test_a_stalled_decoder_is_killed_although_it_holds_the_interpreter_lock():
    with KillableProcess(1.0, threading.Event()) as host:
        host.call(os.getpid)
        with pytest.raises(VideoStalled, match="returned nothing for 1 s and was killed, as --stall-timeout of"):
            list(host.stream(hanging.hangs_after, 3))
        assert host.call(hanging.works_silently, 0.0) == "done"


def test_slow_readers_and_long_loops_are_not_stalls():
    # Longer than a process waits on a busy machine.
    stall_seconds = 2.0
    with KillableProcess(stall_seconds, threading.Event()) as host:
        found = []
        per_half = HALF_BYTES // 300_000
        for number, _ in host.stream(hanging.numbers, 3 * per_half):
            found.append(number)
            # First while more is made, then when all is made.
            time.sleep(1.1 * stall_seconds * (number in (0, 2 * per_half)))
        assert found == list(range(3 * per_half))
        assert host.call(hanging.works_silently, 1.1 * stall_seconds) == "done"


def test_a_crash_ends_the_child_process_only(host):
    with pytest.raises(DecoderDied, match="was killed by SIGABRT"):
        host.call(os.abort)
    with pytest.raises(DecoderDied, match="ended with status 3"):
        host.call(os._exit, 3)


def test_stopping_does_not_wait_for_a_stall(tmp_path):
    stop, pid = threading.Event(), tmp_path / "pid"

    def stop_when_it_hangs():
        wait_until(pid.exists)
        stop.set()

    with KillableProcess(600.0, stop) as host:
        threading.Thread(target=stop_when_it_hangs).start()
        with pytest.raises(Stopped):
            host.call(hanging.writes_pid_and_hangs, pid)


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
    """Whether it exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_run_continues_after_a_stall_and_a_crash(tmp_path, numbers_backbone, monkeypatch):
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
    wait_until((tmp_path / "videos" / "hangs.hung").exists)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130 and b"Traceback" not in errors, errors
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


@pytest.mark.parametrize(
    "place, fault, message",
    [
        ("socket.socketpair", OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (
            "subprocess.Popen",
            OSError(errno.EAGAIN, "Resource temporarily unavailable"),
            "Resource temporarily unavailable",
        ),
        ("shared_file", OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        ("shared_file", MemoryError(), "MemoryError"),
    ],
)
def test_a_machine_without_room_for_a_decoder_is_no_fault_of_a_video(
    tmp_path, numbers_backbone, monkeypatch, place, fault, message
):
    make_dataset(tmp_path, [8, 8])

    def fail(*_, **__):
        raise type(fault)(*fault.args)  # not the object itself, which would keep its frames

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(f"longtake.extract.decode.killable.{place}", fail)
    output = extract(tmp_path, status=2).output
    assert f"cannot start a process for decoding: {message}" in output and "ulimit -n" in output
    assert output.count("error:") == 1 and "Traceback" not in output and "failed:" not in output
    monkeypatch.undo()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_process_that_cannot_start_is_one_line(tmp_path, numbers_backbone, monkeypatch, capfd):
    """As without address space for its libraries: what it prints is in the message."""
    make_dataset(tmp_path, [8, 8])
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho Traceback >&2\necho 'ImportError: cannot allocate memory' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    output = extract(tmp_path, status=2).output
    assert "ended with status 1 before it was ready (ImportError: cannot allocate memory). It needs" in output
    assert "Traceback" not in output + capfd.readouterr().err


def test_too_few_file_descriptors_end_the_run(tmp_path, numbers_backbone, monkeypatch):
    make_dataset(tmp_path, [8, 8])

    def no_more(path):
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr("longtake.extract.pipeline.reader.file_sha256", no_more)
    output = extract(tmp_path, status=2).output
    assert "too few file descriptors: raise their number with `ulimit -n`" in output and "failed:" not in output
