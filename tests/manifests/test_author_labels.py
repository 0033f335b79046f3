"""Label files as the authors of datasets publish them."""

import json
import re
from dataclasses import replace

import pytest

from longtake.errors import ManifestError
from longtake.manifests.author_labels import read_labels
from longtake.manifests.card import find_card
from longtake.manifests.table import find_manifest


def write(tmp_path, text, name="m.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["rg", "fisv"])
def test_label_files_of_the_authors(shared, name):
    folder = shared / "data" / "labels" / name
    manifest = read_labels([folder / "train.txt", folder / "test.txt"], find_card(name))
    shipped = find_manifest(name)
    of_files = tuple(
        replace(row, groups={}, scores={key: row.scores[key] for key in manifest.rows[0].scores})
        for row in shipped.rows
    )
    assert manifest.rows == of_files, "the built-in table holds every row of the files, the first included"


def kind(element: str) -> int:
    """The number of manifests/fisv.toml, of an element as judges' sheets write it, such as 3Lz+3T, LSp4 or StSq3."""
    if "Sp" in element:
        return {"L": 4, "F": 5}.get(element[0], 6)
    if "St" in element:
        return 7
    if "+" in element:
        return 2
    # An A without a number was left out: no rotation counts.
    return 3 if re.match(r"\dA", element) else 1


def test_elements_of_skating_are_those_of_the_annotations(shared):
    elements = json.loads((shared / "data" / "labels" / "fisv" / "elements_train400.json").read_text())
    rows = [row for row in find_manifest("fisv").rows if row.split == "train"]
    assert len(rows) == len(elements) == 400
    for row in rows:
        expected = {f"element{n}": kind(one["element_name"]) for n, one in enumerate(elements[row.video_id], 1)}
        assert {name: value for name, value in row.scores.items() if name in expected} == expected


def test_faults_of_label_files(tmp_path):
    path = write(tmp_path, "1 28.71 29.36 1\n2 99 27.08 1\n1 30 30 0\n3 30\n", "train.txt")
    with pytest.raises(ManifestError) as caught:
        read_labels([path], find_card("fisv"))
    for fault in ("line 2: score_tes 99", "line 3: video_id '1'", "line 4: 2 columns; 4 expected"):
        assert fault in str(caught.value)
    with pytest.raises(ManifestError, match="begin with its split"):
        read_labels([write(tmp_path, "1 2 3 4\n", "labels.txt")], find_card("fisv"))
    with pytest.raises(ManifestError, match="no label file"):
        read_labels([tmp_path / "train2.txt"], find_card("fisv"))
    test = write(tmp_path, "1 28.71 29.36 1\n", "test.txt")
    train = write(tmp_path, "1 28.71 29.36 1\n", "train.txt")
    with pytest.raises(ManifestError, match="overlapping splits"):
        read_labels([train, test], find_card("fisv"))


@pytest.mark.parametrize("first", ["Ball_001 5 8 - 0 90", "Ball_001 5,0 8 13 0 90"])
def test_a_first_line_with_a_fault_is_no_header(tmp_path, first):
    """A video would be lost without a word."""
    path = write(tmp_path, f"{first}\nBall_002 6 7 13 0 90\n", "train.txt")
    with pytest.raises(ManifestError, match="line 1: score_.* is not a number"):
        read_labels([path], find_card("rg"))
