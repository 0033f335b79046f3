"""Which videos a run extracts, given what the store has."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.extract.backbones.frozen import Backbone
from longtake.features.store import open_store
from longtake.features.tools.inspect import diff
from tests.extract import fake_backbone
from tests.extract.runs import extract, make_dataset
from tests.processor import needs_bfloat16


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


@pytest.fixture
def proven(tmp_path, numbers_backbone, monkeypatch):
    """The fake backbone, which `auto` runs by OpenVINO."""
    pytest.importorskip("openvino")
    monkeypatch.setenv("LONGTAKE_CACHE", str(tmp_path / "cache"))
    fake_backbone.install(openvino=True)
    return make_dataset(tmp_path, [9, 30, 13])


def read_all(path: Path) -> tuple[str, np.ndarray]:
    with open_store(path) as store:
        stream = store.stream()
        return stream.header.precision, np.concatenate([stream.read(name).features for name in ("v0", "v1", "v2")])


def test_openvino_resumes_bit_for_bit_and_shares_the_recipe_of_torch(tmp_path, proven):
    """In float32: a store that torch has begun is filled, within the stated bound."""
    done = extract(tmp_path)
    assert "float32, OpenVINO 20" in done.stderr and done.stderr.count("converting the network for OpenVINO, once") == 1
    for only in ("v2", "v0", "v1"):
        assert "converting" not in extract(tmp_path, "--only", only, out="resumed.h5").stderr, "the cache is read"
    with open_store(tmp_path / "small.h5") as one, open_store(tmp_path / "resumed.h5") as other:
        assert diff(one, other) == []
    assert "OpenVINO" not in extract(tmp_path, "--runtime", "torch", "--limit", "2", out="torch.h5").stderr
    assert "1 new, 2 were there" in extract(tmp_path, out="torch.h5").output
    precision, features = read_all(tmp_path / "torch.h5")
    assert precision == "float32"
    np.testing.assert_allclose(features, read_all(tmp_path / "small.h5")[1], rtol=1e-5)


@needs_bfloat16
def test_bfloat16_of_torch_and_of_openvino_never_mix(tmp_path, proven):
    """`auto` continues as the store was begun; the other by its name is refused."""
    extract(tmp_path, "--precision", "bfloat16", "--runtime", "torch", "--limit", "1", out="torch.h5")
    extract(tmp_path, "--precision", "bfloat16", out="torch.h5")
    assert read_all(tmp_path / "torch.h5")[0] == "bfloat16"
    extract(tmp_path, "--precision", "bfloat16", "--limit", "1")
    extract(tmp_path, "--precision", "bfloat16")
    assert read_all(tmp_path / "small.h5")[0].startswith("bfloat16 by OpenVINO 20")
    for out, other in (("torch.h5", "openvino"), ("small.h5", "torch")):
        done = extract(tmp_path, "--precision", "bfloat16", "--runtime", other, out=out, status=2)
        assert "precision: 'bfloat16" in done.output and "are not mixed" in " ".join(done.output.split())


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=needs_bfloat16)])
def test_what_openvino_cannot_run_torch_does(tmp_path, proven, monkeypatch, precision):
    """With one line under `auto`; under `openvino` it is the error."""

    def forward(self, clips):
        if torch.compiler.is_exporting():
            raise RuntimeError("of a test")
        return clips.float().mean(dim=(2, 3, 4))[:, [0, 1, 2, -1]]

    monkeypatch.setattr(fake_backbone.Numbers, "forward", forward)
    done = extract(tmp_path, "--precision", precision, "--runtime", "openvino", status=2)
    reason = "numbers cannot be run by OpenVINO: it cannot be converted (RuntimeError: of a test"
    assert done.output.count(reason) == 1 and "Traceback" not in done.output
    assert not (tmp_path / "small.h5").exists()
    done = extract(tmp_path, "--precision", precision)
    assert done.stderr.count(reason) == 1 and "; torch runs it" in done.stderr
    assert read_all(tmp_path / "small.h5")[0] == precision
