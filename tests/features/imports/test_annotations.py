"""Label files of FineDiving and LOGO; `test_layouts.py` reads them by the commands."""

import pickle
import warnings

import pytest

from longtake.errors import LongtakeWarning
from longtake.features.imports.annotations import FINEDIVING_DIVES, finediving_labels
from longtake.manifests.card import find_card


def files_of(folder, numbers):
    """Dives in the authors' structure, so many in each split."""
    keys = {
        name: [(f"Meet{name}{index % 30}_final", index) for index in range(count)] for name, count in numbers.items()
    }
    steps = [1] * 10 + [14] * 10 + [37] * 5
    facts = {key: ["107B", 60.0 + key[1] / 100, 3.1, "?", steps] for one in keys.values() for key in one}
    values = {"fine-grained_annotation_aqa": facts} | {f"{name}_split": one for name, one in keys.items()}
    paths = [folder / f"{name}.pkl" for name in values]
    for path, value in zip(paths, values.values()):
        path.write_bytes(pickle.dumps(value))
    return paths


def test_the_published_numbers_of_dives_are_quiet(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = finediving_labels(files_of(tmp_path, FINEDIVING_DIVES), find_card("finediving"))
    found = [row.split for row in made.rows]
    assert (len(found), found.count("train"), found.count("test")) == (3000, 2251, 749)
    assert {row.boundaries for row in made.rows} == {(0.4, 0.8)}


@pytest.mark.parametrize("numbers", [{"train": 2251, "test": 748}, {"train": 3, "test": 1}, {"train": 2251, "test": 0}])
def test_other_numbers_are_said(tmp_path, numbers):
    with pytest.warns(LongtakeWarning, match="the published dataset has 3000, 2251 train and 749 test") as said:
        finediving_labels(files_of(tmp_path, numbers), find_card("finediving"))
    assert f"{numbers['train']} train and {numbers['test']} test" in str(said[0].message)
