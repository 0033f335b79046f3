"""Every kind of store must pass these tests, which write and read the expected files without the code under test."""

import numpy as np
import pytest

from longtake.features.columns import decode
from longtake.features.content import Storage, StreamPlan, StreamRows
from longtake.features.store import STORES, open_store, write_store
from longtake.features.tools.inspect import verify
from longtake.features.types import FeatureHeader
from tests.features import raw

KINDS = [suffix for suffix in STORES if suffix != ".hdf5"]


def copy(source, target, **changes):
    """A whole store through our reader and our writer."""
    with open_store(source) as store:
        plans = [StreamPlan(s.header, s.features.dtype, [StreamRows(s, 0, len(s.videos))]) for s in store.streams]
        write_store(
            target, dataset=store.dataset, card=store.card, labels=store.labels, streams=plans, texts=store.texts,
            **{"storage": store.storage, **changes},
        )  # fmt: skip
    return target


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("suffix", KINDS)
def test_a_store_written_by_others_is_read(tmp_path, suffix, dtype):
    tree = raw.example(dtype)
    raw.write(tmp_path / f"s{suffix}", tree)
    (name,), (text_name,) = tree["streams"], tree["text"]
    theirs = tree["streams"][name]
    with open_store(tmp_path / f"s{suffix}") as store:
        assert (store.dataset, store.card, store.storage) == ("raw", None, Storage(32, "default"))
        assert store.labels.video_ids == raw.IDS and store.labels.score_names == ("total", "ärger")
        assert store.labels.splits == ("train", "test", "", "train")
        np.testing.assert_array_equal(store.labels.scores, tree["labels"]["scores"])
        stream = store.stream("net")
        assert stream.name == name
        assert stream.header == FeatureHeader(**{k: v for k, v in raw.HEADER.items() if k != "format_version"})
        for row, video_id in enumerate(raw.IDS):
            video = stream.read(video_id)
            begin, end = theirs["offsets"][row], theirs["offsets"][row + 1]
            assert video.features.dtype == dtype
            np.testing.assert_array_equal(video.features, theirs["features"][begin:end])
            np.testing.assert_array_equal(video.start_seconds, theirs["start_seconds"][begin:end])
            np.testing.assert_array_equal(video.end_seconds, theirs["end_seconds"][begin:end])
            for column in set(theirs["videos"]) - {"@"}:
                values = theirs["videos"][column]
                mine = stream.videos.checksums[row] if column == "features_sha256" else getattr(video.record, column)
                expected = decode(values)[row] if values.dtype.kind == "S" else values[row]
                assert mine == expected or (mine != mine and expected != expected), column
        np.testing.assert_array_equal(stream.read_all(), theirs["features"])
        np.testing.assert_array_equal(store.text("qgvl").features, tree["text"][text_name]["features"])
        assert store.text("qgvl").texts == ("poor", "prächtig")
        assert verify(store) == []


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_others_can_read_what_we_write(tmp_path, suffix, other, dtype):
    tree = raw.example(dtype)
    raw.write(tmp_path / f"raw{other}", tree)
    copy(tmp_path / f"raw{other}", tmp_path / f"ours{suffix}")
    assert raw.same(raw.read(tmp_path / f"ours{suffix}"), tree) == []


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("other", KINDS)
@pytest.mark.parametrize(
    "missing", [("decoder",), ("damaged_frames",), ("decoder", "damaged_frames", "pixel_aspect", "transfer")]
)
def test_stores_from_before_a_column_was_recorded(tmp_path, suffix, other, missing):
    tree = raw.example()
    (stream,) = tree["streams"].values()
    for name in missing:
        del stream["videos"]["@"][f"has_{name}"], stream["videos"][name]
    raw.write(tmp_path / f"raw{other}", tree)
    copy(tmp_path / f"raw{other}", tmp_path / f"ours{suffix}")
    for name in (f"raw{other}", f"ours{suffix}"):
        with open_store(tmp_path / name) as store:
            records = store.stream().records
            assert [not record.decoder for record in records] == [
                "decoder" in missing,
                "decoder" in missing,
                True,
                "decoder" in missing,
            ]
            assert [record.damaged_frames == 3 for record in records] == [
                False,
                "damaged_frames" not in missing,
                False,
                False,
            ]
            assert [record.transfer for record in records] == [""] * 4 or "transfer" not in missing
            assert verify(store) == []


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_boundaries_of_stages_are_optional(tmp_path, suffix, other):
    tree = raw.with_stages(raw.example())
    raw.write(tmp_path / f"raw{other}", tree)
    with open_store(tmp_path / f"raw{other}") as store:
        np.testing.assert_array_equal(store.labels.boundaries, tree["labels"]["boundary_seconds"])
        assert verify(store) == []
    copy(tmp_path / f"raw{other}", tmp_path / f"ours{suffix}")
    assert raw.same(raw.read(tmp_path / f"ours{suffix}"), tree) == []
    raw.write(tmp_path / f"plain{other}", raw.example())
    with open_store(tmp_path / f"plain{other}") as store:
        assert store.labels.boundaries.shape == (4, 0)


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_groups_are_optional(tmp_path, suffix, other):
    tree = raw.with_groups(raw.example())
    raw.write(tmp_path / f"raw{other}", tree)
    with open_store(tmp_path / f"raw{other}") as store:
        assert store.labels.groups == {"skater": ("s1", "", "Käthe", "s1"), "event": ("", "e2", "e2", "e1")}
        assert verify(store) == []
    copy(tmp_path / f"raw{other}", tmp_path / f"ours{suffix}")
    assert raw.same(raw.read(tmp_path / f"ours{suffix}"), tree) == []
    raw.write(tmp_path / f"plain{other}", raw.example())
    with open_store(tmp_path / f"plain{other}") as store:
        assert store.labels.groups == {}


def test_the_kit_can_fail(tmp_path):
    tree, changed = raw.example(), raw.example()
    next(iter(changed["streams"].values()))["features"][3, 1] += 1
    changed["labels"]["split"][0] = b"test"
    assert len(raw.same(tree, changed)) == 2


@pytest.mark.parametrize(
    "suffix, compression", [(".h5", "none"), (".h5", "gzip"), (".zarr", "none"), (".zarr", "gzip")]
)
def test_storage_changes_no_value(tmp_path, suffix, compression):
    tree = raw.example()
    raw.write(tmp_path / f"raw{suffix}", tree)
    storage = Storage(7, compression)
    copy(tmp_path / f"raw{suffix}", tmp_path / f"ours{suffix}", storage=storage)
    tree["@"] |= {"chunk_rows": 7, "compression": compression}
    assert raw.same(raw.read(tmp_path / f"ours{suffix}"), tree) == []
    with open_store(tmp_path / f"ours{suffix}") as store:
        assert store.storage == storage


@pytest.mark.parametrize("suffix", KINDS)
def test_an_empty_store(tmp_path, suffix):
    path = tmp_path / f"s{suffix}"
    tree = raw.example()
    tree["streams"], tree["text"] = {"@": {}}, {"@": {}}
    raw.write(path, tree)
    copy(path, path)
    with open_store(path) as store:
        assert store.streams == () and len(store.labels) == 4
