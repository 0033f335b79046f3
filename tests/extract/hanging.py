"""Decoders that misbehave, importable where the process of a decoder can find them."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from longtake.extract.decode.killable import report_alive
from longtake.extract.decode.pyav import PyAVDecoder


def hang() -> None:
    """For ever, holding the interpreter's lock: no other thread runs, no signal handler of Python's is called."""
    ctypes.PyDLL(None).sleep(10_000)


class Hanging(PyAVDecoder):
    """Hangs at the fourth frame of files called `hangs`, and dies over files called `dies`."""

    def pictures(self, info, wanted, *, num_threads):
        for number, found in enumerate(super().pictures(info, wanted, num_threads=num_threads)):
            if number == 3 and info.path.stem == "hangs":
                hang()
            if number == 3 and info.path.stem == "dies":
                os.kill(os.getpid(), signal.SIGSEGV)
            yield found


class HangsOverHeaders(PyAVDecoder):
    def promised_seconds(self, path):
        if path.stem == "hangs":
            hang()
        return super().promised_seconds(path)


class Faulty(PyAVDecoder):
    """Fails as a decoder does whose library has changed: over the headers or at the fourth frame, as a file's name says."""

    def description(self) -> str:
        return "faulty 1.2"

    def probe(self, path, *, exact=False):
        if path.stem == "header":
            raise TypeError("open() got an unexpected\nkeyword")
        return super().probe(path, exact=exact)

    def promised_seconds(self, path):
        if path.stem == "header":
            raise AttributeError("no duration")
        return super().promised_seconds(path)

    def pictures(self, info, wanted, *, num_threads):
        for number, found in enumerate(super().pictures(info, wanted, num_threads=num_threads)):
            if number == 3 and info.path.stem == "frame":
                raise CannotBeRebuilt(1, 2)
            yield found


class CannotBeRebuilt(Exception):
    """A library's own error, which another process cannot make from its message."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} is not {two}")


class OnlyMP4(PyAVDecoder):
    """Stands for NVDEC, which does not read everything."""

    name = "only-mp4"

    def description(self) -> str:
        return "only-mp4 1"

    def unfit(self, info) -> str:
        return "" if "mp4" in info.container else "it is no MP4"


def numbers(count: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    for number in range(count):
        yield number, {"a": np.full((300, 1000), number, np.uint8), "empty": np.zeros(0)}


def stamped(count: int, num_bytes: int, pause_seconds: float) -> Iterator[tuple[float, np.ndarray]]:
    """When each was made, and as much beside it."""
    for number in range(count):
        yield time.monotonic(), np.full(num_bytes, number, np.uint8)
        time.sleep(pause_seconds)


def made_when_taken(count: int, folder: Path, pause_seconds: float) -> Iterator[int]:
    """The next is made when a file says that the one before has arrived."""
    for number in range(count):
        yield number
        deadline = time.monotonic() + 20
        while not (folder / str(number)).exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{number} was held back")
            time.sleep(0.01)
        time.sleep(pause_seconds)


class Unreadable:
    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple:
        return divmod, (self.number, 0)


def fails(kind: type[Exception]) -> Iterator[int]:
    yield 1
    raise kind("as it was said")


def hangs_after(count: int) -> Iterator[int]:
    yield from range(count)
    hang()


def works_silently(seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        report_alive()
        time.sleep(0.05)
    return "done"


def writes_pid_and_hangs(path: Path) -> None:
    path.write_text(str(os.getpid()))
    hang()
