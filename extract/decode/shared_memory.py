"""Messages between two processes of one program and user: small values through a socket, arrays through shared memory.

A picture sent through a socket is copied in and out by the kernel, page by page, and wakes both processes several times. Here several
answers travel in one message; their arrays are copied once into the shared memory and once out. The memory has two halves: while one
is read, the other is filled. At most two messages are under way, which bounds what is computed ahead.
"""

from __future__ import annotations

import mmap
import os
import pickle
import socket
import struct
import threading
import time
from collections import deque
from typing import Any, BinaryIO, TypeAlias, cast

HALF_BYTES = 2 * 1024**2
"""Of the shared memory: a dozen pictures of 224x224. Larger arrays go through the socket."""
MESSAGE_ITEMS, MESSAGE_SECONDS = 32, 0.2
"""A message is sent when it holds this many answers, or when an answer comes this long after the previous one: answers wait only
where others follow soon."""
POLL_SECONDS = 0.2
"""How often a waiting call checks whether the run was stopped."""
_READ = b"r"
_NEVER = threading.Event()

_Answer: TypeAlias = "tuple[bytes, list[Any]]"
"""A pickled answer and its arrays: the size of each in the shared memory, or a buffer that travels with the message."""


class Stopped(Exception):
    """The run is over; the answer is no longer wanted."""


def unnamed_file() -> BinaryIO:
    """An open file that is gone when the last process closes it."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("longtake"), "r+b")
    import tempfile

    return cast(BinaryIO, tempfile.TemporaryFile())


def shared_file() -> BinaryIO:
    """An unnamed file of two halves. Raises `OSError` where there is no memory for it."""
    file = unnamed_file()
    if hasattr(os, "posix_fallocate"):
        # Reserved now: a process that fills a file without memory behind it is killed.
        os.posix_fallocate(file.fileno(), 0, 2 * HALF_BYTES)
    else:
        file.truncate(2 * HALF_BYTES)
    return file


class Outbox:
    """The answering side."""

    def __init__(self, link: socket.socket, descriptor: int) -> None:
        self._link, self._memory = link, memoryview(mmap.mmap(descriptor, 2 * HALF_BYTES))
        self._message: list[_Answer] = []
        self._last_put, self._used = -MESSAGE_SECONDS, 0
        self._num_sent = self._num_read = 0

    def put(self, answer: object, *, last: bool) -> None:
        """Add an answer; send the message when it is full or `last`. May wait for the other side. Arrays are copied before this returns."""
        buffers: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(answer, protocol=5, buffer_callback=buffers.append)
        parts = [buffer.raw() for buffer in buffers]
        size = sum(part.nbytes for part in parts)
        if self._used + size > HALF_BYTES:
            self._send()
        if size > HALF_BYTES:
            self._message.append((pickled, buffers))
            self._send()
        else:
            self._message.append((pickled, [self._copy(part) for part in parts]))
        now = time.monotonic()
        if last or len(self._message) >= MESSAGE_ITEMS or now - self._last_put > MESSAGE_SECONDS:
            self._send()
        self._last_put = now

    def settle(self) -> None:
        """Send what is left and wait until everything was read."""
        self._send()
        self._wait(0)

    def _copy(self, part: memoryview) -> int:
        self._wait(1)
        begin = self._num_sent % 2 * HALF_BYTES + self._used
        self._memory[begin : begin + part.nbytes] = part
        self._used += part.nbytes
        return part.nbytes

    def _send(self) -> None:
        if self._message:
            self._wait(1)
            send(self._link, self._message)
            self._message, self._used = [], 0
            self._num_sent += 1

    def _wait(self, num_messages: int) -> None:
        """Wait until at most this many messages are unread."""
        while self._num_sent - self._num_read > num_messages:
            self._num_read += len(_read(self._link, 1))


class Inbox:
    """The asking side."""

    def __init__(self, link: socket.socket, file: BinaryIO, stop: threading.Event) -> None:
        self._link, self._memory, self._stop = link, memoryview(mmap.mmap(file.fileno(), 2 * HALF_BYTES)), stop
        self._message: deque[_Answer] = deque()
        self._num_received, self._position = 0, 0

    def get(self) -> object:
        """The next answer, with arrays of its own. Raises `EOFError`, `ConnectionError`, `Stopped`."""
        if not self._message:
            self._message.extend(receive(self._link, self._stop))
            self._position = self._num_received % 2 * HALF_BYTES
            self._num_received += 1
        pickled, buffers = self._message.popleft()
        copied = [self._copy(buffer) if isinstance(buffer, int) else buffer for buffer in buffers]
        if not self._message:
            self._link.send(_READ)
        return pickle.loads(pickled, buffers=copied)

    def _copy(self, size: int) -> bytearray:
        begin, self._position = self._position, self._position + size
        return bytearray(self._memory[begin : self._position])


def send(link: socket.socket, message: object, stop: threading.Event = _NEVER) -> None:
    """Send anything that can be pickled. Raises `ConnectionError`, and `Stopped` once `stop` is set."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(pickled), *(buffer.raw() for buffer in buffers)]
    sizes = struct.pack(f"<{1 + len(parts)}Q", len(parts), *(part.nbytes for part in parts))
    for part in (memoryview(sizes), *parts):
        while part:
            try:
                part = part[link.send(part) :]
            except TimeoutError:
                if stop.is_set():
                    raise Stopped from None


def receive(link: socket.socket, stop: threading.Event = _NEVER) -> Any:
    """Return what `send` sent. Raises `EOFError` when the other side is gone, `Stopped` once `stop` is set."""
    (count,) = struct.unpack("<Q", _read(link, 8, stop))
    sizes = struct.unpack(f"<{count}Q", _read(link, 8 * count, stop))
    pickled, *buffers = (_read(link, size, stop) for size in sizes)
    return pickle.loads(pickled, buffers=buffers)


def _read(link: socket.socket, size: int, stop: threading.Event = _NEVER) -> bytearray:
    found = bytearray(size)
    rest = memoryview(found)
    while rest:
        try:
            count = link.recv_into(rest)
        except TimeoutError:
            if stop.is_set():
                raise Stopped from None
            continue
        if not count:
            raise EOFError
        rest = rest[count:]
    return found
