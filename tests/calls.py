"""Commands as a test calls them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
from click.testing import CliRunner, Result


def invoke(command: click.Command, *arguments: object, status: int = 0) -> Result:
    """The result of a command; fails if its exit status is not `status` or it prints a traceback."""
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert done.exit_code == status, (done.output, done.exception)
    assert "Traceback" not in done.output, done.output
    return done


ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def started(module: str, *arguments: object) -> Iterator[subprocess.Popen]:
    """A command as a process in a process group of its own; the whole group is killed at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)], cwd=ROOT, start_new_session=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def group_ends(process: subprocess.Popen, seconds: float = 60) -> bool:
    """Whether all processes of the group end by themselves. The tracker of shared memory ends a moment after the others."""
    until = time.monotonic() + seconds
    with suppress(ProcessLookupError):
        while time.monotonic() < until:
            process.poll()  # A dead process remains until its status is read.
            os.killpg(process.pid, 0)
            time.sleep(0.1)
        return False
    return True


def wait_for(folder: Path, pattern: str, count: int, seconds: float = 120) -> None:
    """Wait until the folder holds `count` files."""
    wait_until(lambda: len(list(folder.glob(pattern))) >= count, seconds)


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)
