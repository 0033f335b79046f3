"""Stores that are merged, converted, relabelled, exported: nothing lost, nothing mixed, nothing written over."""

import dataclasses
import hashlib
import json
import os

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longtake.features.cli import main
from longtake.features.content import Storage
from longtake.features.errors import FeaturesError, InvalidFeatures, StoreConflict
from longtake.features.labels import LabelRow, Labels, labels_of
from longtake.features.parts import pack, write_part
from longtake.features.store import open_store, write_store
from longtake.features.tools.convert import convert
from longtake.features.tools.inspect import diff, verify
from longtake.features.tools.merge import merge
from longtake.manifests.card import find_card
from longtake.manifests.table import find_manifest, read_manifest
from tests.calls import invoke
from tests.features import raw
from tests.features.fakes import header, labels, locked_by_another, make_store, plan, text_features, video

KINDS = [".h5", ".zarr"]


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status).output


def store_of(path, ids, *, head=None, texts=(), dtype="float32", table=None, lengths=None):
    """Values follow from the id, so that the same video is the same in every store."""
    head = head or header()
    videos = [video(v, (lengths or {}).get(v, 2 + ord(v[0]) % 4), head.dim, ord(v[0]), dtype) for v in ids]
    own = table or labels(list(ids), [float(ord(v[0])) for v in ids])
    write_store(path, dataset="d", card=None, labels=own, streams=[plan(head, videos, dtype)], texts=texts)
    return path


@pytest.mark.parametrize("suffix", KINDS)
def test_disjoint_and_overlapping_stores(tmp_path, suffix):
    one = store_of(tmp_path / "1.h5", "abc", texts=[text_features()])
    other = store_of(tmp_path / "2.zarr", "cde", texts=[text_features()])
    third = store_of(tmp_path / "3.h5", "f", head=header("other", 5))
    merged = tmp_path / f"m{suffix}"
    assert "2 streams of 6 videos" in run("merge", one, other, third, "--out", merged)
    whole = store_of(tmp_path / "whole.h5", "abcde", texts=[text_features()])
    with open_store(merged) as ours, open_store(whole) as theirs:
        assert verify(ours) == []
        assert not [d for d in diff(theirs, ours) if "only in the second" not in d.detail]
        assert ours.labels.video_ids == tuple("abcdef") and len(ours.texts) == 1


def test_a_failure_gives_way_to_success(tmp_path):
    failed = store_of(tmp_path / "1.h5", "ab", lengths={"a": 0})
    whole = store_of(tmp_path / "2.h5", "ab", lengths={"b": 0})
    merge([failed, whole], tmp_path / "m.h5")
    with open_store(tmp_path / "m.h5") as store:
        assert store.stream().videos.statuses == ("ok", "ok")


def test_what_disagrees_is_listed_and_refused(tmp_path):
    one = store_of(tmp_path / "1.h5", "abc")
    lengths = {v: 7 for v in "ab"}
    refused = run(
        "merge", one, store_of(tmp_path / "2.h5", "abc", lengths=lengths), "--out", tmp_path / "m.h5", status=2
    )
    assert "features differ for 2 videos" in refused and " a: other values" in refused and " b: other values" in refused
    other = store_of(tmp_path / "3.h5", "abc", table=labels(list("abc"), [97.0, 5.0, 99.0]))
    refused = run("merge", one, other, "--out", tmp_path / "m.h5", status=2)
    assert "labels differ for 1 videos" in refused and "total 98 against train, A, total 5" in refused
    half = store_of(tmp_path / "4.h5", "d", dtype="float16")
    assert "features convert --dtype" in run("merge", one, half, "--out", tmp_path / "m.h5", status=2)
    recipe = store_of(tmp_path / "5.h5", "d", head=header(tail="drop", fps=25.0))
    refused = run("merge", one, recipe, "--out", tmp_path / "m.h5", status=2)
    assert "tail: 'pad' before, 'drop' now" in refused and "fps: None before, 25.0 now" in refused
    assert "exists" in run("merge", one, "--out", one, status=2)
    assert not (tmp_path / "m.h5").exists()
    run("merge", one, recipe, "--out", tmp_path / "m.h5", "--beside")
    with open_store(tmp_path / "m.h5") as store:
        assert len(store.streams) == 2
    write_store(tmp_path / "6.h5", dataset="other", card=None, labels=labels(["z"]), streams=[])
    with pytest.raises(StoreConflict, match="different datasets: d, other"):
        merge([one, tmp_path / "6.h5"], tmp_path / "n.h5")


