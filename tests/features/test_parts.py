"""Parts and packing: nothing lost, nothing half-visible."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

from features.parts import list_parts, pack, parts_folder, read_finished, write_part
from features.store import open_store
from tests.features.fakes import header, labels, text_features, video

ROOT = Path(__file__).resolve().parents[2]
IDS = ["a", "b", "c", "d"]


def part(store, video_id, num_clips, seed=0, head=None):
    head = head or header()
    own = labels(IDS).subset([IDS.index(video_id)])
    return write_part(store, "d", own, {head: video(video_id, num_clips, head.dim, seed)})


def publish(store, **changes):
    return pack(store, dataset="d", card=None, labels=changes.pop("labels", labels(IDS)), **changes)


def test_parts_become_a_store_in_the_manifests_order(tmp_path):
    store = tmp_path / "s.h5"
    for video_id in ("c", "a"):
        part(store, video_id, 3)
    assert publish(store).num_parts == 2
    part(store, "b", 2)
    assert set(read_finished(store).records[header().recipe_id]) == {"a", "b", "c"}
    publish(store)
    with open_store(store) as opened:
        assert [record.video_id for record in opened.stream().records] == ["a", "b", "c"]
        assert np.diff(opened.stream().offsets).tolist() == [3, 2, 3]
    assert not parts_folder(store).exists()


def test_a_later_part_wins_but_failure_never_replaces_success(tmp_path):
    store = tmp_path / "s.h5"
    part(store, "a", 0)
    publish(store)
    part(store, "a", 3, seed=1)
    publish(store)
    part(store, "a", 0)
    part(store, "b", 4, seed=2)
    publish(store)
    part(store, "b", 4, seed=3)
    publish(store)
    with open_store(store) as opened:
        stream = opened.stream()
        np.testing.assert_array_equal(stream.read(0).features, video("a", 3, seed=1).features)
        np.testing.assert_array_equal(stream.read(1).features, video("b", 4, seed=3).features)


def test_labels_are_refreshed_without_touching_features(tmp_path):
    store = tmp_path / "s.h5"
    part(store, "a", 3)
    publish(store)
    publish(store, labels=labels(["a"], [99.0]), texts=[text_features()])
    with open_store(store) as opened:
        rows = {video_id: opened.labels.row(i) for i, video_id in enumerate(opened.labels.video_ids)}
        assert rows["a"].scores == {"total": 99.0} and rows["b"].scores == {"total": 1.0}
        assert opened.stream().num_clips == 3 and len(opened.texts) == 1


def test_nothing_to_pack_writes_nothing(tmp_path):
    store = tmp_path / "s.h5"
    part(store, "a", 3)
    publish(store)
    before = store.stat().st_mtime_ns
    assert publish(store).published
    assert store.stat().st_mtime_ns == before


def claim(store, host, pid):
    parts_folder(store).mkdir(exist_ok=True)
    (parts_folder(store) / ".packing").write_text(f"{pid}@{host}")


def test_one_packer_at_a_time(tmp_path):
    store = tmp_path / "s.h5"
    part(store, "a", 3)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        claim(store, socket.gethostname(), sleeper.pid)
        assert not publish(store).published
        assert len(list_parts(store)) == 1 and not store.exists()
    finally:
        sleeper.kill()
        sleeper.wait()
    assert publish(store).published, "the claim of a dead process is taken over"
    part(store, "b", 3)
    claim(store, "another-machine", 1)
    assert not publish(store).published, "nobody here can know whether that process lives"
