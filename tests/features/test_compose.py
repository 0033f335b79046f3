"""Which result of a video counts: the later one, but no failure for features, and no result that was published before."""

import os
from dataclasses import replace

import numpy as np
import pytest

from longtake.features.compose import replaces
from longtake.features.finished import read_finished
from longtake.features.parts import pack, part_writer, parts_folder
from longtake.features.segments.writer import renamed, segment_name
from longtake.features.store import open_store
from longtake.features.types import FAILED, VideoRecord
from longtake.files import Writer
from tests.features.fakes import header, labels, list_parts, make_store, video, write_part

LIVING = Writer.of(os.getppid())
"""A process of this machine that runs."""


def test_failures_and_older_results_do_not_replace_features():
    done = VideoRecord("a", source_name="a.mp4", finished_utc="2026-11-30T00:00:00+00:00")
    at = 1796256000 - 261 * 86400  # some earlier time
    failed = replace(done, status=FAILED, finished_utc="")
    other = replace(failed, source_name="b.mp4")
    later = int(4e18)
    assert not replaces(failed, later, done) and replaces(other, later, done)
    assert replaces(done, later, done) and not replaces(done, at * 10**9, done)
    ahead = replace(failed, finished_utc="2099-01-01T00:00:00+00:00")
    assert replaces(done, later, ahead), "the clock of the machine that failed was ahead"
    assert not replaces(replace(done, source_name="b.mp4"), later, ahead)
    assert replaces(done, None, done), "old parts are published once"
    assert replaces(done, at, failed) and replaces(done, at, replace(done, finished_utc="yesterday"))


def living_segment(store, *names, seed=0, finished_utc="2026-11-30T00:00:00+00:00"):
    with part_writer(store) as writer:
        for name in names:
            made = video(name, 3, seed=seed)
            path = writer.append(
                "d", labels([name]), {header(): replace(made, record=replace(made.record, finished_utc=finished_utc))}
            )
    target = parts_folder(store) / segment_name(LIVING, f"{seed:08x}", "open")
    sealed = renamed(path, "sealed")
    content = sealed.read_bytes()
    target.write_bytes(content[: content.rindex(b"LTFREND ")])
    sealed.unlink()
    return target


def publish(store):
    return pack(store, dataset="d", card=None, labels=labels(["a", "b"]))


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_a_segment_of_a_living_writer_is_published_once_and_stays(tmp_path, suffix):
    store = tmp_path / f"s{suffix}"
    path = living_segment(store, "a", "b")
    assert publish(store).published and path.exists()
    with open_store(store) as opened:
        created = opened.stream().read("a").features
        before = (store / "zarr.json" if suffix == ".zarr" else store).stat().st_mtime_ns
    assert publish(store).published and path.exists()
    assert (store / "zarr.json" if suffix == ".zarr" else store).stat().st_mtime_ns == before, "it was written twice"
    with open_store(store) as opened:
        np.testing.assert_array_equal(opened.stream().read("a").features, created)


def test_publishing_makes_objects_only_of_the_videos_in_parts(tmp_path, monkeypatch):
    """Records of all videos would take kilobytes each."""
    store = make_store(tmp_path / "s.zarr", {f"v{number}": 1 for number in range(50)})
    living_segment(store, "a", "b")
    publish(store)
    made, post_init = [], VideoRecord.__post_init__
    monkeypatch.setattr(VideoRecord, "__post_init__", lambda self: (made.append(self.video_id), post_init(self)))
    assert publish(store).published
    assert set(made) == {"a", "b"}


def test_a_newer_result_stays_when_an_older_one_is_found_again(tmp_path):
    """A living writer's segment was published; then another run read another file for the same video."""
    store = tmp_path / "s.h5"
    path = living_segment(store, "a", "b")
    publish(store)
    newer = video("a", 4, seed=9)
    record = replace(newer.record, source_name="other.mp4", finished_utc="2099-01-01T00:00:00+00:00")
    write_part(store, "d", labels(["a"]), {header(): replace(newer, record=record)})
    for _ in range(2):
        publish(store)
        assert list_parts(store) == [path]
        assert read_finished(store, "d", None).records[header().recipe_id]["a"].source_name == "other.mp4"
        with open_store(store) as opened:
            np.testing.assert_array_equal(opened.stream().read("a").features, newer.features)


def test_a_segment_waits_while_one_of_its_recipes_cannot_join(tmp_path):
    store = make_store(tmp_path / "s.h5", {"a": 3})
    other = header(weights="v")
    with part_writer(store) as writer:
        writer.append("d", labels(["b"]), {header(): video("b", 2)})
        writer.append("d", labels(["c"]), {other: video("c", 2)})
    packed = pack(store, dataset="d", card=None, labels=labels(["a", "b"]), headers=[other])
    assert (packed.published, packed.num_videos, packed.num_waiting) == (True, 1, 1) and len(list_parts(store)) == 1
    packed = pack(store, dataset="d", card=None, labels=labels(["a", "b"]), headers=[other], beside=True)
    assert packed.num_waiting == 0 and not parts_folder(store).exists()
    with open_store(store) as opened:
        assert sorted(stream.videos.video_ids for stream in opened.streams) == [("a", "b"), ("c",)]