@pytest.mark.parametrize("source, target", [(a, b) for a in KINDS for b in KINDS])
@pytest.mark.parametrize("storage", [Storage(), Storage(3, "gzip"), Storage(1, "none")])
def test_converting_loses_nothing(tmp_path, source, target, storage):
    tree = raw.example()
    raw.write(tmp_path / f"a{source}", tree)
    done = convert(tmp_path / f"a{source}", tmp_path / f"b{target}", storage=storage)
    assert done.largest_change == 0
    tree["@"] |= {"chunk_rows": storage.chunk_rows, "compression": storage.compression}
    assert raw.same(raw.read(tmp_path / f"b{target}"), tree) == []


def test_narrower_numbers(tmp_path):
    one = make_store(tmp_path / "1.h5", {"a": 50, "b": 0})
    output = run("convert", one, tmp_path / "2.zarr", "--dtype", "float16")
    assert "largest change" in output
    with open_store(one) as wide, open_store(tmp_path / "2.zarr") as narrow:
        assert narrow.stream().features.dtype == np.float16 and verify(narrow) == []
        expected = wide.stream().read_all().astype(np.float16)
        np.testing.assert_array_equal(narrow.stream().read_all(), expected)
        assert json.loads(run("convert", one, tmp_path / "3.h5", "--dtype", "float16", "--json"))[
            "largest_change"
        ] == pytest.approx(float(np.abs(wide.stream().read_all() - expected).max()))
    with h5py.File(one, "r+") as file:
        stream = next(iter(file["streams"].values()))
        stream["features"][0, 0] = 1e6
        stream["videos/features_sha256"][0] = hashlib.sha256(stream["features"][:50].astype("<f4")).hexdigest().encode()
    with open_store(one) as store:
        assert verify(store) == []
    with pytest.raises(InvalidFeatures, match="a: values up to 1e\\+06 do not fit float16"):
        convert(one, tmp_path / "4.h5", dtype="float16")
    assert not (tmp_path / "4.h5").exists()


def test_a_conversion_that_goes_wrong_is_noticed(tmp_path, monkeypatch):
    """The disk gives back something else than was written."""
    one = make_store(tmp_path / "1.h5", {"a": 50})
    real = write_store

    def spoiled(path, **content):
        real(path, **content)
        with h5py.File(path, "r+") as file:
            next(iter(file["streams"].values()))["features"][20, 1] += 1

    monkeypatch.setattr("longtake.features.tools.convert.write_store", spoiled)
    with pytest.raises(FeaturesError, match="does not hold what was written: clips of fake@"):
        convert(one, tmp_path / "2.h5")


def test_damage_is_not_laundered_by_copying(tmp_path):
    """Checksums travel with the features: verify finds in the copy what was wrong in the source."""
    one = make_store(tmp_path / "1.h5", {"a": 50, "b": 9})
    with h5py.File(one, "r+") as file:
        next(iter(file["streams"].values()))["features"][20, 1] += 1
    convert(one, tmp_path / "2.zarr")
    merge([one], tmp_path / "3.h5")
    for path in (tmp_path / "2.zarr", tmp_path / "3.h5"):
        with open_store(path) as store:
            assert verify(store) == [f"{store.stream().name} a: its features do not match their checksum"]
    with pytest.raises(InvalidFeatures, match="a: its features do not match their checksum"):
        convert(one, tmp_path / "4.h5", dtype="float16")
    assert not (tmp_path / "4.h5").exists()


