"""Which video files may be served."""

import pytest

from longtake.train.errors import DataError
from longtake.train.view.videos import VideoFiles


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "videos"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.mp4", "deep/b.MP4", "twice.mp4", "deep/twice.mp4", "notes.txt"):
        (folder / name).write_bytes(b"x")
    return folder


def test_found_by_name_at_any_depth(folder):
    files = VideoFiles.below(folder)
    assert files.find("a.mp4") == folder / "a.mp4" and files.find("b.MP4") == folder / "deep" / "b.MP4"
    assert files.find("twice.mp4") is None, "it is not known which one is meant"
    assert files.find("notes.txt") is None, "no video by its ending"


@pytest.mark.parametrize("name", ["", "..", "../a.mp4", "deep/b.MP4", "/etc/passwd", "a.mp4/../a.mp4", "x\0.mp4"])
def test_a_name_is_never_a_path(folder, name):
    (folder.parent / "a.mp4").write_bytes(b"outside")
    assert VideoFiles.below(folder).find(name) is None


@pytest.mark.parametrize("place", ["1", "99", "-1", "\u0660", "9" * 5000, ""])
def test_other_addresses_have_no_file(folder, place):
    files = VideoFiles.below(folder).only(["a.mp4"])
    assert files.at("video/0.mp4") == folder / "a.mp4" and files.at(f"video/{place}.mp4") is None


def test_links_stay_inside(folder):
    (folder.parent / "outside.mp4").write_bytes(b"outside")
    (folder / "leaves.mp4").symlink_to(folder.parent / "outside.mp4")
    (folder / "stays.mp4").symlink_to(folder / "a.mp4")
    (folder / "far").symlink_to(folder.parent, target_is_directory=True)
    files = VideoFiles.below(folder)
    assert files.find("leaves.mp4") is None and files.find("outside.mp4") is None
    assert files.find("stays.mp4") == folder / "stays.mp4"
    (folder / "a.mp4").unlink()
    (folder / "a.mp4").symlink_to(folder.parent / "outside.mp4")
    assert files.find("a.mp4") is None, "also where the link was made after the names were read"


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(DataError, match="--videos .*none is not a folder"):
        VideoFiles.below(tmp_path / "none")
