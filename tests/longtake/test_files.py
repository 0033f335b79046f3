"""Atomic writes, and what killed processes leave."""

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from longtake import files
from longtake.files import (
    Writer,
    clear_dead,
    entries,
    file_sha256,
    is_url,
    require_regular,
    temporary_path,
    write_target,
    write_whole,
    writer_of,
)
from longtake.manifests.table import MAX_ID_BYTES


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_file_is_written_and_replaced(tmp_path):
    for content in ("text", b"bytes"):
        write_whole(tmp_path / "a", content)
        assert (tmp_path / "a").read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert os.listdir(tmp_path) == ["a"]


def test_a_write_that_fails_changes_nothing(tmp_path, monkeypatch):
    write_whole(tmp_path / "a", "before")

    def fails(*_):
        raise OSError("full")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="full"):
        write_whole(tmp_path / "a", "after")
    assert (tmp_path / "a").read_text() == "before" and os.listdir(tmp_path) == ["a"]


@pytest.fixture
def irregular(tmp_path) -> Iterator[dict[str, Path]]:
    """What is at a path and is not a regular file, by the words that name it."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as open_socket:
        open_socket.bind(str(tmp_path / "socket"))
        yield {
            "a named pipe": tmp_path / "pipe", "a folder, not a file": tmp_path / "folder", "a socket": tmp_path / "socket",
            "a device": Path("/dev/zero"),
        }  # fmt: skip


def test_only_regular_files_are_read_and_replaced(tmp_path, irregular):
    for words, path in irregular.items():
        link = tmp_path / f"link to {path.name}"
        link.symlink_to(path)
        for one in (path, link):
            for use in (require_regular, file_sha256, write_target, lambda path: write_whole(path, "x")):
                with pytest.raises(OSError, match=words):
                    use(one)
    with pytest.raises(FileNotFoundError):
        require_regular(tmp_path / "missing")


def test_a_write_through_a_link_rewrites_its_target(tmp_path):
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    (tmp_path / "step").symlink_to("folder/a")
    link.symlink_to("step")
    for content in ("made", "replaced"):
        write_whole(link, content)
        assert link.is_symlink() and (folder / "a").read_text() == content
    assert require_regular(link) == link
    assert os.listdir(folder) == ["a"]


def test_only_files_of_dead_processes_are_removed(tmp_path, dead_pid):
    mine = temporary_path(tmp_path / "a")
    host = Writer.current().host
    names = [
        mine.name,
        f".a.{dead_pid}@{host}.tmp",
        f".a.{dead_pid}@elsewhere.tmp",
        f".b.{dead_pid}@{host}.tmp",
        ".a.x.tmp",
    ]
    for name in names:
        (tmp_path / name).touch()
    clear_dead(tmp_path, "a")
    assert set(os.listdir(tmp_path)) == set(names) - {names[1]}
    clear_dead(tmp_path)
    assert set(os.listdir(tmp_path)) == set(names) - {names[1], names[3]}


def test_files_of_a_dead_process_of_another_user_do_not_block(tmp_path, dead_pid, monkeypatch):
    theirs = tmp_path / f".a.{dead_pid}@{Writer.current().host}.tmp"
    theirs.touch()
    unlink = Path.unlink

    def forbidden(path, missing_ok=False):
        if path == theirs:
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", forbidden)
    write_whole(tmp_path / "a", "whole")
    assert theirs.exists() and (tmp_path / "a").read_text() == "whole"


@pytest.mark.parametrize("name", ["x[1].h5", "a**.h5", "a?.h5"])
def test_a_name_with_special_characters_is_not_a_pattern(tmp_path, dead_pid, name):
    """`[` begins a set of characters in a pattern, and Python 3.11 raises `ValueError` for `a**`."""
    host = Writer.current().host
    own, other = (tmp_path / f".{stem}.{dead_pid}@{host}.tmp" for stem in (name, "ab.h5"))
    own.touch()
    other.touch()
    write_whole(tmp_path / name, "whole")
    assert not own.exists() and other.exists()


def test_the_writer_in_a_name(tmp_path):
    assert writer_of(temporary_path(tmp_path / "a.h5")) == Writer.current()
    assert writer_of(tmp_path / "a.h5") is None
    assert Writer.parse("12@node") == Writer(12, "node") and Writer.parse("12-5@node") == Writer(12, "node", 5)
    assert Writer.parse(str(Writer.current())) == Writer.current()
    for text in ("", "12", "12@", "x@node", "@node"):
        assert Writer.parse(text) is None


@pytest.mark.parametrize("host", ["n" * 64, "node"])
def test_names_of_temporary_files_fit_a_file_system(tmp_path, monkeypatch, host):
    files._host.cache_clear()
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename=host))
    try:
        assert files._host().partition("-")[0] == host[: files.MOST_HOST]
        temporary = temporary_path(tmp_path / f"{'v' * MAX_ID_BYTES}@12345678.h5")  # the longest name of a part
        temporary.touch()
        assert writer_of(temporary) == Writer.current()
    finally:
        files._host.cache_clear()


def test_urls(tmp_path):
    assert is_url("s3://lab/a.h5") and not is_url("a.h5") and not is_url(tmp_path)


def test_hashes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a").startswith("ba7816bf")


def test_entries_of_a_folder_that_is_removed_at_this_moment(tmp_path, monkeypatch):
    (tmp_path / "a.h5").touch()
    assert entries(tmp_path, "*.h5") == [tmp_path / "a.h5"] and entries(tmp_path / "none", "*") == []

    def gone(folder):
        raise FileNotFoundError(folder)

    monkeypatch.setattr(os, "listdir", gone)
    assert entries(tmp_path, "*.h5") == []


def test_a_folder_that_cannot_be_listed_is_not_empty(tmp_path, monkeypatch):
    """`Path.glob` of Python 3.13 finds nothing where a process has too many open files."""
    open_files = []
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    try:
        with suppress(OSError):
            while True:
                open_files.append(open(os.devnull))
        with pytest.raises(OSError, match="Too many open files"):
            entries(tmp_path, "*")
        clear_dead(tmp_path)
    finally:
        for file in open_files:
            file.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
