"""Any folder tree or file becomes a store, by a mapping that is shown before it is done."""

import os
import pickle
import warnings

import numpy as np
import pytest
import scipy.io
import torch

from tests.features.imports.trees import IDS, clips, h5, holds, imported, write_table

WRITERS = {
    ".npy": lambda path, array: np.save(path, array),
    ".npz": lambda path, array: np.savez(path, features=array),
    ".pt": lambda path, array: torch.save({"features": torch.from_numpy(array), "fps": 25.0}, path),
    ".pkl": lambda path, array: path.write_bytes(pickle.dumps({"features": array, "name": path.stem})),
    ".h5": lambda path, array: h5(path, features=array, coords=np.zeros((len(array), 2), np.int64)),
    ".mat": lambda path, array: scipy.io.savemat(path, {"features": array}, do_compression=True),
    ".csv": lambda path, array: np.savetxt(path, array, delimiter=",", fmt="%.9g"),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_tree_of_every_kind_of_file(tmp_path, suffix):
    tree = tmp_path / "tree"
    for video_id in IDS:
        folder = tree / video_id[0]
        folder.mkdir(parents=True, exist_ok=True)
        WRITERS[suffix](folder / f"{video_id}{suffix}", clips(video_id))
    table = write_table(tmp_path / "mine.csv")
    shown = imported(tree, "--manifest", table, "--dry-run")
    assert "would hold 3 videos" in shown and f"a/a1{suffix}" in shown and "split=train score_total=1" in shown
    assert not (tmp_path / "o.h5").exists() and not list(tmp_path.glob("*.parts"))
    imported(tree, "--manifest", table)
    _, labels, header = holds(tree, {video_id: clips(video_id) for video_id in IDS})
    assert labels.scores[:, 0].tolist() == [0, 1, 2] and header.origin == "imported: files"


def test_a_matlab_file_of_version_7_3_has_the_axes_of_matlab(tmp_path):
    """HDF5 stores them the other way round."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for video_id in IDS:
        h5(tree / f"{video_id}.mat", features=clips(video_id).T)
        content = (tree / f"{video_id}.mat").read_bytes()
        head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512, b"\0")
        (tree / f"{video_id}.mat").write_bytes(head + content)
    imported(tree, "--manifest", write_table(tmp_path / "mine.csv"))
    holds(tree, {video_id: clips(video_id) for video_id in IDS})


def test_labels_of_paths(tmp_path):
    tree = tmp_path / "tree"
    for video_id, split in zip(IDS, ("train", "test", "train")):
        (tree / split / video_id[0]).mkdir(parents=True, exist_ok=True)
        np.save(tree / split / video_id[0] / f"{video_id}_rgb.npy", clips(video_id))
        np.save(tree / split / video_id[0] / f"{video_id}_flow.npy", clips(video_id))
    ids = "{split}/{category}/{id}_rgb.npy"
    imported(tree, "--ids", ids)
    _, labels, _ = holds(tree, {video_id: clips(video_id) for video_id in ("a2", "a1", "b1")})
    assert dict(zip(labels.video_ids, labels.splits)) == {"a1": "train", "a2": "test", "b1": "train"}
    assert dict(zip(labels.video_ids, labels.categories)) == {"a1": "a", "a2": "a", "b1": "b"}
    message = imported(tree, "--ids", ids, "--manifest", write_table(tmp_path / "m.csv"), out="n.h5", status=2)
    assert "write * for {split} and {category}" in message


def test_a_file_whose_name_is_not_utf8(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for video_id in IDS:
        np.save(tree / "x.npy", clips(video_id))
        os.rename(tree / "x.npy", os.fsencode(tree) + f"/{video_id}_".encode() + b"caf\xe9.npy")
    imported(tree, "--ids", "{id}_*.npy", "--manifest", write_table(tmp_path / "m.csv"))
    videos, _, _ = holds(tree, {video_id: clips(video_id) for video_id in IDS})
    assert {one.record.source_name for one in videos.values()} == {f"{video_id}_caf .npy" for video_id in IDS}


def test_names_inside_files_and_labels_next_to_them(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for number, video_id in enumerate(IDS):
        array = clips(video_id)
        times = np.arange(len(array)) * 640.0
        np.savez(tree / f"{video_id}.npz", rgb=array, flow=array + 1, t_ms=times, score=number / 2, set="test")
    message = imported(tree, "--labels", "score=score", status=2)
    assert "rgb float32 (3, 6), flow float32 (3, 6)" in message and "--features NAME" in message
    imported(
        tree, "--features", "flow", "--seconds", "t_ms", "--labels", "score=score", "--labels", "split=set", "--dtype", "float32"
    )  # fmt: skip
    videos, labels, header = holds(tree, {video_id: clips(video_id) + 1 for video_id in IDS})
    assert labels.scores[:, 0].tolist() == [0, 0.5, 1] and set(labels.splits) == {"test"}
    np.testing.assert_allclose(videos["a1"].start_seconds, 0.64 * np.arange(len(clips("a1"))))
    np.testing.assert_allclose(videos["a1"].end_seconds - videos["a1"].start_seconds, 0.64)
    assert "features flow" in header.origin
    assert "no column 'scores' of a manifest" in imported(tree, "--labels", "scores=score", status=2, out="n.h5")


@pytest.mark.parametrize("kind", ["pkl", "h5", "npz"])
def test_one_file_of_many_videos(tmp_path, kind):
    source = tmp_path / f"all.{kind}"
    arrays = {video_id: clips(video_id) for video_id in IDS}
    if kind == "pkl":
        source.write_bytes(pickle.dumps({name: {"rgb": array, "label": 3} for name, array in arrays.items()}))
    elif kind == "h5":
        h5(source, **{f"{name}__rgb": array for name, array in arrays.items()})
    else:
        np.savez(source, **{f"{name}/rgb": array for name, array in arrays.items()})
    table = write_table(tmp_path / "mine.csv")
    assert "'{id}'" in imported(source, "--manifest", table, status=2)
    imported(source, "--features", "{id}/rgb", "--manifest", table)
    holds(source, arrays)


@pytest.mark.parametrize(
    "shape, axes, expected",
    [
        ((10, 4, 6), "mean,clip,feature", lambda array: array.mean(0, dtype=np.float64).astype(np.float32)),
        ((4, 6, 2, 2), "clip,feature,max,max", lambda array: array.max((2, 3))),
        ((1, 4, 6), "one,clip,feature", lambda array: array[0]),
        ((6, 4), "feature,clip", lambda array: array.T),
        ((6,), "feature", lambda array: array[None]),
    ],
)
def test_other_axes_need_a_rule_and_the_recipe_has_it(tmp_path, shape, axes, expected):
    tree = tmp_path / "tree"
    tree.mkdir()
    arrays = {
        video_id: np.random.default_rng(n).normal(size=shape).astype(np.float32) for n, video_id in enumerate(IDS)
    }
    for video_id, array in arrays.items():
        np.save(tree / f"{video_id}.npy", array)
    table = write_table(tmp_path / "mine.csv")
    if len(shape) != 2:
        assert (
            "say" in (said := imported(tree, "--manifest", table, status=2)) and "a1.npy" in said and "b1.npy" in said
        )
    imported(tree, "--manifest", table, "--axes", axes)
    _, _, header = holds(tree, {video_id: expected(array) for video_id, array in arrays.items()})
    assert header.origin == f"imported: files; axes {axes}"


def test_arrays_that_seem_turned_are_refused(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for n, video_id in enumerate(IDS):
        np.save(tree / f"{video_id}.npy", np.ones((8, 3 + n), np.float32))
    table = write_table(tmp_path / "mine.csv")
    message = imported(tree, "--manifest", table, status=2)
    assert "the first axis of all 3 arrays is 8, and the second 3, 4, 5" in message and "--axes feature,clip" in message
    for video_id in IDS:
        np.save(tree / f"{video_id}.npy", np.ones((1024, 60), np.float32))
    assert "--axes clip,feature if they are (clips, dim)" in imported(tree, "--manifest", table, status=2)
    imported(tree, "--manifest", table, "--axes", "clip,feature")
    holds(tree, {video_id: np.ones((1024, 60), np.float32) for video_id in IDS})


def test_bad_files_do_not_stop_the_others(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    ids = [f"v{n}" for n in range(7)]
    np.save(tree / "v0.npy", clips("v0"))
    (tree / "v1.npy").write_bytes(b"nothing")
    (tree / "v2.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))
    np.save(tree / "v3.npy", np.full((3, 6), np.nan, np.float32))
    (tree / "v4.npz").write_bytes(b"PK\x03\x04broken")
    (tree / "v5.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(126, b" ") + b"IM" + bytes(30))
    (tree / "v6.csv").write_text("1,2,3,4,5,6\n1,2,x,4,5,6\n")
    said = imported(tree, "--manifest", write_table(tmp_path / "mine.csv", ids), status=1)
    assert "1 videos" in said and said.count("bad, left out") == 6
    assert all(f"{video_id}." in said for video_id in ids[1:]) and "line 2" in said
    holds(tree, {"v0": clips("v0")})


def test_ambiguous_ids_are_one_message(tmp_path):
    tree = tmp_path / "tree"
    for folder in ("x", "y"):
        (tree / folder).mkdir(parents=True)
        np.save(tree / folder / "a1.npy", clips("a1"))
    table = write_table(tmp_path / "mine.csv", ["x_a1", "y_a1"])
    message = imported(tree, "--manifest", table, status=2)
    assert message.count("error:") == 1 and "a1 is x/a1.npy and y/a1.npy" in message
    imported(tree, "--manifest", table, "--ids", "{id}/{id}.npy")
    holds(tree, {"x_a1": clips("a1"), "y_a1": clips("a1")})


def test_different_widths_are_one_message(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    np.save(tree / "a1.npy", clips("a1"))
    np.save(tree / "a2.npy", clips("a2", dim=7))
    message = imported(tree, "--manifest", write_table(tmp_path / "mine.csv"), status=2)
    assert "videos of different widths: 6 (a1.npy), 7 (a2.npy)" in message and message.count("error:") == 1


def test_a_malicious_pickle_is_not_run(tmp_path):
    from tests.features.imports.test_safe_pickle import Payload

    tree = tmp_path / "tree"
    tree.mkdir()
    np.save(tree / "a1.npy", clips("a1"))
    (tree / "a2.pkl").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = imported(tree, "--manifest", write_table(tmp_path / "mine.csv"), status=1)
    assert "only arrays and plain values are read" in said and not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "options, words",
    [
        (("--ids", "{name}.npy"), "a pattern knows {id}, {split}, {category}"),
        (("--ids", "../{id}.npy"), "a pattern names files inside SOURCE"),
        (("--ids", "{id}.txt"), "holds no file '{id}.txt'"),
        (("--axes", "time,feature"), "--axes names each axis"),
        (("--features", "rgb"), "holds no 'rgb'; it holds one array float32 (3, 6)"),
        (("--files", "*.npy"), "finds files by --ids, not --files"),
        (("--seconds", "{id}.txt"), "cannot read"),
    ],
)
def test_mistakes(tmp_path, options, words):
    tree = tmp_path / "tree"
    tree.mkdir()
    np.save(tree / "a1.npy", clips("a1"))
    message = imported(tree, "--manifest", write_table(tmp_path / "mine.csv"), *options, status=2)
    assert words in message and "Traceback" not in message
    assert not (tmp_path / "o.h5").exists()


def test_tables_with_a_header_for_each_video(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for video_id in IDS:
        rows = [",f0,f1,time,note", *(f"{n},{n / 2},{n + 0.5},{n * 0.25},x" for n in range(3))]
        (tree / f"{video_id}.csv").write_text("\n".join(rows))
    table = write_table(tmp_path / "mine.csv")
    assert "columns such as 'f*'" in imported(tree, "--manifest", table, status=2)
    assert "not numbers" in imported(tree, "--manifest", table, "--features", "[fn]*", "--features", "n*", status=2)
    imported(tree, "--manifest", table, "--features", "f*", "--seconds", "time")
    videos, _, _ = holds(tree, {video_id: np.array([[0, 0.5], [0.5, 1.5], [1, 2.5]], np.float32) for video_id in IDS})
    np.testing.assert_allclose(videos["a1"].start_seconds, [0, 0.25, 0.5])


def test_tables_whose_columns_have_another_order(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for video_id, rows in (("a1", "f0,f1\n1,2"), ("a2", "f1,f0\n2,1"), ("b1", "f1,f2\n2,1")):
        (tree / f"{video_id}.csv").write_text(rows)
    said = imported(tree, "--manifest", write_table(tmp_path / "mine.csv"), "--features", "f*", status=1)
    assert "b1.csv and the first file differ in the columns of features" in said
    holds(tree, dict.fromkeys(("a1", "a2"), np.array([[1, 2]], np.float32)))


def test_a_table_needs_its_column_of_ids(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"name": ["a1"], "emb": [[1.0]]}), tmp_path / "t.parquet")
    message = imported(tmp_path / "t.parquet", "--manifest", write_table(tmp_path / "mine.csv"), status=2)
    assert "name its column of ids with --ids; there are name, emb" in message


def test_splits_as_people_name_them(tmp_path):
    tree = tmp_path / "tree"
    for split in ("Training", "Validation"):
        (tree / split).mkdir(parents=True)
        np.save(tree / split / f"{split}.npy", clips(split))
    imported(tree, "--ids", "{split}/{id}.npy")
    _, labels, _ = holds(tree, {split: clips(split) for split in ("Training", "Validation")})
    assert labels.splits == ("train", "val")


def test_videos_without_labels_say_what_to_do(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    np.save(tree / "a1.npy", clips("a1"))
    assert "have no labels: say --manifest FILE" in imported(tree, status=2)
