"""Segments that are torn, damaged, still written, or seen from another machine: whole videos are read, and nothing else."""

import errno
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from longtake.features.errors import NotAStore
from longtake.features.segments import reader
from longtake.features.segments.frames import DEFINITION, HEAD, framed
from longtake.features.segments.reader import (
    DamagedVideo,
    SegmentFiles,
    damaged_videos,
    list_segments,
    read_segment,
    remove_segment,
    restore_hidden,
    set_aside,
)
from longtake.features.segments.records import Definition
from longtake.features.segments.writer import SegmentWriter, renamed, segment_name
from longtake.files import Writer
from tests.features.fakes import header, labels, video

DEAD = Writer(2**22 + 1, Writer.current().host, 1)
FOREIGN = Writer(77, "another-machine", 5)
NOW = 2e9


def segment(folder, names="abc", writer=None, state="open", clips=2):
    """A segment of another process, with a failure where a name is upper case."""
    folder.mkdir(exist_ok=True)
    with SegmentWriter(folder) as own:
        for name in names:
            path = own.append(
                "d", labels([name]), {header(): video(name, 0 if name.isupper() else clips, seed=ord(name))}
            )
        if state == "open":
            shutil.copy(path, folder / "kept")
    source = folder / "kept" if state == "open" else renamed(path, "sealed")
    target = folder / segment_name(writer or DEAD, "01234567", state)
    source.rename(target)
    renamed(path, "sealed").unlink(missing_ok=True)
    return target


def ids(found):
    return "".join(one.video_id for one in found.videos)


def values(path, found):
    with SegmentFiles() as files:
        return {one.video_id: files.read(path, one.streams[0]).features.tobytes() for one in found.videos}


def test_a_segment_that_is_cut_at_every_byte(tmp_path):
    """As a kill leaves it: the videos before the cut are whole, and the number of bytes after them is said."""
    path = segment(tmp_path)
    whole = path.read_bytes()
    found = read_segment(path, NOW)
    assert ids(found) == "abc" and found.is_final and not found.torn_bytes
    ends = [HEAD.size, *(one.streams[0].offset + one.streams[0].num_bytes + 7 & ~7 for one in found.videos)]
    expected = values(path, found)
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        cut = read_segment(path, NOW)
        num_whole = sum(end <= size for end in ends[1:])
        assert ids(cut) == "abc"[:num_whole] and cut.is_final
        assert values(path, cut).items() <= expected.items()
        # A definition before the first video is no loss by itself.
        if size in ends or size == 0:
            assert not cut.torn_bytes and not cut.faults
        elif size >= HEAD.size and num_whole:
            assert cut.torn_bytes == size - ends[num_whole] and not cut.faults


@pytest.mark.parametrize("state", ["open", "sealed"])
def test_a_byte_that_changed_anywhere(tmp_path, state):
    """No other value is read: the video is left out with a message, or refused when its features are read."""
    path = segment(tmp_path, "aBc", state=state, clips=1)
    whole = path.read_bytes()
    expected = values(path, read_segment(path, NOW))
    num_harmless = 0
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 0x20
        path.write_bytes(content)
        if 8 <= place < 12:
            with pytest.raises(NotAStore, match="of version"):
                read_segment(path, NOW)
            continue
        found = read_segment(path, NOW)
        if place < 8:
            assert ids(found) == "aBc" and found.is_final and found.faults and not found.torn_bytes
        try:
            got = values(path, found)
        except DamagedVideo as error:
            assert error.video_id in "ac"
            continue
        assert got.items() <= expected.items()
        if got == expected and not found.torn_bytes and not found.faults:
            num_harmless += 1
    # Only the bytes that fill arrays up to a multiple of 8, here 4 for each video with a clip, and the last 4 of the head change nothing.
    assert num_harmless == 12


def test_damage_in_the_middle_is_named(tmp_path):
    path = segment(tmp_path, "abc", state="sealed")
    content = bytearray(path.read_bytes())
    place = content.index(b"VIDE") + 40
    content[place] ^= 1
    path.write_bytes(content)
    found = read_segment(path, NOW)
    assert ids(found) == "bc" and found.is_final and not found.torn_bytes
    assert found.faults[0].startswith("bytes ") and "2 videos can be read" in found.faults[1]
    assert found.num_lost == 1
    place = content.rindex(b"VIDE") - 4
    content[place : content.index(b"LTFREND ")] = b""
    path.write_bytes(content)
    assert read_segment(path, NOW).num_lost == 2, "by its end"


