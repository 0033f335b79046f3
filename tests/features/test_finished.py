"""What a store and its parts hold, of which a run resumes."""

import os
from dataclasses import replace

import pytest

from longtake.features import found_parts
from longtake.features.errors import FeaturesError
from longtake.features.finished import read_finished
from longtake.features.parts import pack, parts_folder
from longtake.features.segments.writer import SegmentWriter
from tests.features.fakes import header, labels, make_store, video, write_part

IDS = ["a", "b", "c", "d"]


def part(store, video_id, num_clips, source=""):
    found = video(video_id, num_clips, header().dim)
    found = replace(found, record=replace(found.record, source_name=source))
    return write_part(store, "d", labels(IDS).subset([IDS.index(video_id)]), {header(): found})


def finished(store):
    return read_finished(store, "d", None).records.get(header().recipe_id, {})


def publish(store):
    return pack(store, dataset="d", card=None, labels=labels(IDS))


def test_of_several_results_the_one_that_will_be_published(tmp_path):
    """In any order of files: features count and not a failure of the same file, else the later result."""
    for order in ((1, 2, 3), (3, 2, 1), (2, 3, 1)):
        store = tmp_path / f"{order[0]}{order[1]}" / "s.h5"
        part(store, "a", 3, "one.mp4")
        publish(store)
        paths = [part(store, "a", 0, "one.mp4"), part(store, "b", 2, "old.mp4"), part(store, "b", 2, "new.mp4")]
        for path, seconds in zip(paths, order):
            os.utime(path, (seconds, seconds))
        found = finished(store)
        assert found["a"].status == "ok" and found["b"].source_name == "new.mp4"
        publish(store)
        assert repr(sorted(finished(store).items())) == repr(sorted(found.items()))


def test_several_results_count_in_the_order_in_which_they_were_finished(tmp_path):
    """A failure of another file replaces features, and after it, a failure of their own file is one like any other."""
    for reverse in (False, True):
        store = tmp_path / str(reverse) / "s.h5"
        part(store, "a", 3, "one.mp4")
        publish(store)
        paths = [part(store, "a", 0, "two.mp4"), part(store, "a", 0, "one.mp4")]
        for seconds, path in enumerate(reversed(paths) if reverse else paths):
            os.utime(path, (seconds, seconds))
        found = finished(store)["a"]
        assert (found.status, found.source_name) == ("failed", "one.mp4")
        publish(store)
        assert repr(finished(store)["a"]) == repr(found)


def test_a_later_result_of_another_file_replaces_that_of_the_store(tmp_path):
    store = tmp_path / "s.h5"
    part(store, "a", 3, "one.mp4")
    publish(store)
    part(store, "a", 0, "two.mp4")
    assert finished(store)["a"].status == "failed"


def test_a_part_that_is_published_while_it_is_looked_at(tmp_path, monkeypatch):
    store = tmp_path / "s.h5"
    for video_id in ("a", "b"):
        part(store, video_id, 3)
    read, published = found_parts.read_segment, []

    def others_publish_now(path, now):
        if not published:
            published.append(True)
            publish(store)
        return read(path, now)

    monkeypatch.setattr(found_parts, "read_segment", others_publish_now)
    assert set(finished(store)) == {"a", "b"} and published and not parts_folder(store).exists()


def test_an_old_part_that_is_published_while_it_is_looked_at(tmp_path, monkeypatch):
    store = tmp_path / "s.h5"
    path = make_store(parts_folder(store) / "a@1.h5", {"a": 3})
    before = found_parts._read

    def published_since(path, now):
        found = before(path, now)
        monkeypatch.setattr(found_parts, "_read", before)
        publish(store)
        return found

    monkeypatch.setattr(found_parts, "_read", published_since)
    assert set(finished(store)) == {"a"} and not path.exists()


def test_a_damaged_old_part_is_an_error(tmp_path):
    path = make_store(parts_folder(tmp_path / "s.h5") / "a@1.h5", {"a": 3})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FeaturesError):
        finished(tmp_path / "s.h5")


def test_segments_are_read_one_at_a_time(tmp_path, monkeypatch):
    """All at once would take kilobytes of each video."""
    store = tmp_path / "s.h5"
    with SegmentWriter(parts_folder(store)) as writer:
        for number in range(100):
            name = f"v{number}"
            writer.append("d", labels([name]), {header(): video(name, 1)})
    sizes = []
    find = found_parts._found
    monkeypatch.setattr(
        found_parts, "_found", lambda parts, segments: sizes.append(len(segments)) or find(parts, segments)
    )
    assert len(finished(store)) == 100 and sizes == [1, 1, 1, 1]
