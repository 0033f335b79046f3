"""Calls that may never come back, in a process that can be killed: decoders hang on some files, and hold the interpreter's lock.

The process keeps its own time: the kernel ends it when it has said nothing for so long, whatever it is doing, and whether or not
the process that started it still lives. It ends too when that one is gone.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from longtake.errors import LongtakeError
from longtake.extract.decode.shared_memory import LOOK_SECONDS, Inbox, Outbox, receive, send, shared_file
from longtake.extract.errors import DecoderDied, VideoStalled

STALL_SECONDS = 120.0
"""A decoder is given up after so long without a packet or a frame. Opening a file of some GB on a slow disk takes a minute."""
MOST_STALL_SECONDS = 7 * 24 * 3600.0
"""A timer takes no number that is not finite."""

T = TypeVar("T")


class DecoderHost(Protocol):
    """Where a function is called. Functions, methods and arguments must be picklable; errors come back as they were raised."""

    def call(self, function: Callable[..., T], *arguments: object, **options: object) -> T:
        """Raises `VideoStalled`, `DecoderDied`, `Stopped`, and what the function raises."""

    def stream(self, function: Callable[..., Iterator[T]], *arguments: object, **options: object) -> Iterator[T]:
        """The items of a generator, one by one. Raises as `call` does."""


class InProcess:
    """This process: nothing to pay, nothing to kill."""

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(self, function: Callable[..., T], *arguments: object, **options: object) -> T:
        return function(*arguments, **options)

    def stream(self, function: Callable[..., Iterator[T]], *arguments: object, **options: object) -> Iterator[T]:
        return function(*arguments, **options)


class KillableProcess:
    """A process of its own, started with the first call and again after it had to be killed. For one thread."""

    def __init__(self, stall_seconds: float, stop: threading.Event) -> None:
        self._stall_seconds, self._stop = stall_seconds, stop
        self._process: subprocess.Popen | None = None
        self._socket: socket.socket | None = None
        self._inbox: Inbox | None = None

    def __enter__(self) -> KillableProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def call(self, function: Callable[..., T], *arguments: object, **options: object) -> T:
        (answer,) = self._answers("call", function, arguments, options)
        return answer

    def stream(self, function: Callable[..., Iterator[T]], *arguments: object, **options: object) -> Iterator[T]:
        return self._answers("stream", function, arguments, options)

    def _answers(self, how: str, function: Callable, arguments: tuple, options: dict) -> Iterator:
        if self._process is None:
            self._start()
        kind, value = self._exchange((how, function, arguments, options))
        try:
            while kind == "item":
                yield value
                kind, value = self._exchange()
        finally:
            # Whoever leaves in the middle would find the rest of the answers before those to the next question.
            if kind == "item":
                self._end()
        if kind == "error":
            raise value

    def _exchange(self, question: tuple | None = None) -> tuple:
        try:
            if question is not None:
                send(self._socket, question, self._stop)
            return self._inbox.get()
        except (EOFError, ConnectionError) as error:
            raise self._obituary() from error
        except BaseException:
            # The rest of the answers must not be taken for those to the next question.
            self._end()
            raise

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(LOOK_SECONDS)
        # What can be imported here can be imported there, and nothing that happens to lie in the current folder.
        path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
        with theirs, shared_file() as memory:
            self._inbox = Inbox(self._socket, memory, self._stop)
            descriptors = theirs.fileno(), memory.fileno()
            code = f"from longtake.extract.decode.killable import serve; serve(*{descriptors}, {self._stall_seconds!r})"
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code],
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
                # Ctrl-C is for the process that was called; this one ends when its socket does.
                process_group=0,
            )

    def _obituary(self) -> DecoderDied | VideoStalled:
        code = self._process.wait()
        self._end()
        if code == -signal.SIGALRM:
            return VideoStalled(
                f"the decoder gave nothing for {self._stall_seconds:g} s and was killed, as --stall-timeout of `extract run` has it"
            )
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return DecoderDied(f"the decoder's process {how}")

    def _end(self) -> None:
        if self._process is None:
            return
        self._socket.close()
        self._process.kill()
        self._process.wait()
        self._process = self._socket = self._inbox = None


_stall_seconds = 0.0


def report_alive() -> None:
    """Said in loops that put nothing out: this process has not stalled. Costs nothing where nobody waits for it."""
    if _stall_seconds:
        signal.setitimer(signal.ITIMER_REAL, _stall_seconds)


def serve(descriptor: int, memory: int, stall_seconds: float) -> None:
    """The process that is apart: answer calls until nobody asks any more."""
    global _stall_seconds
    # The kernel's own way with an alarm: no Python is needed for it, so holding the interpreter's lock does not help.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    link = socket.socket(fileno=descriptor)
    outbox = Outbox(link, memory)
    try:
        while True:
            question = receive(link)
            _stall_seconds = stall_seconds
            report_alive()
            for reply in _replies(*question):
                # Waiting for whoever asked is no stall.
                signal.setitimer(signal.ITIMER_REAL, 0)
                outbox.put(reply, last=reply[0] != "item")
                report_alive()
            signal.setitimer(signal.ITIMER_REAL, 0)
            outbox.settle()
    except (EOFError, ConnectionError):
        # Decoders may hang in their destructors too.
        os._exit(0)


def _replies(how: str, function: Callable, arguments: tuple, options: dict) -> Iterator[tuple[str, object]]:
    try:
        answer = function(*arguments, **options)
        for item in answer if how == "stream" else (answer,):
            yield "item", item
    except Exception as error:  # noqa: BLE001 - it is raised again where the function was called
        if not isinstance(error, LongtakeError):
            error.add_note("".join(traceback.format_exception(error)))
        yield "error", error
    else:
        yield "end", None
