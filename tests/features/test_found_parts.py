"""What waits in a parts folder, oldest first, of all releases."""

import os

from longtake.features.found_parts import InSegment, OldPart, count_parts, find_parts, have_vanished
from longtake.features.parts import part_writer, parts_folder
from tests.features.fakes import header, labels, make_store, video, write_part


def test_old_parts_and_segments_by_their_time(tmp_path):
    store = tmp_path / "s.h5"
    folder = parts_folder(store)
    assert find_parts(folder).parts == () and count_parts(folder) == 0
    with part_writer(store) as one, part_writer(store) as other:
        for writer, name in ((one, "a"), (other, "b"), (one, "c")):
            writer.append("d", labels([name]), {header(): video(name, 2)})
    for name, seconds in (("old", 1), ("new", 4e9)):
        path = make_store(folder / f"{name}@1.h5", {name: 2})
        os.utime(path, (seconds, seconds))
    found = find_parts(folder)
    assert [p.path.name if isinstance(p, OldPart) else p.video.video_id for p in found.parts] == [
        "old@1.h5",
        "a",
        "b",
        "c",
        "new@1.h5",
    ]
    assert [h for part in found.parts for h in part.headers()] == [header()] * 5
    assert len(found.segments) == 2 and count_parts(folder) == 5
    assert not have_vanished(found.parts)
    found.segments[0].path.unlink()
    assert have_vanished(found.parts)


def test_a_segment_that_vanishes_while_it_is_looked_for(tmp_path, monkeypatch):
    write_part(tmp_path / "s.h5", "d", labels(["a"]), {header(): video("a", 2)})

    def gone(*_):
        raise FileNotFoundError

    monkeypatch.setattr("longtake.features.found_parts.read_segment", gone)
    assert find_parts(parts_folder(tmp_path / "s.h5")).parts == ()
    assert InSegment is not OldPart
