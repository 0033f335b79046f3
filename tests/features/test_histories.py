"""Stores that are written, packed, merged, converted, relabelled and exported one after the other."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longtake.features.content import Storage
from longtake.features.labels import labels_of
from longtake.features.parts import pack
from longtake.features.store import open_store
from longtake.features.tools.convert import convert
from longtake.features.tools.inspect import verify
from longtake.features.tools.merge import merge
from longtake.manifests.table import read_manifest
from tests.features.fakes import KINDS, header, labels, run, store_of, video, write_part


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_history_ends_in_the_same_store(tmp_path_factory, data):
    """Written, appended to, split, merged and converted in any order and kind: what is in it does not depend on the way."""
    folder = tmp_path_factory.mktemp("history")
    names = [chr(ord("a") + i) for i in range(data.draw(st.integers(1, 7)))]
    lengths = {name: data.draw(st.integers(0, 5), label=f"clips of {name}") for name in names}
    everything = labels(names)
    made = {name: video(name, lengths[name], 3, ord(name)) for name in names}
    shards = []
    for number in range(data.draw(st.integers(1, 3), label="shards")):
        mine = [n for n in names if data.draw(st.booleans()) or number == 0]
        path = folder / f"{number}{data.draw(st.sampled_from(KINDS))}"
        for name in data.draw(st.permutations(mine)):
            own = everything.subset([names.index(name)])
            write_part(path, "d", own, {header(): made[name]})
            if data.draw(st.booleans(), label="pack"):
                pack(path, dataset="d", card=None, labels=everything)
        pack(path, dataset="d", card=None, labels=everything)
        shards.append(path)
    merged = folder / f"merged{data.draw(st.sampled_from(KINDS))}"
    merge(data.draw(st.permutations(shards)), merged)
    storage = Storage(data.draw(st.integers(1, 9)), data.draw(st.sampled_from(["none", "gzip", "default"])))
    converted = folder / f"converted{data.draw(st.sampled_from(KINDS))}"
    convert(merged, converted, storage=storage)
    with open_store(converted) as store:
        assert verify(store) == []
        assert store.labels.equals(everything)
        assert store.stream().videos.video_ids == tuple(names)
        for name in names:
            found = store.stream().read(name)
            assert repr(found.record) == repr(made[name].record)
            np.testing.assert_array_equal(found.features, made[name].features)
            np.testing.assert_array_equal(found.end_seconds, made[name].end_seconds)


@pytest.mark.parametrize("suffix", KINDS)
def test_boundaries_of_stages_on_their_way(tmp_path, suffix):
    """From a table into a store, through merging, relabelling and exporting, and back into a table."""
    table = "video_id,split,boundary_1_seconds,boundary_2_seconds,score_total\n"
    (tmp_path / "m.csv").write_text(f"{table}a,train,0.5,1.25,1\nb,test,1.5,,2\nc,train,,,3\n")
    known = labels_of(read_manifest(tmp_path / "m.csv"))
    staged = store_of(tmp_path / f"staged{suffix}", "abc", table=known, lengths=dict.fromkeys("abc", 3))
    plain = store_of(tmp_path / "plain.h5", "d")
    merge([plain, staged], tmp_path / f"all{suffix}")
    with open_store(tmp_path / f"all{suffix}") as store:
        rows = {v: store.labels.row(i).boundaries for i, v in enumerate(store.labels.video_ids)}
        assert rows == {"a": (0.5, 1.25), "b": (1.5,), "c": (), "d": ()}
    assert "boundary 1 2, 2 1" in run("info", staged)
    run("export", staged, tmp_path / "out")
    assert read_manifest(tmp_path / "out" / "labels.csv").rows == read_manifest(tmp_path / "m.csv").rows
    (tmp_path / "n.csv").write_text(f"{table}a,train,0.5,2.5,1\n")
    assert "labels differ for 1 videos" in run(
        "merge", staged, store_of(tmp_path / "o.h5", "a", table=labels_of(read_manifest(tmp_path / "n.csv"))),
        "--out", tmp_path / "no.h5", status=2,
    )  # fmt: skip
    assert "labels of 1 videos changed" in run("relabel", staged, "--manifest", tmp_path / "n.csv")
    assert "boundary 2 2.5 against" in run("diff", staged, tmp_path / f"all{suffix}", status=1)
    convert(staged, tmp_path / f"copy{suffix}")
    (tmp_path / "n.csv").write_text(f"{table}a,train,0.5,9.5,1\n")
    run("relabel", staged, "--manifest", tmp_path / "n.csv")
    assert "a: boundary of stages at 9.5 s, outside its clips, 0 to 3 s" in run("verify", staged, status=1)
