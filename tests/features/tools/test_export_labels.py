"""Label files for published code. Its readers are in test_published_readers.py."""

import json
import pickle

import numpy as np
import pytest

from longtake.features.labels import Labels, labels_of
from longtake.features.store import write_store
from longtake.manifests.author_labels import read_labels
from longtake.manifests.card import find_card
from longtake.manifests.table import find_manifest
from tests.features.fakes import header, plan, run, video


def exported(tmp_path, dataset, layout="gdlt", table=None, **scores):
    """The folder of an export of the whole dataset, or of a table of it, with one clip a video."""
    table = table or labels_of(find_manifest(dataset))
    videos = [video(name, 1) for name in table.video_ids]
    write_store(
        tmp_path / "s.h5", dataset=dataset, card=find_card(dataset), labels=table, streams=[plan(header(), videos)]
    )
    run("export", tmp_path / "s.h5", tmp_path / "out", "--layout", layout)
    return tmp_path / "out"


def test_the_header_line_is_read_by_our_own_reader(tmp_path):
    folder = exported(tmp_path, "rg")
    manifest = read_labels([folder / "train.txt", folder / "test.txt"], find_card("rg"))
    assert {row.video_id: row.scores for row in manifest.rows} == {
        row.video_id: row.scores for row in find_manifest("rg").rows
    }


@pytest.mark.parametrize("dataset", ["rg", "fisv"])
def test_deductions_are_the_authors_and_else_unknown(tmp_path, dataset):
    known = find_manifest(dataset).rows[1].video_id
    names = ("tes", "pcs") if dataset == "fisv" else ("difficulty", "execution", "total")
    first = "Ball_900" if dataset == "rg" else "900"
    table = Labels(
        (first, known), ("train",) * 2, ("Ball" if dataset == "rg" else "",) * 2, names, np.full((2, len(names)), 9.0)
    )
    folder = exported(tmp_path, dataset, table=table)
    *_, own, theirs = [line.split() for line in (folder / "train.txt").read_text().splitlines()]
    assert own[len(names) + 1 :] == ["nan"] * (1 if dataset == "fisv" else 2)
    assert theirs[len(names) + 1 :] == (["1"] if dataset == "fisv" else ["0.6", "93"])


def test_finefs_annotations(tmp_path):
    table = Labels(
        ("3", "800"), ("train", "test"), ("short", "free"), ("short_tes", "short_pcs", "free_tes"),
        np.array([[30.5, 25.0, np.nan], [np.nan, np.nan, 80.0]]),
    )  # fmt: skip
    folder = exported(tmp_path, "finefs", "finefs", table)
    read = {name: json.loads((folder / "labels" / f"{name}.json").read_text()) for name in ("3", "800")}
    pcs = "total_program_component_score(factored)"
    assert read["3"] == {"total_element_score": 30.5, pcs: 25.0}
    assert read["800"] == {"total_element_score": 80.0, pcs: None}


def test_logo_annotations(tmp_path):
    """CoFInAl's and QTD's loaders take the score at place 1 of an entry, and keys of two parts."""
    table = Labels(("WC_final_3", "WC_4"), ("train", "test"), ("Free", ""), ("total",), np.array([[80.0], [70.5]]))
    folder = exported(tmp_path, "logo", "logo", table)
    read = {path.stem: pickle.loads(path.read_bytes()) for path in folder.glob("*.pkl")}
    assert {key: facts[1] for key, facts in read["anno_dict"].items()} == {("WC_final", 3): 80.0, ("WC", 4): 70.5}
    assert read["train_split3"] == [("WC_final", 3)] and read["test_split3"] == [("WC", 4)]


def test_logo_needs_ids_of_two_parts(tmp_path):
    table = Labels(("routine",), ("train",), ("",), ("total",), np.array([[80.0]]))
    with pytest.raises(AssertionError, match="takes ids <competition>_<number>, got 'routine'"):
        exported(tmp_path, "logo", "logo", table)
