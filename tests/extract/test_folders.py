"""Files of a whole table, looked up at once."""

import os

import pytest

from longtake.extract import folders
from longtake.extract.folders import absent, stem_of


@pytest.mark.parametrize("listed_from", [1, 4])
def test_paths_at_which_nothing_is(tmp_path, monkeypatch, listed_from):
    monkeypatch.setattr(folders, "LISTED_FROM", listed_from)
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("one.mp4", "a/two.mp4", "a/b/three.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "a" / "link.mp4").symlink_to("two.mp4")
    (tmp_path / "a" / "broken.mp4").symlink_to("nothing.mp4")
    there = {"one.mp4", "a/two.mp4", "./a//b/three.mp4", "a/link.mp4", "a/b"}
    gone = {"two.mp4", "a/One.mp4", "a/TWO.mp4", "a/broken.mp4", "no/a/one.mp4", "one.mp4/x", "a/b/c/d", "a/b/z\0"}
    assert absent(tmp_path, [*there, *gone]) == gone
    assert absent(tmp_path, []) == set()


def test_a_folder_is_listed_once(tmp_path, monkeypatch):
    """And no file is looked up by itself, however many rows a table has."""
    for number in range(50):
        (tmp_path / f"v{number}.mp4").touch()
    listed, looked_up = [], []
    scandir, stat = os.scandir, os.stat
    monkeypatch.setattr(folders.os, "scandir", lambda folder: listed.append(folder) or scandir(folder))
    monkeypatch.setattr(folders.os, "stat", lambda *path, **how: looked_up.append(path) or stat(*path, **how))
    missing = absent(tmp_path, [f"v{number}.mp4" for number in range(100)])
    assert len(missing) == 50 and len(listed) == 1 and not looked_up


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any folder")
def test_a_folder_without_permission_is_left_to_the_reader(tmp_path):
    (tmp_path / "a").mkdir(mode=0)
    assert absent(tmp_path, [f"a/{number}.mp4" for number in range(9)]) == set()


@pytest.mark.parametrize("name", ["a.mp4", "a", "a.b.mp4", ".a", "a..mp4", "..a", "a."])
def test_stems(tmp_path, name):
    assert stem_of(name) == ("a." if name == "a." else (tmp_path / name).stem)
