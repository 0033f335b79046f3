"""Atomic writes, and what killed processes leave."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from longtake import files
from longtake.files import Writer, clear_dead, file_sha256, is_url, temporary_path, write_whole, writer_of
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
    assert Writer.parse("12@node") == Writer(12, "node")
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