@pytest.mark.parametrize("suffix", KINDS)
def test_new_labels_leave_features_alone(tmp_path, suffix):
    path = make_store(tmp_path / f"s{suffix}", {"a": 3, "b": 4})
    with open_store(path) as store:
        before, checksums = store.stream().read_all(), store.stream().videos.checksums
    (tmp_path / "m.csv").write_text("video_id,split,category,score_total\na,test,B,7.5\nc,train,B,1\n")
    assert "labels of 1 videos changed, 1 added" in run("relabel", path, "--manifest", tmp_path / "m.csv")
    with open_store(path) as store:
        rows = {v: store.labels.row(i) for i, v in enumerate(store.labels.video_ids)}
        assert rows == {
            "a": LabelRow("test", "B", {"total": 7.5}),
            "b": LabelRow("train", "A", {"total": 1.0}),
            "c": LabelRow("train", "B", {"total": 1}),
        }
        np.testing.assert_array_equal(store.stream().read_all(), before)
        assert store.stream().videos.checksums == checksums and verify(store) == []
    output = run("verify", path, "--manifest", tmp_path / "m.csv", status=1)
    assert "c: missing" in output and "a: missing" not in output
    (tmp_path / "m.csv").write_text("video_id,split,category,score_total\na,test,B,8\n")
    assert "labels: a: " in run("verify", path, "--manifest", tmp_path / "m.csv", status=1)
    assert "say where the labels are" in run("relabel", path, status=2)
    assert "is a store of d; these labels are of rg" in run("relabel", path, "--dataset", "rg", status=2)
    (tmp_path / "strangers.csv").write_text("video_id,score_total\nx,1\n")
    assert "these labels are of strangers" in run("relabel", path, "--manifest", tmp_path / "strangers.csv", status=2)


def test_a_corrected_card_reaches_the_store(tmp_path, monkeypatch):
    card = find_card("fisv")
    limits = card.scores["tes"]
    stores = {}
    for name, top in (("one", limits.maximum), ("other", limits.maximum + 5)):
        changed = dataclasses.replace(card, scores={**card.scores, "tes": dataclasses.replace(limits, maximum=top)})
        stores[name] = tmp_path / f"{name}.h5"
        own = labels_of(find_manifest("fisv")).subset([len(stores)])
        write_store(stores[name], dataset="fisv", card=changed, labels=own, streams=[])
    assert "card scores: differs" in run("diff", stores["one"], stores["other"], status=1)
    said = run("merge", *stores.values(), "--out", tmp_path / "m.h5", status=2)
    assert "differ in scores: give both stores the right card" in said and not (tmp_path / "m.h5").exists()
    assert "its card is another now" in run("relabel", stores["other"], "--dataset", "fisv")
    assert "its card" not in run("relabel", stores["other"], "--dataset", "fisv")
    with open_store(stores["other"]) as store:
        assert store.card == card
    run("relabel", stores["one"], "--dataset", "fisv")
    run("merge", *stores.values(), "--out", tmp_path / "m.h5")


def test_no_file_of_the_authors_where_a_score_is_missing(tmp_path):
    """Theirs has no word for that, and 0 is a score."""
    ids = [row.video_id for row in find_manifest("fisv").rows[:2]]
    for name, pcs in (("whole", 30.0), ("lacking", np.nan)):
        table = Labels(tuple(ids), ("train",) * 2, ("",) * 2, ("tes", "pcs"), np.array([[20.0, 31.0], [21.0, pcs]]))
        videos = [video(video_id, 3) for video_id in ids]
        path = tmp_path / f"{name}.h5"
        write_store(path, dataset="fisv", card=find_card("fisv"), labels=table, streams=[plan(header(), videos)])
        run("export", path, tmp_path / name)
        assert (tmp_path / name / "train.txt").exists() == (name == "whole")
        assert (tmp_path / name / "labels.csv").exists()


def test_labels_of_a_store_that_another_process_publishes(tmp_path, monkeypatch):
    path = make_store(tmp_path / "s.h5", {"a": 3})
    kept = path.read_bytes()
    (tmp_path / "m.csv").write_text("video_id,split\na,test\n")
    holder = locked_by_another(path, monkeypatch)
    refused = run("relabel", path, "--manifest", tmp_path / "m.csv", status=2)
    assert f"{path} is locked by {holder}" in refused
    assert path.read_bytes() == kept


def test_what_new_labels_do_not_say_stays(tmp_path):
    path = make_store(tmp_path / "s.h5", {"a": 3, "b": 4})
    (tmp_path / "m.csv").write_text("video_id,split\na,test\n")
    run("relabel", path, "--manifest", tmp_path / "m.csv")
    with open_store(path) as store:
        rows = {v: store.labels.row(i) for i, v in enumerate(store.labels.video_ids)}
    assert rows["a"].split == "test" and rows["a"].category == rows["b"].category == "A"
    assert rows["a"].scores.keys() == rows["b"].scores.keys() == {"total"}


