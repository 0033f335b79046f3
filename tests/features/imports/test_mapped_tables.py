"""Parquet, Arrow and CSV tables, and folders as `datasets` of Hugging Face writes them."""

import json

import numpy as np
import pytest

from tests.features.imports.trees import IDS, clips, holds, imported, write_table

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def table(ids, **columns):
    """A row for each video, with a list of lists."""
    return pa.table({"name": list(ids), "emb": [clips(video_id).tolist() for video_id in ids], **columns})


def test_parquet_with_a_row_for_each_video(tmp_path):
    tree = tmp_path / "hub"
    (tree / "data").mkdir(parents=True)
    pq.write_table(table(IDS[:2], y=[1.5, 2.5]), tree / "data" / "train-00000-of-00001.parquet")
    pq.write_table(table(IDS[2:], y=[3.5]), tree / "data" / "test-00000-of-00001.parquet")
    (tree / "README.md").write_text("a dataset")
    call = ("--ids", "name", "--features", "emb", "--labels", "score=y")
    assert "split=train score_total=1.5" in imported(tree, *call, "--dry-run")
    imported(tree, *call)
    _, labels, _ = holds(tree, {video_id: clips(video_id) for video_id in ("b1", "a1", "a2")})
    assert dict(zip(labels.video_ids, labels.splits)) == {"a1": "train", "a2": "train", "b1": "test"}


def test_a_folder_of_save_to_disk(tmp_path):
    tree = tmp_path / "saved"
    for split, ids in (("train", IDS[:2]), ("validation", IDS[2:])):
        (tree / split).mkdir(parents=True)
        made = table(ids)
        with (
            pa.OSFile(str(tree / split / "data-00000-of-00001.arrow"), "wb") as file,
            pa.ipc.new_stream(file, made.schema) as out,
        ):
            out.write_table(made)
        (tree / split / "state.json").write_text("{}")
    (tree / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "validation"]}))
    imported(tree, "--ids", "name", "--features", "emb")
    _, labels, _ = holds(tree, {video_id: clips(video_id) for video_id in IDS})
    assert labels.splits == ("train", "train", "val")


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow"])
def test_a_row_for_each_clip(tmp_path, kind):
    source = tmp_path / f"all.{kind}"
    rows = [(video_id, t * 0.5, *row) for video_id in IDS for t, row in enumerate(clips(video_id))]
    names = ["video", "time", *(f"f{n}" for n in range(6))]
    columns = dict(zip(names, map(list, zip(*rows))))
    if kind == "csv":
        lines = [
            ",".join(names),
            *(",".join(f"{cell:.9g}" if not isinstance(cell, str) else cell for cell in row) for row in rows),
        ]
        source.write_text("\n".join(lines))
    elif kind == "parquet":
        pq.write_table(pa.table(columns), source)
    else:
        with pa.OSFile(str(source), "wb") as file, pa.ipc.new_file(file, pa.table(columns).schema) as out:
            out.write_table(pa.table(columns))
    labels = write_table(tmp_path / "mine.csv")
    assert "there are video, time, f0" in imported(source, "--ids", "video", "--manifest", labels, status=2)
    assert "no column 'g*'" in imported(source, "--ids", "video", "--features", "g*", "--manifest", labels, status=2)
    imported(source, "--ids", "video", "--features", "f*", "--seconds", "time", "--manifest", labels)
    videos, _, _ = holds(source, {video_id: clips(video_id) for video_id in IDS})
    np.testing.assert_allclose(videos["a1"].start_seconds, 0.5 * np.arange(len(clips("a1"))))


def test_a_video_with_a_bad_row_is_left_out_whole(tmp_path):
    source = tmp_path / "all.parquet"
    emb = [[1.0, 2.0], [1.0, 2.0], [3.0], None]
    pq.write_table(pa.table({"name": ["a1", "a2", "a2", "b1"], "emb": emb, "y": [1, 2, 3, 4]}), source)
    call = ("--ids", "name", "--features", "emb")
    said = imported(source, *call, "--manifest", write_table(tmp_path / "m.csv"), status=1)
    assert "a2" in said and "b1" in said and said.count("bad, left out") == 2
    holds(source, {"a1": np.array([[1, 2]], np.float32)})
    said = imported(source, *call, "--labels", "score=y", status=1, out="n.h5")
    assert "a2 has other labels than in its first row" in said


