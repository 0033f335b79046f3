"""Commands of ours in processes forked from one that has imported them: they start in milliseconds, so that hundreds can be killed."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

EQUAL, REFUSED, CHANGED = 0, 3, 5
"""Exit statuses of the comparison of two stores."""
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
NAMES = {"extract": "longtake.extract.cli", "features": "longtake.features.cli", "train": "longtake.train.cli"}
_CONTEXT = multiprocessing.get_context("forkserver")
_PRELOAD = [
    "torch",
    "longtake.extract.run",
    "longtake.train.runs.evaluate",
    "tests.extract.fake_backbone",
    *NAMES.values(),
]
SECONDS_PER_BATCH = 0.02
"""Of the network, which is a test's and computes nothing: without it, every run ends before it is killed."""
MOST_SECONDS = 60.0
"""What takes longer hangs."""


class Forked:
    """`extract`, `features` or `train` with its arguments, in a process group of its own."""

    def __init__(self, said: Path, name: str, *arguments: object, most_bytes: int = 0) -> None:
        """`said`: file for what it prints. `most_bytes`: no file may become larger, as on a full disk; 0 is no limit."""
        os.environ.update(PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
        _CONTEXT.set_forkserver_preload(_PRELOAD)
        self._said = said
        said.write_text("")
        call = (name, [str(argument) for argument in arguments], said, most_bytes)
        self.process = _CONTEXT.Process(target=_run, args=call)
        self.process.start()

    def kill(self, seconds: float) -> bool:
        """Kill -9 after so many seconds; whether it was still running."""
        self.process.join(seconds)
        if is_running := self.process.is_alive():
            os.kill(self.process.pid or 0, signal.SIGKILL)
        self.process.join()
        return is_running

    def children(self) -> list[int]:
        """Ids of its decoders, and of other processes that it has started."""
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        return [int(line) for line in found.stdout.split()]

    def end(self) -> tuple[int, str]:
        """Exit status and what it printed. A process that hangs is killed, and has status -9."""
        self.process.join(MOST_SECONDS)
        if self.process.is_alive():
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.join()
        return self.process.exitcode or 0, self._said.read_text(errors="replace")


def call(said: Path, name: str, *arguments: object, most_bytes: int = 0) -> tuple[int, str]:
    return Forked(said, name, *arguments, most_bytes=most_bytes).end()


def seconds_of(said: Path, name: str, *arguments: object) -> float:
    """How long a command takes that ends well."""
    began = time.perf_counter()
    status, output = call(said, name, *arguments)
    if status:
        raise SystemExit(f"{name} {' '.join(map(str, arguments))} ended with {status}: {output}")
    return time.perf_counter() - began


def _run(name: str, arguments: list[str], said: Path, most_bytes: int) -> None:
    from importlib import import_module

    from tests.extract import fake_backbone

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with said.open("w") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    if most_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    fake_backbone.install(SECONDS_PER_BATCH)
    if name == "compare":
        sys.exit(_compare(*map(Path, arguments)))
    import_module(NAMES[name]).main(arguments)


def _compare(reference: Path, path: Path) -> int:
    """Read all values of two stores: an exit status of `faults.py`."""
    from longtake.errors import LongtakeError
    from longtake.features.store import open_store

    refused = False
    with open_store(reference) as ours:
        try:
            theirs = open_store(path)
        except LongtakeError as error:
            print(error)
            return REFUSED
        for read in _reads(ours):
            try:
                found = read(theirs)
            except LongtakeError as error:
                print(error)
                refused = True
                continue
            if _plain(read(ours)) != _plain(found):
                print(f"other values: {found}")
                return CHANGED
    return REFUSED if refused else EQUAL


def _reads(store: Any) -> Iterator[Callable[[Any], object]]:
    """What reads one thing after the other of a store like this one."""
    yield lambda other: (other.dataset, [stream.name for stream in other.streams], len(other.texts))
    yield lambda other: asdict(other.labels)
    for number, stream in enumerate(store.streams):
        yield lambda other, n=number: (other.streams[n].header, [asdict(one) for one in other.streams[n].records])
        for video_id in stream.videos.video_ids:
            yield lambda other, n=number, v=video_id: asdict(other.streams[n].read(v))


def _plain(value: object) -> object:
    """To be compared bit for bit; what is missing equals what is missing. When a video was finished does not count."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if key != "finished_utc"}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return (value.dtype, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else repr(value)