def test_new_labels_are_checked_against_the_card(tmp_path):
    known = find_manifest("fisv")
    first = known.rows[0].video_id
    path = tmp_path / "fisv.h5"
    write_store(path, dataset="fisv", card=known.card, labels=labels_of(known), streams=[])
    for line, reason in (
        ("split\n{},val", "unknown split 'val'"),
        ("score_tes\n{},999", "score_tes 999 is outside"),
        ("score_artistry\n{},1", "unknown column 'score_artistry'"),
    ):
        (tmp_path / "m.csv").write_text(f"video_id,{line.format(first)}\n")
        assert reason in run("relabel", path, "--manifest", tmp_path / "m.csv", status=2)
    assert "is a store of fisv, not of rg" in run("verify", path, "--dataset", "rg", status=2)


def test_verify_knows_the_words_of_the_card(tmp_path):
    known = find_manifest("rg")
    rows = labels_of(known)
    strange = Labels(
        rows.video_ids, ("val", *rows.splits[1:]), ("Rope", *rows.categories[1:]), ("style",), rows.scores[:, :1]
    )
    write_store(tmp_path / "rg.h5", dataset="rg", card=known.card, labels=strange, streams=[])
    told = run("verify", tmp_path / "rg.h5", status=1)
    for word in ("split 'val'", "category 'Rope'", "score 'style'"):
        assert f"the card of rg has no {word}" in told


def test_verify_knows_the_ranges_of_the_card(tmp_path):
    known = find_manifest("fisv")
    rows = labels_of(known)
    limits = known.card.scores["tes"]
    scores = np.full_like(rows.scores, np.nan)
    scores[:4, 0] = limits.minimum, limits.maximum, limits.minimum - 0.5, limits.maximum + 0.5
    table = dataclasses.replace(rows, scores=scores)
    write_store(tmp_path / "s.h5", dataset="fisv", card=known.card, labels=table, streams=[])
    (one, other) = json.loads(run("verify", tmp_path / "s.h5", "--json", status=1))["faults"]
    allowed = f"outside {limits.minimum:g} to {limits.maximum:g}"
    assert one == f"{rows.video_ids[2]}: score tes is {limits.minimum - 0.5:g}, {allowed}"
    assert other == f"{rows.video_ids[3]}: score tes is {limits.maximum + 0.5:g}, {allowed}"


def test_verify_tells_of_a_video_that_stands_in_a_stream_twice(tmp_path):
    streams = [plan(header(), [video("a", 2), video("b", 3), video("a", 2)])]
    write_store(tmp_path / "s.h5", dataset="d", card=None, labels=labels(["a", "b"]), streams=streams)
    name = f"fake@{header().recipe_id}"
    assert json.loads(run("verify", tmp_path / "s.h5", "--json", status=1))["faults"] == [
        f"{name}: a video stands in it twice"
    ]


@pytest.mark.parametrize("change", [{"texts": ("a", "c")}, {"groups": ("g", "g")}, {"features": np.zeros((2, 2))}])
def test_prompt_sets_that_differ(tmp_path, change):
    """Of one recipe; others stand side by side."""
    texts = text_features()
    other = dataclasses.replace(texts, **change)
    one = store_of(tmp_path / "1.h5", "ab", texts=[texts])
    refused = run("merge", one, store_of(tmp_path / "2.h5", "ab", texts=[other]), "--out", tmp_path / "m.h5", status=2)
    assert f"2.h5: prompt set qgvl@{texts.header.recipe_id} with other values" in refused
    assert not (tmp_path / "m.h5").exists()
    beside = dataclasses.replace(other, header=dataclasses.replace(texts.header, weights="v"))
    told = run("merge", one, store_of(tmp_path / "3.h5", "ab", texts=[beside]), "--out", tmp_path / "m.h5")
    assert "2 prompt sets" in told


def test_a_store_that_may_not_be_read(tmp_path, monkeypatch):
    path = make_store(tmp_path / "s.h5", {"a": 3})

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(h5py, "File", forbidden)
    assert f"no permission to read {path}" in run("info", path, status=2)