def test_a_sealed_segment_without_its_end(tmp_path):
    path = segment(tmp_path, state="sealed")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"END ") - 4])
    found = read_segment(path, NOW)
    assert ids(found) == "abc" and found.faults == ("its end is missing",)


def test_arrays_that_the_disk_lost(tmp_path):
    """After a power failure the file has its size and no content."""
    path = segment(tmp_path)
    last = read_segment(path, NOW).videos[-1].streams[0]
    content = bytearray(path.read_bytes())
    content[last.offset :] = bytes(len(content) - last.offset)
    path.write_bytes(content)
    found = read_segment(path, NOW)
    assert ids(found) == "ab" and found.torn_bytes and not found.faults


@pytest.mark.parametrize(
    "changes", [{"dim": 1 << 40}, {"backbone": "a\0b"}, {"backbone": "\ud800"}, {"backbone": "x" * 300}]
)
def test_recipes_that_no_store_can_hold(tmp_path, changes):
    """A store with such a stream could be written and not be read again."""
    path = segment(tmp_path, "A")
    content = path.read_bytes()
    begin, end = content.index(b"LTFRDEFN"), content.index(b"LTFRVIDE")
    wrong = Definition("d", (replace(header(), **changes).to_json(),), ("total",))
    path.write_bytes(content[:begin] + b"".join(framed(DEFINITION, wrong.to_json())) + content[end:])
    found = read_segment(path, NOW)
    assert not found.videos and "no store can hold" in found.faults[0]


@pytest.mark.parametrize("writer", [Writer.of(os.getppid()), FOREIGN])
def test_a_segment_that_is_still_written(tmp_path, writer):
    """It is read up to its last whole video, without a message, whatever of the rest can be seen."""
    path = segment(tmp_path, writer=writer)
    whole = path.read_bytes()
    now = path.stat().st_mtime
    starts = [0, *(frame for frame in range(8, len(whole), 8) if whole[frame : frame + 8] == b"LTFRVIDE"), len(whole)]
    for number, begin in enumerate(starts[1:-1]):
        for content in (
            whole[: begin + 40],
            whole[:begin] + bytes(starts[number + 2] - begin) + whole[starts[number + 2] :],
            *([bytes(16) + whole[16:]] if number == 0 else []),
        ):
            path.write_bytes(content)
            found = read_segment(path, now)
            assert ids(found) == "abc"[:number] and not (found.is_final or found.faults or found.torn_bytes)
    path.write_bytes(whole)
    assert ids(read_segment(path, now)) == "abc" and not read_segment(path, now).is_final


def test_a_sealed_segment_that_is_not_all_there_yet(tmp_path):
    """A network file system may show the name of a file before all of its content."""
    path = segment(tmp_path, writer=FOREIGN, state="sealed")
    whole = path.read_bytes()
    middle = whole.rindex(b"LTFRVIDE")
    for content in (whole[: middle + 30], whole[:middle] + bytes(100) + whole[middle + 100 :], b""):
        path.write_bytes(content)
        now = path.stat().st_mtime
        found = read_segment(path, now)
        assert ids(found) in ("ab", "") and not (found.is_final or found.faults)
        late = read_segment(path, now + reader.FOREIGN_SECONDS + 1)
        assert late.is_final and (late.faults or not content)
    path.write_bytes(whole)
    assert read_segment(path, path.stat().st_mtime).is_final


def test_a_writer_of_another_machine_that_has_long_ended(tmp_path):
    path = segment(tmp_path, writer=FOREIGN)
    now = path.stat().st_mtime
    assert not read_segment(path, now + reader.FOREIGN_SECONDS - 1).is_final
    assert read_segment(path, now + reader.FOREIGN_SECONDS + 1).is_final


