"""Remotes of every kind for tests, and counts of what they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from longtake.features.remotes import pull as pull_module
from longtake.features.remotes import push as push_module
from longtake.features.remotes.place import open_place
from longtake.features.remotes.pull import Pulled, pull
from longtake.features.remotes.push import Pushed, Terms, finish, push
from longtake.features.store import open_store
from longtake.features.store_name import require_store_name
from longtake.features.tools.inspect import diff
from tests.features.servers import s3_server

KINDS = ["folder", "s3"]


@contextmanager
def remote_of(kind: str, tmp_path: Path, monkeypatch) -> Iterator[str]:
    """An empty remote that can be written."""
    if kind == "folder":
        yield str(tmp_path / "remote")
        return
    with s3_server(monkeypatch) as bucket:
        yield f"s3://{bucket}/{uuid4().hex}"  # moto keeps the objects of all its servers in one table


def push_path(path: Path, remote: str, name: str = "rg", **terms: object) -> Pushed:
    with open_store(path) as store:
        done = push(store, remote, name=name, terms=Terms(**terms))
        finish(remote, {}, done.version)
        return done


def pull_name(name: str, remote: object, **choices: object) -> Pulled:
    return pull(require_store_name(name), str(remote), **choices)


def differences(one: object, other: object) -> list[str]:
    """As `features diff` prints them."""
    with open_store(one) as first, open_store(other) as second:
        return [f"{found.kind} {found.what}" for found in diff(first, second)]


class Counted:
    """A place that counts what is read from it, by the first folder of the path."""

    def __init__(self, place) -> None:
        self._place, self.read_bytes, self.asked = place, {}, []

    def __getattr__(self, name):
        return getattr(self._place, name)

    def _count(self, path, data):
        self.asked.append(path)
        kind = path.partition("/")[0]
        self.read_bytes[kind] = self.read_bytes.get(kind, 0) + len(data or b"")
        return data

    def read(self, path, limit):
        return self._count(path, self._place.read(path, limit))

    def read_range(self, path, begin, end):
        return self._count(path, self._place.read_range(path, begin, end))


def counted(monkeypatch) -> list[Counted]:
    """Every place that is opened from now on is in the list."""
    opened: list[Counted] = []

    def open_counted(remote):
        opened.append(Counted(open_place(remote)))
        return opened[-1]

    for module in (pull_module, push_module):
        monkeypatch.setattr(module, "open_place", open_counted)
    return opened
