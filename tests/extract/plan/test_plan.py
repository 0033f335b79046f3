"""Which videos a run extracts, given what the store has."""

import json

import numpy as np
import pytest
import torch

from longtake.extract.backbones.frozen import Backbone
from longtake.features.store import open_store
from longtake.features.tools.inspect import diff
from tests.extract.runs import extract, make_dataset


def test_shards_share_one_store(tmp_path, numbers_backbone):
    """Three processes without a scheduler, each with its share, fill what one would have filled."""
    make_dataset(tmp_path, [9, 30, 5, 12, 20, 7, 4])
    extract(tmp_path)
    for number in (3, 1, 2):
        extract(tmp_path, "--shard", f"{number}/3", out="shared.h5")
        with open_store(tmp_path / "shared.h5") as store:
            done = {video_id for video_id in store.stream().videos.video_ids}
        assert {f"v{n}" for n in range(number - 1, 7, 3)} <= done
    with open_store(tmp_path / "small.h5") as one, open_store(tmp_path / "shared.h5") as other:
        assert diff(one, other) == []
    for wrong, message in (
        ("4/3", "I from 1 to N"),
        ("0/3", "I from 1 to N"),
        ("x", "takes I/N"),
        ("1/x", "takes I/N"),
    ):
        assert message in extract(tmp_path, "--shard", wrong, status=2).output


def test_what_was_there_is_counted_by_video(tmp_path, numbers_backbone):
    """A video that failed is not among those that were there, and is listed once, for however many backbones."""
    make_dataset(tmp_path, [8, 8])
    (tmp_path / "videos" / "v0.mp4").write_bytes(b"no video")
    extract(tmp_path, status=1)
    done = extract(tmp_path, status=1)
    assert "0 new, 1 were there, 1 failed" in done.output
    found = json.loads(extract(tmp_path, "--clip-length", "8", "--beside", "--json", status=1).stdout)
    assert (found["new"], found["already_there"], len(found["failed"])) == (1, 0, 1)
    found = json.loads(extract(tmp_path, "--beside", "--json", status=1).stdout)
    assert (found["new"], found["already_there"], len(found["failed"])) == (0, 1, 1)


def test_the_same_video_asked_for_twice(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [40, 8])
    found = json.loads(extract(tmp_path, "--only", "v0", "--only", "v0", "--json").stdout)
    assert (found["new"], found["failed"]) == (1, [])


def test_a_corrected_path_is_another_file(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8, 20])
    table = tmp_path / "small.csv"
    table.write_text("video_id,path\na,v0.mp4\n")
    assert "1 new" in extract(tmp_path).output
    table.write_text("video_id,path\na,v1.mp4\n")
    assert "1 new" in extract(tmp_path).output
    assert "0 new, 1 were there" in extract(tmp_path).output
    with open_store(tmp_path / "small.h5") as store:
        assert store.stream().records[0].source_name == "v1.mp4" and np.diff(store.stream().offsets).tolist() == [5]
    # What was there of another file does not stand in for one that cannot be read, or is not there.
    for name, content in (("broken", b"no video"), ("gone", None)):
        if content:
            (tmp_path / "videos" / f"{name}.mp4").write_bytes(content)
        table.write_text(f"video_id,path\na,{name}.mp4\nb,v0.mp4\n")
        extract(tmp_path, status=1)
        with open_store(tmp_path / "small.h5") as store:
            found = [(record.status, record.source_name) for record in store.stream().records]
            assert found == [("failed", f"{name}.mp4"), ("ok", "v0.mp4")]


def test_a_finished_run_builds_no_network(tmp_path, numbers_backbone, monkeypatch):
    make_dataset(tmp_path, [8, 8, 8])
    torch.save({"none": torch.zeros(1)}, tmp_path / "weights.pt")
    loaded, load = [], Backbone.load_weights
    monkeypatch.setattr(Backbone, "load_weights", lambda self, state: loaded.append(state) or load(self, state))
    weights = ("--weights", str(tmp_path / "weights.pt"))
    assert "3 new" in extract(tmp_path, *weights).output
    assert len(loaded) == 1
    done = extract(tmp_path, *weights, "--json")
    assert json.loads(done.stdout)["already_there"] == 3 and json.loads(done.stdout)["recipes"]
    assert len(loaded) == 1
    make_dataset(tmp_path, [8, 8, 8, 8])
    assert "1 new" in extract(tmp_path, *weights).output
    assert len(loaded) == 2


def test_another_recipe_is_refused_or_another_stream(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8, 8])
    extract(tmp_path)
    refused = extract(tmp_path, "--clip-length", "3", status=2).output
    assert "clip_length: 4 before, 3 now" in refused and "--beside" in refused and "tail" not in refused
    assert "2 new" in extract(tmp_path, "--clip-length", "3", "--beside").output
    with open_store(tmp_path / "small.h5") as store:
        assert sorted(stream.header.clip_length for stream in store.streams) == [3, 4]
        names = [stream.name for stream in store.streams]
    assert len(set(names)) == 2


def test_spans_of_one_file(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [100])
    (tmp_path / "small.csv").write_text(
        "video_id,path,start_seconds,end_seconds\nfirst,v0.mp4,0,2\nsecond,v0.mp4,2,4\n"
    )
    extract(tmp_path)
    with open_store(tmp_path / "small.h5") as store:
        stream = store.stream()
        assert np.diff(stream.offsets).tolist() == [13, 13]  # 50 frames: 12 clips of 4 and a padded one
        assert stream.read(1).start_seconds[0] == pytest.approx(2.0)
    # A corrected span is another part of the file: it is extracted again.
    (tmp_path / "small.csv").write_text(
        "video_id,path,start_seconds,end_seconds\nfirst,v0.mp4,0,2\nsecond,v0.mp4,2,3\n"
    )
    assert "1 new" in extract(tmp_path).output
    # What was there of other seconds does not stand in for them.
    (tmp_path / "small.csv").write_text(
        "video_id,path,start_seconds,end_seconds\nfirst,v0.mp4,0,2\nsecond,v0.mp4,50,60\n"
    )
    assert "is after the end of the video" in extract(tmp_path, status=1).output
    with open_store(tmp_path / "small.h5") as store:
        assert store.stream().videos.statuses == ("ok", "failed") and np.diff(store.stream().offsets).tolist() == [
            13,
            0,
        ]