def test_features_that_changed_after_they_were_found(tmp_path):
    path = segment(tmp_path)
    found = read_segment(path, NOW)
    content = bytearray(path.read_bytes())
    content[found.videos[1].streams[0].offset + 3] ^= 1
    path.write_bytes(content)
    with SegmentFiles() as files:
        files.read(path, found.videos[0].streams[0])
        with pytest.raises(DamagedVideo, match="features of b are damaged") as error:
            files.read(path, found.videos[1].streams[0])
    assert error.value.place == (path, found.videos[1].streams[0].offset)


def test_a_segment_that_is_sealed_while_it_is_read(tmp_path):
    path = segment(tmp_path, writer=Writer.of(os.getppid()))
    found = read_segment(path, NOW)
    sealed = path.rename(renamed(path, "sealed"))
    assert values(path, found).keys() == set("abc")
    again = read_segment(path, NOW)
    assert again.path == sealed and ids(again) == "abc"


def test_all_damaged_videos_are_found_at_once(tmp_path):
    path = segment(tmp_path)
    found = read_segment(path, NOW)
    content = bytearray(path.read_bytes())
    for one in (found.videos[0], found.videos[2]):
        content[one.streams[0].offset] ^= 1
    path.write_bytes(content)
    with SegmentFiles() as files, pytest.raises(DamagedVideo) as error:
        files.read(path, found.videos[2].streams[0])
    assert sorted(one.video_id for one in damaged_videos(found, error.value)) == ["a", "c"]
    path.unlink()
    assert damaged_videos(found, error.value) == [error.value]


def test_more_segments_than_may_be_open(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "OPEN_FILES", 2)
    made = [segment(tmp_path / name, name) for name in "abcd"]
    found = [read_segment(path, NOW) for path in made]
    with SegmentFiles() as files:
        for _ in range(2):
            for path, one in zip(made, found):
                np.testing.assert_array_equal(
                    files.read(path, one.videos[0].streams[0]).features,
                    video("x", 2, seed=ord(one.videos[0].video_id)).features,
                )
                assert len(files._files) <= 2


def test_a_segment_that_grew_is_not_removed(tmp_path):
    path = segment(tmp_path)
    found = read_segment(path, NOW)
    with path.open("ab") as file:
        file.write(b"more")
    assert not remove_segment(found) and path.exists()
    assert remove_segment(read_segment(path, NOW)) and not list(tmp_path.iterdir())
    assert remove_segment(found), "another packer was first"


def test_a_segment_that_grew_on_another_machine(tmp_path, monkeypatch):
    """What this one knows of its size may be old."""
    path = segment(tmp_path)
    found = read_segment(path, NOW)
    hidden, before, stat = path.with_name(f".{path.name}"), path.stat(), os.stat
    with path.open("ab") as file:
        file.write(b"more")
    monkeypatch.setattr(os, "stat", lambda name, *a, **b: before if name == hidden else stat(name, *a, **b))
    assert not remove_segment(found)
    monkeypatch.undo()
    assert path.exists()


def test_a_removal_that_was_killed_is_taken_back(tmp_path):
    path = segment(tmp_path)
    path.rename(path.with_name(f".{path.name}"))
    assert not list_segments(tmp_path)
    restore_hidden(tmp_path)
    assert list_segments(tmp_path) == [path]


def test_a_damaged_segment_is_kept_and_not_listed(tmp_path):
    aside = set_aside(read_segment(segment(tmp_path), NOW))
    assert aside.exists() and aside.suffix == ".damaged" and not list_segments(tmp_path)


def test_what_cannot_be_removed_stays(tmp_path, monkeypatch):
    """The store has its videos already, so the command continues."""
    path = segment(tmp_path)
    found = read_segment(path, NOW)

    def read_only(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "rename", read_only)
    assert not remove_segment(found) and set_aside(found) == path and path.exists()


def test_files_that_are_no_segments(tmp_path):
    path = tmp_path / segment_name(DEAD, "01234567", "sealed")
    path.write_bytes(b"something else, longer than a head")
    assert read_segment(path, NOW).num_lost == 1 and not read_segment(path, NOW).videos
    path.write_bytes(HEAD.pack(b"\x89LTSEG\r\n", 9, 0))
    with pytest.raises(NotAStore, match=f"{path.name}.*version 9"):
        read_segment(path, NOW)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="named pipe"):
        read_segment(path, NOW)
    assert Path(path).exists() and time.time() < NOW
