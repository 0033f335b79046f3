"""What waits in a parts folder, oldest first, of all releases."""

import os

from longtake.features.found_parts import MEMORY_PER_BYTE, InSegment, OldPart, count_parts, find_parts, have_vanished
from longtake.features.parts import part_writer, parts_folder
from longtake.features.segments.reader import list_segments
from tests.features.fakes import header, labels, list_parts, make_store, video, write_part


def test_old_parts_and_segments_by_their_time(tmp_path):
    store = tmp_path / "s.h5"
    folder = parts_folder(store)
    assert [found.parts for found in find_parts(folder)] == [()] and count_parts(folder) == 0
    with part_writer(store) as one, part_writer(store) as other:
        for writer, name in ((one, "a"), (other, "b"), (one, "c")):
            writer.append("d", labels([name]), {header(): video(name, 2)})
    for name, seconds in (("old", 1), ("new", 4e9)):
        path = make_store(folder / f"{name}@1.h5", {name: 2})
        os.utime(path, (seconds, seconds))
    (found,) = find_parts(folder)
    assert [p.path.name if isinstance(p, OldPart) else p.video.video_id for p in found.parts] == [
        "old@1.h5",
        "a",
        "b",
        "c",
        "new@1.h5",
    ]
    assert [h for part in found.parts for h in part.headers()] == [header()] * 5
    assert len(found.segments) == 2 and count_parts(folder) == 5
    paths = {part.path for part in found.parts}
    assert not have_vanished(paths)
    found.segments[0].path.unlink()
    assert have_vanished(paths)


def test_some_parts_after_the_others(tmp_path):
    """By the times of their files. A segment is never divided, so the smallest share is one."""
    store = tmp_path / "s.h5"
    folder = parts_folder(store)
    for number in range(6):
        with part_writer(store) as writer:
            for name in (f"v{number}a", f"v{number}b"):
                writer.append("d", labels([name]), {header(): video(name, 2)})
        (path,) = {*list_segments(folder)} - {path for path in list_segments(folder) if path.stat().st_mtime < 100}
        os.utime(path, (90 - number, 90 - number))
    os.utime(make_store(folder / "old@1.h5", {"old": 2}), (1, 1))
    (everything,) = find_parts(folder)
    a_segment = MEMORY_PER_BYTE * everything.segments[0].num_text_bytes
    assert 500 < a_segment < 20_000
    assert everything.parts[0].path.name == "old@1.h5" and count_parts(folder) == 13
    assert len(list_parts(store)) == 7

    def shares(memory):
        return [[segment.videos[0].video_id for segment in one.segments] for one in find_parts(folder, memory=memory)]

    assert shares(0) == [[], *([f"v{number}a"] for number in range(5, -1, -1))]
    everything.parts[0].path.unlink()
    assert shares(2.5 * a_segment) == [["v5a", "v4a"], ["v3a", "v2a"], ["v1a", "v0a"]]
    assert shares(100 * a_segment) == shares(None) == [[f"v{number}a" for number in range(5, -1, -1)]]


def test_a_segment_that_was_sealed_since_it_was_listed(tmp_path, monkeypatch):
    """It has another name then, and is read by it, once."""
    store = tmp_path / "s.h5"
    with part_writer(store) as writer:
        path = writer.append("d", labels(["a"]), {header(): video("a", 2)})
    (sealed,) = list_segments(parts_folder(store))
    assert path != sealed
    monkeypatch.setattr("longtake.features.found_parts.list_segments", lambda _: [path, sealed])
    for memory in (None, 0):
        found = [one for one in find_parts(parts_folder(store), memory=memory) if one.segments]
        assert [part.video.video_id for one in found for part in one.parts] == ["a"]
        assert [segment.path for one in found for segment in one.segments] == [sealed]


def test_a_segment_that_vanishes_while_it_is_looked_for(tmp_path, monkeypatch):
    write_part(tmp_path / "s.h5", "d", labels(["a"]), {header(): video("a", 2)})

    def gone(*_):
        raise FileNotFoundError

    monkeypatch.setattr("longtake.features.found_parts.read_segment", gone)
    assert [found.parts for found in find_parts(parts_folder(tmp_path / "s.h5"))] == [()]
    assert InSegment is not OldPart