def test_stores_of_two_names_differ(tmp_path):
    one, other = make_store(tmp_path / "1.h5", {"a": 3}), make_store(tmp_path / "2.h5", {"a": 3})
    run("diff", one, other)
    with h5py.File(other, "r+") as file:
        file.attrs["dataset"] = "else"
    assert "against else" in run("diff", one, other, status=1)


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("layout", ["gdlt", "pamfn", "skating-mixer"])
def test_exported_and_imported_again(tmp_path, suffix, layout):
    from longtake.manifests.table import find_manifest

    manifest = find_manifest("fisv")
    ids = [row.video_id for row in manifest.rows[:3]]
    table = Labels(
        tuple(ids),
        ("train",) * 3,
        ("",) * 3,
        ("tes", "pcs"),
        np.array([[r.scores["tes"], r.scores["pcs"]] for r in manifest.rows[:3]]),
    )
    videos = [video(v, n, 6, n) for v, n in zip(ids, (3, 0, 5))]
    head = header("vst", 6)
    write_store(tmp_path / f"s{suffix}", dataset="fisv", card=manifest.card, labels=table, streams=[plan(head, videos)])
    output = run("export", tmp_path / f"s{suffix}", tmp_path / "out", "--layout", layout)
    assert "2 videos" in output and "labels.csv, train.txt" in output
    assert "not an empty folder" in run("export", tmp_path / f"s{suffix}", tmp_path / "out", status=2)
    run("import", tmp_path / "out", "--layout", layout, "--dataset", "fisv", "--backbone", "vst", "--out", tmp_path / "b.h5",
        "--labels", tmp_path / "out" / "train.txt")  # fmt: skip
    with open_store(tmp_path / "b.h5") as store:
        assert store.labels.video_ids == (ids[0], ids[2])
        np.testing.assert_array_equal(store.labels.scores, table.scores[[0, 2]])
        for which in (0, 2):
            np.testing.assert_array_equal(store.stream().read(ids[which]).features, videos[which].features)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_history_ends_in_the_same_store(tmp_path_factory, monkeypatch, data):
    """Written, appended to, split, merged and converted in any order and kind: what is in it does not depend on the way.

    Nothing is synced to the disk, which would take most of the time of the test.
    """
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
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


def test_a_split_that_leads_out_of_the_folder(tmp_path):
    card = dataclasses.replace(find_manifest("fisv").card, splits=("../../out",))
    table = Labels(("1",), ("../../out",), ("",), ("tes", "pcs"), np.ones((1, 2)))
    write_store(
        tmp_path / "s.h5", dataset="fisv", card=card, labels=table, streams=[plan(header(), [video("1", 3)])]
    )  # fmt: skip
    told = run("export", tmp_path / "s.h5", tmp_path / "a" / "b", status=2)
    assert "'../../out', which is no plain name: give it others with `features relabel`" in told
    assert not (tmp_path / "out.txt").exists() and not (tmp_path / "a").exists()


@pytest.mark.parametrize("suffix", KINDS)
def test_chunks_are_no_larger_than_readers_take(tmp_path, monkeypatch, suffix):
    for module in ("tree", "hdf5", "zarr3"):
        monkeypatch.setattr(f"longtake.features.formats.{module}.MAX_CHUNK_BYTES", 6 * 4 * 80)
    raw.write(tmp_path / "a.h5", raw.example())
    run("convert", tmp_path / "a.h5", tmp_path / f"b{suffix}", "--chunk-rows", 65536, "--compression", "gzip")
    with open_store(tmp_path / f"b{suffix}") as store:
        assert verify(store) == [] and store.storage.chunk_rows == 65536


@pytest.mark.parametrize("copy", [lambda source, out: merge([source], out), convert])
def test_a_compression_that_the_other_kind_has_not(tmp_path, copy):
    one = store_of(tmp_path / "1.h5", "abc")
    convert(one, tmp_path / "2.zarr", storage=Storage(3, "zstd"))
    for suffix, storage in ((".zarr", Storage(3, "zstd")), (".h5", Storage(3))):
        copy(tmp_path / "2.zarr", tmp_path / f"3{suffix}")
        with open_store(tmp_path / f"3{suffix}") as store:
            assert store.storage == storage and verify(store) == []
