from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from longtake.features.errors import FeaturesError, NotAStore
from longtake.features.remotes.folder import FolderPlace
from longtake.files import Writer


def test_no_hidden_or_temporary_file_is_listed_or_left(tmp_path):
    place = FolderPlace(str(tmp_path))
    place.put("stores/a/1", b"x")
    (tmp_path / "stores" / "a" / ".1.77@host.tmp").write_bytes(b"half")
    assert place.walk("stores") == ["a/1"]
    assert place.create("stores/a/2", b"y") and not place.create("stores/a/2", b"z")
    assert sorted(os.listdir(tmp_path / "stores" / "a")) == [".1.77@host.tmp", "1", "2"]


def test_the_next_version_removes_what_a_killed_push_left_of_an_earlier_one(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as ended:
        writer = Writer.of(ended.pid)
        ended.kill()
    (tmp_path / f".1.json.abcd1234.{writer}.tmp").write_bytes(b"x")
    assert FolderPlace(str(tmp_path)).create("2.json", b"y")
    assert os.listdir(tmp_path) == ["2.json"]


def test_a_file_system_without_hard_links_is_refused(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(FeaturesError, match="no hard links"):
        FolderPlace(str(tmp_path)).create("a", b"x")
    assert os.listdir(tmp_path) == []


def test_files_that_are_not_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="named pipe"):
        FolderPlace(str(tmp_path)).read("pipe", 9)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FeaturesError, match="is a file"):
        FolderPlace(str(tmp_path / "file")).require_writable()
    with pytest.raises(NotAStore, match="is missing"):
        FolderPlace(str(tmp_path)).read_range("none", 0, 1)


def test_a_url_of_a_folder(tmp_path):
    FolderPlace(f"file://{tmp_path}").put("a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"