def test_a_video_whose_rows_disagree_is_left_out(tmp_path):
    source = tmp_path / "all.parquet"
    pq.write_table(pa.table({"name": ["a1", "a1", "b1"], "emb": [[1.0, 2.0]] * 3, "y": [1, 2, 3]}), source)
    said = imported(source, "--ids", "name", "--features", "emb", "--labels", "score=y", status=1)
    assert "a1 has other labels than in its first row" in said
    holds(source, {"b1": np.array([[1, 2]], np.float32)})


def test_several_rows_of_whole_videos(tmp_path):
    source = tmp_path / "all.parquet"
    pq.write_table(table(["a1", "a1", "b1"]), source)
    said = imported(
        source, "--ids", "name", "--features", "emb", "--manifest", write_table(tmp_path / "m.csv"), status=1
    )
    assert "2 rows of one video, each with an array (3, 6); one row expected" in said


def test_damaged_and_hostile_tables(tmp_path, monkeypatch):
    from longtake.features.imports import row_tables

    tree = tmp_path / "t"
    tree.mkdir()
    pq.write_table(table(IDS[:1]), tree / "train-0.parquet")
    (tree / "train-1.parquet").write_bytes(b"PAR1 nothing PAR1")
    labels = write_table(tmp_path / "m.csv")
    said = imported(tree, "--ids", "name", "--features", "emb", "--manifest", labels, status=1)
    assert "train-1.parquet is not a whole Parquet or Arrow file" in said
    monkeypatch.setattr(row_tables, "SPARE_BYTES", 0)
    pq.write_table(pa.table({"name": ["a1"] * 100_000, "emb": [0.0] * 100_000}), tmp_path / "big.parquet")
    said = imported(tmp_path / "big.parquet", "--ids", "name", "--features", "emb", "--manifest", labels, status=2)
    assert "declares more values" in said or "unpacks to more" in said


def test_one_video_in_two_splits(tmp_path):
    tree = tmp_path / "t"
    tree.mkdir()
    pq.write_table(table(IDS[:2]), tree / "train-0.parquet")
    pq.write_table(table(IDS[1:]), tree / "test-0.parquet")
    said = imported(tree, "--ids", "name", "--features", "emb", status=1)
    assert "a2 is in" in said and "train-0.parquet" in said and "test-0.parquet" in said


def test_ids_and_labels_of_a_csv_are_not_numbers(tmp_path):
    source = tmp_path / "all.csv"
    source.write_text("name,f0,f1,team\n007,1,2,01\n7,3,4,01\n1e1,5,6,1\n")
    call = ("--ids", "name", "--features", "f*", "--labels", "group_team=team")
    imported(source, *call)
    expected = {"007": [[1, 2]], "7": [[3, 4]], "1e1": [[5, 6]]}
    _, labels, _ = holds(source, {name: np.array(rows, np.float32) for name, rows in expected.items()})
    assert labels.groups["team"] == ("01", "01", "1")


def test_files_of_one_table_with_columns_in_another_order(tmp_path):
    folder = tmp_path / "t"
    folder.mkdir()
    (folder / "1.csv").write_text("name,f0,f1\na1,1,2\n")
    (folder / "2.csv").write_text("name,f1,f0\na2,2,1\n")
    (folder / "3.csv").write_text("name,f1,f2\nb1,2,1\n")
    call = ("--ids", "name", "--features", "f*", "--manifest", write_table(tmp_path / "m.csv"))
    assert "3.csv and the first file differ in the columns of features" in imported(folder, *call, status=1)
    holds(folder, dict.fromkeys(("a1", "a2"), np.array([[1, 2]], np.float32)))


def test_two_columns_of_one_name(tmp_path):
    arrays = [pa.array(["a1"]), pa.array([1.0]), pa.array([2.0])]
    pq.write_table(pa.Table.from_arrays(arrays, names=["name", "f0", "f0"]), tmp_path / "t.parquet")
    call = ("--ids", "name", "--features", "f*", "--manifest", write_table(tmp_path / "m.csv"))
    assert "two columns have the name 'f0'" in imported(tmp_path / "t.parquet", *call, status=2)
