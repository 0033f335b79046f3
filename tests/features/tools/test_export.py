"""Stores as files of features for published code. Its loaders' behaviour is written again here."""

import dataclasses
import pickletools

import numpy as np
import pytest

from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.files import Writer
from longtake.manifests.card import find_card
from longtake.manifests.table import find_manifest
from tests.features.fakes import KINDS, header, make_store, plan, run, video


def test_no_file_of_the_authors_where_a_score_is_missing(tmp_path):
    """Their format cannot express a missing score, and 0 is a score."""
    ids = [row.video_id for row in find_manifest("fisv").rows[:2]]
    for name, pcs in (("whole", 30.0), ("lacking", np.nan)):
        table = Labels(tuple(ids), ("train",) * 2, ("",) * 2, ("tes", "pcs"), np.array([[20.0, 31.0], [21.0, pcs]]))
        videos = [video(video_id, 3) for video_id in ids]
        path = tmp_path / f"{name}.h5"
        write_store(path, dataset="fisv", card=find_card("fisv"), labels=table, streams=[plan(header(), videos)])
        run("export", path, tmp_path / name)
        assert (tmp_path / name / "train.txt").exists() == (name == "whole")
        assert (tmp_path / name / "labels.csv").exists()


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
        groups={"skater": ("s1", "s2", "")},
    )
    videos = [video(v, n, 6, n) for v, n in zip(ids, (3, 0, 5))]
    head = header("vst", 6)
    write_store(tmp_path / f"s{suffix}", dataset="fisv", card=manifest.card, labels=table, streams=[plan(head, videos)])
    output = run("export", tmp_path / f"s{suffix}", tmp_path / "out", "--layout", layout)
    assert "2 videos" in output and "labels.csv, train.txt" in output
    assert (tmp_path / "out" / "labels.csv").read_text().startswith("video_id,split,group_skater,score_tes")
    assert "not an empty folder" in run("export", tmp_path / f"s{suffix}", tmp_path / "out", status=2)
    run("import", tmp_path / "out", "--layout", layout, "--dataset", "fisv", "--backbone", "vst", "--out", tmp_path / "b.h5",
        "--labels", tmp_path / "out" / "train.txt")  # fmt: skip
    with open_store(tmp_path / "b.h5") as store:
        assert store.labels.video_ids == (ids[0], ids[2])
        np.testing.assert_array_equal(store.labels.scores, table.scores[[0, 2]])
        for which in (0, 2):
            np.testing.assert_array_equal(store.stream().read(ids[which]).features, videos[which].features)


def test_a_split_that_leads_out_of_the_folder(tmp_path):
    card = dataclasses.replace(find_manifest("fisv").card, splits=("../../out",))
    table = Labels(("1",), ("../../out",), ("",), ("tes", "pcs"), np.ones((1, 2)))
    write_store(
        tmp_path / "s.h5", dataset="fisv", card=card, labels=table, streams=[plan(header(), [video("1", 3)])]
    )  # fmt: skip
    message = run("export", tmp_path / "s.h5", tmp_path / "a" / "b", status=2)
    assert "'../../out', which is not a plain name: rename it with `features relabel`" in message
    assert not (tmp_path / "out.txt").exists() and not (tmp_path / "a").exists()


def test_an_interrupted_export_is_repeated(tmp_path, monkeypatch):
    store = make_store(tmp_path / "s.h5", {"a": 3, "b": 2})
    save = np.save

    def interrupted(path, *arguments, **more):
        if path.name == "b.npy":
            raise KeyboardInterrupt
        save(path, *arguments, **more)

    monkeypatch.setattr(np, "save", interrupted)
    run("export", store, tmp_path / "out", status=130)
    monkeypatch.undo()
    killed = tmp_path / f".out.1-1@{Writer.current().host}.tmp"
    killed.mkdir()
    (killed / "a.npy").touch()
    run("export", store, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "s.h5"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.npy", "b.npy", "labels.csv"]


def dictionary(path):
    return np.load(path, allow_pickle=True).item()


def test_dictionaries_have_the_published_names(tmp_path):
    """PAMFN's loader opens three files of one folder; for Fis-V their names begin with FISV."""
    ids = [row.video_id for row in find_manifest("fisv").rows[:2]]
    table = Labels(tuple(ids), ("train",) * 2, ("",) * 2, ("tes", "pcs"), np.array([[20.0, 31.0], [21.0, 30.0]]))
    streams = [
        plan(dataclasses.replace(header(name), modality=modality), [video(one, 3) for one in ids])
        for name, modality in (("vst", "video"), ("i3d-flow", "video"), ("ast", "audio"))
    ]
    write_store(tmp_path / "s.h5", dataset="fisv", card=find_card("fisv"), labels=table, streams=streams)
    chosen = [word for name in ("vst", "i3d-flow", "ast") for word in ("--backbone", name)]
    run("export", tmp_path / "s.h5", tmp_path / "out", "--layout", "pamfn", *chosen)
    names = ["FISV_audio_AST.npy", "FISV_flow_I3D.npy", "FISV_rgb_VST.npy"]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.npy")) == names
    for name in names:
        found = dictionary(tmp_path / "out" / name)
        assert list(found) == ids
        np.testing.assert_array_equal(found[ids[0]], video(ids[0], 3).features)
    message = run("export", tmp_path / "s.h5", tmp_path / "other", *chosen, status=2)
    assert "takes the features of one backbone, got 3" in message


def test_dictionaries_name_only_modules_of_numpy_1(tmp_path):
    """numpy 1.20, which the published code runs on, has no `numpy._core`."""
    store = make_store(tmp_path / "s.h5", {"a": 3, "b": 2})
    run("export", store, tmp_path / "out", "--layout", "pamfn")
    (path,) = (tmp_path / "out").glob("*.npy")
    content = path.read_bytes()
    assert content[6:8] == bytes([1, 0])
    begin = 10 + int.from_bytes(content[8:10], "little")
    operations = [(code.name, argument) for code, argument, _ in pickletools.genops(content[begin:])]
    assert ("PROTO", 3) in operations
    names = {argument for name, argument in operations if name == "GLOBAL"}
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
    assert "STACK_GLOBAL" not in dict(operations)


def test_sound_for_skating_mixer_has_two_axes(tmp_path):
    """Its loader averages the second axis of pictures and not that of sound."""
    head = dataclasses.replace(header("ast"), modality="audio")
    run("export", make_store(tmp_path / "s.h5", {"a": 3}, head=head), tmp_path / "out", "--layout", "skating-mixer")
    assert np.load(tmp_path / "out" / "a.npy").shape == (3, 3)


def test_tensors_are_read_by_torch(tmp_path):
    torch = pytest.importorskip("torch")
    run("export", make_store(tmp_path / "s.h5", {"7": 3}), tmp_path / "out", "--layout", "finefs")
    tensor = torch.load(tmp_path / "out" / "7.pkl", weights_only=True)
    np.testing.assert_array_equal(tensor.numpy(), video("7", 3).features)
