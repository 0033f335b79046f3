"""Videos of an export: linked where possible, copied otherwise, and nothing where there is no room."""

import os
import shutil
from collections import namedtuple

import pytest

from longtake.errors import LongtakeError
from longtake.features.catalog import media
from longtake.features.catalog.media import Placed, place_media
from longtake.features.catalog.site import Site, write


@pytest.fixture
def files(tmp_path):
    for name in ("a.mp4", "b.webm"):
        (tmp_path / name).write_bytes(name.encode() * 10)
    return {"video/0.mp4": tmp_path / "a.mp4", "video/1.webm": tmp_path / "b.webm"}


def no_links(*_):
    raise OSError("not supported")


def test_links_take_no_room(files, tmp_path):
    steps = []
    placed = place_media(files, tmp_path / "site", steps.append)
    assert placed == Placed(2, 110, 0, 0) and sorted(steps) == ["a.mp4", "b.webm"]
    assert (tmp_path / "site/video/0.mp4").samefile(tmp_path / "a.mp4")
    assert place_media(files, tmp_path / "site") == placed, "again, over what is there"
    (tmp_path / "a.mp4").unlink()
    assert (tmp_path / "site/video/0.mp4").read_bytes() == b"a.mp4" * 10


def test_a_link_is_of_the_file_and_not_of_a_link(files, tmp_path):
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    place_media({"video/0.mp4": tmp_path / "link.mp4"}, tmp_path / "site")
    assert not (tmp_path / "site/video/0.mp4").is_symlink()


def test_copies(files, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", no_links)
    placed = place_media(files, tmp_path / "site")
    assert placed == Placed(0, 0, 2, 110) and not (tmp_path / "site/video/0.mp4").samefile(tmp_path / "a.mp4")
    monkeypatch.setattr(media, "_copy", lambda *_: pytest.fail("copied a second time"))
    assert place_media(files, tmp_path / "site") == placed


def test_no_room(files, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(100))
    with pytest.raises(LongtakeError, match="no room for the videos"):
        place_media(files, tmp_path / "site")
    assert list((tmp_path / "site/video").iterdir()) == []


def test_an_export_drops_the_videos_of_an_earlier_one(files, tmp_path):
    site = Site(data={"index": b"{}"})
    write(site, tmp_path / "site", files)
    place_media(files, tmp_path / "site")
    kept = {"video/0.mp4": files["video/0.mp4"]}
    write(site, tmp_path / "site", kept)
    assert [path.name for path in (tmp_path / "site/video").iterdir()] == ["0.mp4"]
    write(site, tmp_path / "site")
    assert list((tmp_path / "site/video").iterdir()) == [] and files["video/0.mp4"].exists()
