"""Compiled networks on disk."""

import os

import pytest

from longtake.extract.backbones import compiled_cache
from longtake.extract.backbones.download import where


def test_what_was_written_is_read_and_anything_else_is_not():
    path = compiled_cache.path_of({"weights": "a"})
    assert path.parent == where().parent / "openvino" and compiled_cache.read(path) is None
    compiled_cache.write(path, b"network")
    assert compiled_cache.read(path) == b"network"
    assert [one.name for one in path.parent.iterdir()] == [path.name], "no temporary file is left"
    assert compiled_cache.read(compiled_cache.path_of({"weights": "b"})) is None


@pytest.mark.parametrize(
    "spoil", [lambda c: c[:-1], lambda c: c + b"x", lambda c: b"x" + c[1:], lambda c: b"", lambda c: c[:30]]
)
def test_corrupt_files_are_removed(caplog, spoil):
    path = compiled_cache.path_of({})
    compiled_cache.write(path, b"network")
    path.write_bytes(spoil(path.read_bytes()))
    assert compiled_cache.read(path) is None and not path.exists()
    assert "is corrupt: the network is converted again" in caplog.text


def test_files_of_other_users_and_links_are_not_read(caplog, monkeypatch):
    path = compiled_cache.path_of({})
    compiled_cache.write(path, b"network")
    link = path.with_name("link.network")
    link.symlink_to(path)
    assert compiled_cache.read(link) is None
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert compiled_cache.read(path) is None and path.exists()
    assert "of another user" in caplog.text


def test_users_who_share_a_folder_have_files_of_their_own(monkeypatch):
    mine = compiled_cache.path_of({})
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert compiled_cache.path_of({}) != mine


def test_a_folder_that_cannot_be_written_is_a_warning(caplog, cache):
    cache.parent.mkdir()
    (cache.parent / "openvino").write_text("a file")
    compiled_cache.write(compiled_cache.path_of({}), b"network")
    assert "the compiled network cannot be kept" in caplog.text


def test_a_pipe_in_the_place_of_a_file_is_not_opened():
    path = compiled_cache.path_of({})
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert compiled_cache.read(path) is None


def test_without_a_home_folder_nothing_is_kept(monkeypatch):
    monkeypatch.setenv("LONGTAKE_CACHE", "~nobody-of-this-name/cache")
    assert compiled_cache.path_of({}) is None and compiled_cache.read(None) is None
    compiled_cache.write(None, b"network")


def test_the_folder_has_a_bound_and_what_was_not_used_for_longest_goes(monkeypatch):
    paths = [compiled_cache.path_of({"weights": name}) for name in "abc"]
    for age, path in enumerate(paths[:2]):
        compiled_cache.write(path, b"network")
        os.utime(path, (age, age))
    assert compiled_cache.read(paths[0]), "used after the other"
    monkeypatch.setattr(compiled_cache, "MOST_BYTES", 2 * paths[0].stat().st_size)
    compiled_cache.write(paths[2], b"network")
    assert [path.exists() for path in paths] == [True, False, True]
    monkeypatch.setattr(compiled_cache, "MOST_BYTES", 1)
    compiled_cache.write(paths[2], b"network")
    assert [path.exists() for path in paths] == [False, False, True], "the last one is kept"
