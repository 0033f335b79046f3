"""Decoders and functions that misbehave, importable in the process of a decoder."""

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
    """Hang with the interpreter lock held: no other thread runs, and Python calls no signal handler."""
    ctypes.PyDLL(None).sleep(10_000)


class Hanging(PyAVDecoder):
    """Hangs at the fourth frame of files called `hangs`, and dies over files called `dies`."""

    def pictures(self, info, wanted, *, num_threads):
        for number, found in enumerate(super().pictures(info, wanted, num_threads=num_threads)):
            if number == 3 and info.path.stem == "hangs":
                info.path.with_suffix(".hung").touch()
                hang()
            if number == 3 and info.path.stem == "dies":
                os.kill(os.getpid(), signal.SIGSEGV)
            yield found


class Faulty(PyAVDecoder):
    """Fails like a decoder whose library has changed: at the header or at the fourth frame, as the file's name says."""

    def description(self) -> str:
        return "faulty 1.2"

    def probe(self, path, *, exact=False):
        if path.stem == "header":
            raise TypeError("open() got an unexpected\nkeyword")
        return super().probe(path, exact=exact)

    def pictures(self, info, wanted, *, num_threads):
        for number, found in enumerate(super().pictures(info, wanted, num_threads=num_threads)):
            if number == 3 and info.path.stem == "frame":
                raise CannotBeRebuilt(1, 2)
            yield found


class CannotBeRebuilt(Exception):
    """A library's own error, which another process cannot rebuild from its message."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} is not {two}")


class OnlyMP4(PyAVDecoder):
    """Replaces NVDEC, which does not read every file."""

    name = "only-mp4"

    def description(self) -> str:
        return "only-mp4 1"

    def unfit(self, info) -> str:
        return "" if "mp4" in info.container else "it is not an MP4"


def numbers(count: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    for number in range(count):
        yield number, {"a": np.full((300, 1000), number, np.uint8), "empty": np.zeros(0)}


def arrays(count: int, num_bytes: int, made: Path | None = None) -> Iterator[np.ndarray]:
    """Arrays full of their number; the file `made` grows by a byte with each."""
    for number in range(count):
        if made is not None:
            with made.open("ab") as file:
                file.write(b".")
        yield np.full(num_bytes, number, np.uint8)


def made_when_taken(count: int, folder: Path, pause_seconds: float) -> Iterator[int]:
    """Makes the next number when a file shows that the previous one has arrived."""
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
