"""What a user says of files."""

import pytest

from longtake.features.errors import InvalidFeatures
from longtake.features.imports.layouts import SourceVideo
from longtake.features.imports.mapping import Mapped, Unique, label_text


def test_milliseconds_by_name():
    assert Mapped().spans([0, 500], 2, "t")[1, 0] == 500
    for name in ("t_ms", "{id}_timestamps_ms.npy"):
        assert Mapped().spans([0, 500], 2, name)[1, 0] == 0.5


def test_the_recipe_has_what_decides_the_numbers():
    assert Mapped().origin == "imported: files"
    made = Mapped(features="rgb", axes_text="mean,clip,feature")
    assert made.origin == "imported: files; features rgb; axes mean,clip,feature"


def test_all_clashes_are_in_one_message(tmp_path):
    made = Unique()
    for video_id, where in (("a", "1"), ("a", "2"), ("b", "3"), ("x/y", "4")):
        made.add(video_id, SourceVideo(tmp_path, lambda: None, None, where), where)
    with pytest.raises(InvalidFeatures, match="a is 1 and 2\n.*x/y"):
        made.finish("{id}")


def test_labels_as_text():
    assert [label_text(value) for value in (None, float("nan"), b"a", 1.5, "x")] == ["", "", "a", "1.5", "x"]
