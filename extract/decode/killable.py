"""Run calls that may hang in a process that can be killed: decoders hang on some files while they hold the interpreter lock.

The process keeps its own timer: the kernel ends it when it has reported nothing for the stall timeout, whether it is busy or hangs, and
whether or not the parent process is still alive. It also ends when the parent is gone.
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
from contextlib import ExitStack
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from longtake.errors import LongtakeError, printable
from longtake.extract.decode.shared_memory import POLL_SECONDS, Inbox, Outbox, receive, send, shared_file, unnamed_file
from longtake.extract.errors import DecoderDied, MachineLimit, VideoStalled

STALL_SECONDS = 120.0
"""Default time without a packet or a frame after which a decoder is killed. Opening a file of some GB on a slow disk takes a minute."""
NEEDS = (
    "It needs file descriptors (`ulimit -n`), processes (`ulimit -u`), memory and address space (`ulimit -v`); fewer --workers need less, "
    "and --stall-timeout 0 decodes without such processes"
)
MOST_SAID = 1 << 20
MOST_STALL_SECONDS = 7 * 24 * 3600.0
"""Timers take finite numbers only."""

T = TypeVar("T")
_Question: TypeAlias = "tuple[str, Callable[..., Any], tuple[object, ...], dict[str, object]]"
"""`call` or `stream`, the function, its arguments and its options."""


class DecoderHost(Protocol):
    """Where a function is called. Functions, methods and arguments must be picklable; errors come back as they were raised."""

    def call(self, function: Callable[..., T], *arguments: object, **options: object) -> T:
        """Return the function's result. Raises `VideoStalled`, `DecoderDied`, `Stopped`, and what the function raises."""

    def stream(self, function: Callable[..., Iterator[T]], *arguments: object, **options: object) -> Iterator[T]:
        """Yield the items of a generator one by one. Raises as `call` does."""


class InProcess:
    """Call functions in this process: no cost, but nothing can be killed."""

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(self, function: Callable[..., T], *arguments: object, **options: object) -> T:
        return function(*arguments, **options)

    def stream(self, function: Callable[..., Iterator[T]], *arguments: object, **options: object) -> Iterator[T]:
        return function(*arguments, **options)


class KillableProcess:
    """Call functions in a child process, started at the first call and again after it was killed. For one thread."""

    def __init__(self, stall_seconds: float, stop: threading.Event) -> None:
        """Kill the child after `stall_seconds` of silence, never if 0. `stop` ends waiting calls with `Stopped`."""
        self._stall_seconds, self._stop = stall_seconds, stop
        self._child: _Child | None = None

    def __enter__(self) -> KillableProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def call(self, function: Callable[..., T], *arguments: object, **options: object) -> T:
        (answer,) = self._answers(("call", function, arguments, options))
        return cast(T, answer)

    def stream(self, function: Callable[..., Iterator[T]], *arguments: object, **options: object) -> Iterator[T]:
        return self._answers(("stream", function, arguments, options))

    def _answers(self, question: _Question) -> Iterator[Any]:
        child = self._child = self._child or _Child(self._stall_seconds, self._stop)
        kind, value = self._exchange(child, question)
        try:
            while kind == "item":
                yield value
                kind, value = self._exchange(child)
        finally:
            # A caller that leaves early would read the remaining answers as those to its next question.
            if kind == "item":
                self._end()
        if kind == "error":
            raise value

    def _exchange(self, child: _Child, question: _Question | None = None) -> tuple[str, Any]:
        try:
            if question is not None:
                send(child.socket, question, self._stop)
            if not child.ready:
                receive(child.socket, self._stop)
                child.ready = True
            return cast("tuple[str, Any]", child.inbox.get())
        except (EOFError, ConnectionError) as error:
            raise self._death(child) from error
        except BaseException:
            # The remaining answers must not be taken for those to the next question.
            self._end()
            raise

    def _death(self, child: _Child) -> DecoderDied | VideoStalled | MachineLimit:
        code = child.process.wait()
        said = child.last_words()
        self._end()
        if code == -signal.SIGALRM:
            return VideoStalled(
                f"the decoder returned nothing for {self._stall_seconds:g} s and was killed, as --stall-timeout of `extract run` asks"
            )
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        if not child.ready:
            return MachineLimit(f"a process for decoding {how} before it was ready{said}. {NEEDS}")
        return DecoderDied(f"the decoder's process {how}{said}")

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


class _Child:
    """A running child process with its socket and its shared memory."""

    def __init__(self, stall_seconds: float, stop: threading.Event) -> None:
        self.ready = False
        """Whether it has been heard of."""
        with ExitStack() as opened:
            try:
                self._start(stall_seconds, stop, opened)
            except (OSError, MemoryError) as error:
                reason = getattr(error, "strerror", None) or type(error).__name__
                raise MachineLimit(f"cannot start a process for decoding: {reason}. {NEEDS}") from error
            opened.pop_all()

    def _start(self, stall_seconds: float, stop: threading.Event, opened: ExitStack) -> None:
        self.socket, theirs = socket.socketpair()
        opened.enter_context(self.socket)
        self.socket.settimeout(POLL_SECONDS)
        self._said = opened.enter_context(unnamed_file())
        # What can be imported here can be imported there, but nothing that is only in the current folder.
        path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
        with theirs, shared_file() as memory:
            self.inbox = Inbox(self.socket, memory, stop)
            descriptors = theirs.fileno(), memory.fileno()
            code = f"from longtake.extract.decode.killable import serve; serve(*{descriptors}, {stall_seconds!r})"
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-P", "-c", code],
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stderr=self._said,
                env={**os.environ, "PYTHONPATH": path},
                # Ctrl-C is for the parent process; the child ends when its socket does.
                process_group=0,
            )

    def last_words(self) -> str:
        """The last line of its error stream, for a message."""
        self._said.seek(0)
        lines = self._said.read(MOST_SAID)[-1000:].decode(errors="replace").split("\n")
        return "".join(f" ({printable(line)})" for line in [line for line in lines if line.strip()][-1:])

    def end(self) -> None:
        self._said.close()
        self.socket.close()
        self.process.kill()
        self.process.wait()


_stall_seconds = 0.0


def report_alive() -> None:
    """Restart this process's stall timer, from loops that return nothing for a while. Costs nothing where no timer runs."""
    if _stall_seconds:
        signal.setitimer(signal.ITIMER_REAL, _stall_seconds)


def serve(descriptor: int, memory: int, stall_seconds: float) -> None:
    """The child process: answer calls until the parent closes the socket."""
    global _stall_seconds
    # The default action of an alarm ends the process in the kernel: no Python runs, so a held interpreter lock does not matter.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    link = socket.socket(fileno=descriptor)
    outbox = Outbox(link, memory)
    try:
        send(link, "ready")
        while True:
            question = receive(link)
            _stall_seconds = stall_seconds
            report_alive()
            for reply in _replies(question):
                # Waiting for the parent is not a stall.
                signal.setitimer(signal.ITIMER_REAL, 0)
                outbox.put(reply, last=reply[0] != "item")
                report_alive()
            signal.setitimer(signal.ITIMER_REAL, 0)
            outbox.settle()
    except (EOFError, ConnectionError):
        # Decoders may hang in their destructors too.
        os._exit(0)


def _replies(question: _Question) -> Iterator[tuple[str, object]]:
    how, function, arguments, options = question
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
