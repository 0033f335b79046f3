"""Patterns of paths that name ids."""

import pytest

from longtake.features.errors import FeaturesError
from longtake.features.imports.path_pattern import find_files, match_text

NAMES = (
    "train/x/a_rgb.npy",
    "train/x/a_flow.npy",
    "test/b/b_rgb.npy",
    ".hidden/c_rgb.npy",
    "__MACOSX/._a_rgb.npy",
    "._d_rgb.npy",
)


@pytest.fixture
def tree(tmp_path):
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    "pattern, expected",
    [
        ("**/{id}_rgb.npy", {"a": {}, "b": {}}),
        ("{split}/*/{id}_rgb.npy", {"a": {"split": "train"}, "b": {"split": "test"}}),
        ("{split}/{category}/{id}_flow.npy", {"a": {"split": "train", "category": "x"}}),
        ("test/{id}/{id}_rgb.npy", {"b": {}}),
        ("train/{id}/{id}_rgb.npy", {"x_a": {}}),
        ("{id}_rgb.npy", {}),
    ],
)
def test_what_patterns_find(tree, pattern, expected):
    assert {one.video_id: dict(one.labels) for one in find_files(tree, pattern)} == expected


@pytest.mark.parametrize("pattern", ["", "/etc/{id}", "../{id}", "{name}.npy", "a/../{id}"])
def test_patterns_that_are_refused(tree, pattern):
    with pytest.raises(FeaturesError):
        find_files(tree, pattern)


def test_ids_of_names_in_files():
    assert match_text("features/{id}", "features/a.1") == "a.1"
    assert match_text("{id}/rgb", "features/a") is None
