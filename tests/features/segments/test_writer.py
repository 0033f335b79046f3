"""Segments that are written: what is synced, when one ends, and what a full disk leaves."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from longtake.features.parts import pack
from longtake.features.segments import writer as module
from longtake.features.segments.reader import list_segments, read_segment
from longtake.features.segments.writer import SegmentLimits, SegmentWriter, parse_name
from longtake.features.store import open_store
from longtake.files import Writer
from tests.features.fakes import header, labels, video


def append(writer, name, num_clips=2):
    return writer.append("d", labels([name]), {header(): video(name, num_clips, seed=ord(name))})


def ids(folder):
    return [[one.video_id for one in read_segment(path, 0).videos] for path in list_segments(folder)]


def states(folder):
    return sorted(parse_name(path.name)[1] for path in list_segments(folder))


def test_one_sync_for_a_video_and_none_for_a_failure(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.fstat(file).st_ino), fsync(file)))
    with SegmentWriter(tmp_path / "p") as writer:
        path = append(writer, "a")
        places = [tmp_path / "p", tmp_path, path]
        assert synced == [place.stat().st_ino for place in places], "its name, that of the folder, and the video"
        append(writer, "b")
        append(writer, "c", 0)
        assert len(synced) == 4
        assert states(tmp_path / "p") == ["open"] and ids(tmp_path / "p") == [["a", "b", "c"]]
    assert states(tmp_path / "p") == ["sealed"] and ids(tmp_path / "p") == [["a", "b", "c"]]
    assert parse_name(path.name)[0] == Writer.current()


@pytest.mark.parametrize(
    "limits",
    [
        SegmentLimits(num_bytes=100),
        SegmentLimits(num_videos=1),
        SegmentLimits(seconds=0),
    ],
)
def test_a_large_or_old_segment_is_sealed(tmp_path, limits):
    with SegmentWriter(tmp_path, limits) as writer:
        for name in "abc":
            append(writer, name)
        assert states(tmp_path) == ["open", "sealed", "sealed"]
    assert sorted(ids(tmp_path)) == [["a"], ["b"], ["c"]] and states(tmp_path) == ["sealed"] * 3


def test_what_is_seen_only_when_it_is_whole(tmp_path):
    with pytest.raises(RuntimeError), SegmentWriter(tmp_path / "p", at_once=False) as writer:
        append(writer, "a")
        assert not list_segments(tmp_path / "p")
        raise RuntimeError("the second video cannot be read")
    assert not (tmp_path / "p").exists()
    with SegmentWriter(tmp_path / "p", at_once=False) as writer:
        append(writer, "a")
    assert ids(tmp_path / "p") == [["a"]] and states(tmp_path / "p") == ["sealed"]


def test_nothing_is_written_for_no_videos(tmp_path):
    with SegmentWriter(tmp_path / "p"):
        pass
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("room", [0, 1, 40, 700, 1000])
def test_a_full_disk_leaves_whole_videos(tmp_path, monkeypatch, room):
    """It is written to as far as there is room, then the incomplete end is cut off, and the next video follows."""
    writev, left = os.writev, []

    def limited(file, pieces):
        if not left:
            return writev(file, pieces)
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = os.write(file, b"".join(bytes(piece) for piece in pieces)[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr(module.os, "writev", limited)
    with SegmentWriter(tmp_path) as writer:
        append(writer, "a")
        left.append(room)
        with pytest.raises(OSError, match="No space") as error:
            append(writer, "b", 60)
        assert Path(error.value.filename).suffix == ".open"
        assert ids(tmp_path) == [["a"]]
        left.clear()
        append(writer, "c")
    (path,) = list_segments(tmp_path)
    found = read_segment(path, 0)
    assert [one.video_id for one in found.videos] == ["a", "c"] and not found.faults and not found.torn_bytes


def test_an_end_that_cannot_be_repaired_is_left(tmp_path, monkeypatch):
    writev, broken = os.writev, []

    def half(file, pieces):
        if not broken:
            return writev(file, pieces)
        if broken == ["again"]:
            broken[0] = "over"
            return os.write(file, bytes(pieces[0])[:20])
        raise OSError(errno.EIO, "Input/output error")

    def fails(file, size):
        raise OSError(errno.EIO, "Input/output error")

    with SegmentWriter(tmp_path) as writer:
        append(writer, "a")
        with monkeypatch.context() as patch:
            patch.setattr(module.os, "writev", half)
            patch.setattr(module.os, "ftruncate", fails)
            broken.append("again")
            with pytest.raises(OSError, match="Input/output"):
                append(writer, "b")
        append(writer, "c")
    assert states(tmp_path) == ["open", "sealed"] and sorted(ids(tmp_path)) == [["a"], ["c"]]


def test_a_sync_that_fails_is_an_error_of_the_video(tmp_path, monkeypatch):
    """What is on the disk is not known then, and another sync would not say so: the next video gets another segment."""
    with SegmentWriter(tmp_path) as writer:
        append(writer, "a")
        with monkeypatch.context() as patch:
            patch.setattr(
                module.os, "fsync", lambda file: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error"))
            )
            with pytest.raises(OSError, match="Input/output"):
                append(writer, "b")
        append(writer, "c")
    assert states(tmp_path) == ["open", "sealed"]


def test_a_writer_that_was_taken_for_dead(tmp_path):
    """On two machines of one name: its segment is packed and removed while it runs. What it appends later is not lost."""
    store = tmp_path / "s.h5"
    folder = tmp_path / "s.h5.parts"
    with SegmentWriter(folder) as writer:
        append(writer, "a").unlink()
        append(writer, "b")
        append(writer, "c")
        assert ids(folder) == [["b", "c"]]
    pack(store, dataset="d", card=None, labels=labels(["a", "b", "c"]))
    with open_store(store) as opened:
        assert opened.stream().videos.video_ids == ("b", "c")


def test_a_network_file_system_that_remembers_a_removed_file(tmp_path, monkeypatch):
    """`os.stat` answers from a cache for up to a minute; nothing may be appended to a file that another machine has removed."""
    stat, cached = os.stat, {}
    monkeypatch.setattr(os, "stat", lambda path, *a, **b: cached.get(os.fspath(path)) or stat(path, *a, **b))
    with SegmentWriter(tmp_path) as writer:
        path = append(writer, "a")
        cached[os.fspath(path)] = stat(path)
        path.unlink()
        append(writer, "b")
        assert ids(tmp_path) == [["b"]]


def test_a_forked_process_begins_a_segment_of_its_own(tmp_path):
    with SegmentWriter(tmp_path) as writer:
        append(writer, "a")
        child = os.fork()
        if not child:
            append(writer, "b")
            writer.seal()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        append(writer, "c")
    assert sorted(ids(tmp_path)) == [["a", "c"], ["b"]]


def test_names():
    name = f"segment-0123abcd.{Writer.current()}.open"
    assert parse_name(name) == (Writer.current(), "open")
    for other in ("v1@0123abcd.h5", name + "x", name.replace("0123", "xyz_"), f".{name}", "segment-0123abcd.x.open"):
        assert parse_name(other) is None


def test_two_backbones_for_some_videos(tmp_path):
    """A video that lacks one of two backbones: the recipes are said again where they change."""
    other = header("other", 5)
    with SegmentWriter(tmp_path) as writer:
        for name, heads in (("a", [header(), other]), ("b", [other]), ("c", [header(), other])):
            writer.append("d", labels([name]), {head: video(name, 2, head.dim) for head in heads})
    (path,) = list_segments(tmp_path)
    found = read_segment(path, 0)
    assert [[s.header.backbone for s in one.streams] for one in found.videos] == [
        ["fake", "other"],
        ["other"],
        ["fake", "other"],
    ]
    assert np.all([s.header in (header(), other) for one in found.videos for s in one.streams])
