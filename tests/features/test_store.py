"""Types and the store: what is written is what is read; whatever is wrong with a file is one message."""

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longtake.errors import LongtakeError
from longtake.features.errors import InvalidFeatures, NotAStore, NotInStore
from longtake.features.store import open_store, write_store
from longtake.features.tools.inspect import diff, verify
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord
from tests.features.fakes import header, labels, make_store, plan, text_features, video

KINDS = [".h5", ".zarr"]
IDS = st.text("abcäöü日本 0123_-().", min_size=1, max_size=20).filter(lambda t: t == t.strip(" .") and t)


def test_the_recipe_id_is_pinned():
    """If this changes, every store in the world becomes another recipe."""
    assert header().recipe_id == FeatureHeader.from_json(header().to_json()).recipe_id == "991fa9a1acbf8174"


@pytest.mark.parametrize(
    "change",
    [{"weights": "v"}, {"weights_sha256": "cd"}, {"weights_random": True}, {"clip_length": 8}, {"clip_stride": 8},
     {"tail": "drop"}, {"fps": 25.0}, {"preprocessing": {"short_side": 256}}, {"decoder": "x"}, {"precision": "bfloat16"},
     {"origin": "imported: gdlt"}],
)  # fmt: skip
def test_every_field_decides_the_recipe(change):
    other = header(**change)
    assert other.recipe_id != header().recipe_id
    assert set(header().differences(other)) == set(change)


@pytest.mark.parametrize(
    "make",
    [
        lambda: VideoFeatures(VideoRecord("a"), np.zeros((2, 3), int), np.zeros(2), np.ones(2)),
        lambda: VideoFeatures(VideoRecord("a"), np.zeros((2, 3)), np.zeros(3), np.ones(2)),
        lambda: VideoFeatures(VideoRecord("a"), np.full((1, 3), np.nan), np.zeros(1), np.ones(1)),
        lambda: VideoFeatures(VideoRecord("a"), np.zeros((1, 3)), np.ones(1), np.ones(1)),
        lambda: VideoFeatures(VideoRecord("a"), np.zeros((0, 3)), np.zeros(0), np.zeros(0)),
        lambda: VideoRecord("../a"),
        lambda: VideoRecord("a", status="fine"),
        lambda: header(dim=0),
        lambda: FeatureHeader.from_json(json.dumps({"format_version": 99})),
        lambda: labels(["a", "a"]),
    ],
)
def test_what_breaks_the_contract_cannot_be_made(make):
    with pytest.raises((InvalidFeatures, LongtakeError)):
        make()


@pytest.mark.parametrize("suffix", KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.dictionaries(IDS, st.integers(0, 5), min_size=1, max_size=6),
    dtype=st.sampled_from(["float32", "float16"]),
    scores=st.lists(st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6)), min_size=6, max_size=6),
)
def test_written_and_read_back(tmp_path, suffix, lengths, dtype, scores):
    path = tmp_path / f"wëird name{suffix}"
    ids = list(lengths)
    videos = [video(name, n, 3, i, dtype) for i, (name, n) in enumerate(lengths.items())]
    wide = [video(name, max(n, 1), 5, i) for i, (name, n) in enumerate(lengths.items())]
    streams = [plan(header(), videos, dtype), plan(header("other", 5), wide)]
    write_store(
        path, dataset="d", card=None, labels=labels(ids, scores[: len(ids)]), streams=streams, texts=[text_features()]
    )
    with open_store(path) as store:
        assert store.labels.equals(labels(ids, scores[: len(ids)]))
        for name, expected in (("fake", videos), ("other", wide)):
            stream = store.stream(name)
            # By their text, because nan is not equal to itself.
            assert list(map(repr, stream.records)) == [repr(v.record) for v in expected]
            for row, one in enumerate(expected):
                read = stream.read(row)
                assert read.features.dtype == np.dtype(dtype if name == "fake" else "float32")
                np.testing.assert_array_equal(read.features, one.features)
                np.testing.assert_array_equal(read.start_seconds, one.start_seconds)
            np.testing.assert_array_equal(stream.read_all(), np.concatenate([v.features for v in expected]))
        assert verify(store) == []
        assert store.text("qgvl").texts == ("a", "b")
        assert diff(store, store) == []


@pytest.mark.parametrize("suffix", KINDS)
def test_choosing_a_stream(tmp_path, suffix):
    path = tmp_path / f"s{suffix}"
    heads = [header(), header(clip_length=8)]
    streams = [plan(head, [video("a", 2)]) for head in heads]
    write_store(path, dataset="d", card=None, labels=labels(["a"]), streams=streams)
    with open_store(path) as store:
        assert store.stream(f"fake@{heads[1].recipe_id[:6]}").header == heads[1]
        with pytest.raises(NotInStore, match="several streams.*--backbone"):
            store.stream("fake")
        with pytest.raises(NotInStore, match="holds no features of 'vst'; it holds fake@"):
            store.stream("vst")
        with pytest.raises(NotInStore, match="extract text --dataset d"):
            store.text("qgvl")


def test_another_ending(tmp_path):
    with pytest.raises(NotAStore, match="must end in .h5"):
        open_store(tmp_path / "s.npy")


def refused(path):
    """When it is opened, or, for what is read only when it is asked for, when all of it is asked for."""
    with pytest.raises(LongtakeError) as caught, open_store(path) as store:
        assert len(store.labels) == len(store.stream().records) == 2
        store.stream().read_all()
    assert "\n" not in str(caught.value).strip()
    return str(caught.value)


