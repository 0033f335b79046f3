"""Label files as the authors of datasets publish them."""

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
    without_groups = tuple(replace(row, groups={}) for row in shipped.rows)
    assert manifest.rows == without_groups, "the built-in table holds every row of the files, the first included"


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