def test_files_that_are_no_stores(tmp_path):
    assert "no feature store" in refused(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    assert "not an HDF5 file" in refused(tmp_path / "text.h5")
    (tmp_path / "folder.h5").mkdir()
    refused(tmp_path / "folder.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    assert "does not say that it is one" in refused(tmp_path / "other.h5")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_truncated(tmp_path, share):
    data = make_store(tmp_path / "s.h5", {"a": 40, "b": 50}).read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: int(len(data) * share)])
    refused(tmp_path / "cut.h5")


def _set(name, value):
    def change(file, stream):
        del stream[name]
        stream[name] = value

    return change


HUGE = (1 << 40, 3)
HOSTILE = {
    "another version": lambda file, stream: file.attrs.__setitem__("format_version", 2),
    "no labels": lambda file, stream: file.__delitem__("labels"),
    "labels linked outside": lambda file, stream: (
        file.__delitem__("labels"), file.__setitem__("labels", h5py.ExternalLink("/etc/passwd", "/"))),
    "features linked": lambda file, stream: (
        stream.__delitem__("features"), stream.__setitem__("features", h5py.SoftLink("/card"))),
    "offsets beyond": _set("offsets", np.array([0, 5, 99])),
    "offsets negative": _set("offsets", np.array([0, -5, 9])),
    "offsets of floats": _set("offsets", np.array([np.nan, 5, 9])),
    "no offsets": _set("offsets", np.zeros(0, int)),
    "enormous": lambda file, stream: (
        stream.__delitem__("features"), stream.create_dataset("features", HUGE, "f4", chunks=(128, 3))),
    "large and never written": lambda file, stream: (
        stream.__delitem__("features"), stream.create_dataset("features", (1 << 30, 3), "f4", chunks=(128, 3))),
    "large ids": lambda file, stream: (
        stream.__delitem__("videos/video_id"),
        stream.create_dataset("videos/video_id", (1 << 30,), "S100", chunks=(128,))),
    "kept elsewhere": lambda file, stream: (
        stream.__delitem__("features"),
        stream.create_dataset("features", (9, 3), "f4", external=[("/etc/passwd", 0, 108)])),
    "objects": lambda file, stream: (
        stream.__delitem__("videos/status"),
        stream.create_dataset("videos/status", data=["ok", "ok"], dtype=h5py.string_dtype())),
    "an id that leaves": lambda file, stream: (
        stream.__delitem__("videos/video_id"), stream.__setitem__("videos/video_id", np.array([b"../../x", b"b"]))),
    "wrong width": _set("features", np.zeros((9, 4), np.float32)),
    "header is no JSON": lambda file, stream: stream.attrs.__setitem__("header", "{"),
    "header of another release": lambda file, stream: stream.attrs.__setitem__("header", '{"format_version": 1, "x": 1}'),
    "a table of another length": _set("videos/fps", np.zeros(7)),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_stores_are_refused(tmp_path, what):
    path = make_store(tmp_path / "s.h5", {"a": 5, "b": 4})
    with h5py.File(path, "r+") as file:
        HOSTILE[what](file, next(iter(file["streams"].values())))
    refused(path)


def test_verify_finds_changed_numbers(tmp_path):
    path = make_store(tmp_path / "s.h5", {"a": 5, "b": 4})
    with h5py.File(path, "r+") as file:
        features = next(iter(file["streams"].values()))["features"]
        features[1, 1] += 1
        features[7, 0] = np.nan
    with open_store(path) as store:
        faults = verify(store)
    assert len(faults) == 2
    assert "a: its features do not match their checksum" in faults[0] and "b: " in faults[1] and "NaN" in faults[1]


def test_diff_says_what_differs(tmp_path):
    one = make_store(tmp_path / "1.h5", {"a": 5, "b": 4, "c": 3})
    other = make_store(tmp_path / "2.h5", {"a": 5, "b": 0, "d": 3}, seed=7)
    third = make_store(tmp_path / "3.h5", {"a": 5}, head=header(tail="drop"))
    with open_store(one) as x, open_store(other) as y, open_store(third) as z:
        found = {(d.kind, d.what.split()[-1]): d.detail for d in diff(x, y)}
        recipes = [d.detail for d in diff(x, z) if d.kind == "stream"]
    assert "lowest cosine" in found["values", "a"]
    assert found["video", "b"] == "status ok against failed"
    assert found["video", "c"] == "only in the first" and found["video", "d"] == "only in the second"
    assert any("tail: 'pad' against 'drop'" in detail for detail in recipes)


@pytest.mark.parametrize("number, suffix", [(0, ".h5"), (1, ".zarr")])
def test_the_examples_of_format_md(tmp_path, monkeypatch, capsys, number, suffix):
    text = (Path(__file__).parents[2] / "features" / "FORMAT.md").read_text()
    block = re.findall(r"```python\n(.*?)```", text, re.S)[number]
    make_store(tmp_path / "features" / f"demo{suffix}", {"first": 5, "second": 4})
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "FORMAT.md", "exec"), {})
    assert capsys.readouterr().out == "first (5, 3) w\n"


def test_format_md_names_all_that_is_there(tmp_path):
    text = (Path(__file__).parents[2] / "features" / "FORMAT.md").read_text()
    names = []
    with h5py.File(make_store(tmp_path / "s.h5", {"a": 2}), "r") as file:
        file.visit(names.append)
        names += list(file.attrs)
    for name in {part for path in names for part in path.split("/") if "@" not in part}:
        assert re.search(rf"\b{name}\b", text), name
