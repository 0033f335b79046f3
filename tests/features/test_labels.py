"""Labels: what they accept, and how two sets are joined and compared."""

import numpy as np
import pytest

from longtake.features.errors import InvalidFeatures
from longtake.features.labels import (
    LabelRow,
    Labels,
    combine_labels,
    label_conflicts,
    labels_of,
    labels_of_rows,
    no_labels,
)
from longtake.manifests.table import read_manifest


def make(ids, scores, splits=None, boundaries=None, groups=None):
    columns = np.array(scores, dtype=float)[:, None]
    more = {} if boundaries is None else {"boundaries": np.array(boundaries, dtype=float)}
    more["groups"] = groups or {}
    return Labels(tuple(ids), tuple(splits or ["train"] * len(ids)), ("A",) * len(ids), ("total",), columns, **more)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: make("aa", [1, 2]),
        lambda: Labels(("a",), ("train",), ("A",), ("total",), np.zeros((2, 1))),
        lambda: Labels(("a",), (), ("A",), ("total",), np.zeros((1, 1))),
        lambda: make("a", [1], boundaries=[[2, 1]]),
        lambda: make("a", [1], boundaries=[[np.nan, 1]]),
        lambda: make("a", [1], boundaries=[[np.inf]]),
        lambda: make("ab", [1, 2], boundaries=[[1]]),
        lambda: make("ab", [1, 2], groups={"skater": ("s1",)}),
        lambda: make("a", [1], groups={"../skater": ("s1",)}),
        lambda: make("a", [1], groups={"Skater": ("s1",)}),
    ],
)
def test_labels_that_break_the_rules(wrong):
    with pytest.raises(InvalidFeatures):
        wrong()


def test_a_manifest_becomes_labels(tmp_path):
    (tmp_path / "m.csv").write_text("video_id,split,score_total,boundary_1_seconds\na,train,7.5,2\nb,,,\n")
    found = labels_of(read_manifest(tmp_path / "m.csv"))
    assert found.rows() == {"a": LabelRow("train", "", {"total": 7.5}, (2.0,)), "b": LabelRow("", "", {})}
    assert list(found.to_columns()) == ["video_id", "split", "category", "score_total", "boundary_1_seconds"]
    assert repr(found) == "Labels(2 videos, scores total)" and len(no_labels()) == 0


def test_the_newest_value_that_is_not_missing_counts():
    new = make("ab", [np.nan, 2], ["", "test"])
    old = make("ac", [1, 3], boundaries=[[0.5, 1.5], [1, np.nan]])
    assert combine_labels(new, old).rows() == {
        "a": LabelRow("train", "A", {"total": 1.0}, (0.5, 1.5)),
        "b": LabelRow("test", "A", {"total": 2.0}),
        "c": LabelRow("train", "A", {"total": 3.0}, (1.0,)),
    }
    assert combine_labels(no_labels(), old).equals(old)


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (make("ab", [1, 2]), make("b", [9])),
        (make("ab", [1, 2]), make("bc", [9, 9])),
        (make("ab", [1, np.nan]), make("b", [9])),
        (make("ab", [1, 2], ["train", ""]), make("b", [9])),
        (make("ab", [1, 2]), make("b", [9], boundaries=[[5]])),
        (make("ab", [1, 2], boundaries=[[1], [np.nan]]), make("b", [9], boundaries=[[5]])),
        (make("ab", [1, 2], boundaries=[[1], [3]]), make("b", [9], boundaries=[[5]])),
        (make("ab", [1, 2]), make("b", [9], groups={"skater": ("s",)})),
        (make("ab", [1, 2], groups={"skater": ("s", "")}), make("b", [9], groups={"skater": ("t",)})),
        (make("ab", [1, 2], groups={"skater": ("s", "u")}), make("b", [9], groups={"skater": ("t",)})),
    ],
)
def test_labels_without_gaps_are_not_joined_row_by_row(new, old, monkeypatch):
    """The result is the same."""
    found, covers = combine_labels(new, old), new.covers(old)
    monkeypatch.setattr(Labels, "covers", lambda *_: False)
    assert found.equals(combine_labels(new, old)) and covers == (found is new)
    assert covers or not new.equals(found)


def test_sets_without_a_common_video_are_joined_as_rows_would_be():
    one = make("ab", [1, np.nan], ["", "test"], [[0.5, np.nan], [1, 2]], {"event": ("e1", "")})
    other = Labels(
        ("c",), ("train",), ("B",), ("extra", "total"), np.array([[np.nan, 4.0]]), groups={"skater": ("s1",)}
    )
    joined = combine_labels(one, other)
    rows = one.rows() | other.rows()
    assert joined.equals(labels_of_rows(rows, ("total", "extra"))) and joined.rows() == rows
    assert combine_labels(one, no_labels()).equals(one)


def test_empty_sets_change_nothing():
    one = make("ab", [1, np.nan])
    assert combine_labels(no_labels(), one, no_labels()) is one
    assert combine_labels(no_labels(), no_labels()).equals(no_labels())
    named = Labels((), (), (), ("artistry",), np.zeros((0, 1)))
    assert combine_labels(named, one).score_names == ("artistry", "total")
    assert one.known(["b", "c"]) == {"b"} and one.order_of(["c", "b", "a"]) == [2, 1, 0]


def test_groups_are_joined_by_their_names_and_kept_in_parts():
    new = make("ab", [1, 2], groups={"event": ("e2", "")})
    old = make("bc", [2, 3], groups={"skater": ("s1", "s2"), "event": ("e1", "")})
    joined = combine_labels(new, old)
    assert joined.groups == {"event": ("e2", "e1", ""), "skater": ("", "s1", "s2")}
    assert joined.row(1).groups == {"event": "e1", "skater": "s1"}
    assert joined.subset([0]).groups == {"event": ("e2",)}, "a group without a video is none"
    assert list(joined.subset([2, 0]).groups) == ["skater", "event"], "the order of videos decides that of groups"
    assert joined.to_columns()["group_skater"] == ("", "s1", "s2")
    assert not joined.equals(combine_labels(new)) and joined.equals(combine_labels(joined))


def test_groups_conflict_where_both_have_them():
    one, other = (make("a", [1], groups={"skater": (name,)}) for name in ("s1", "s2"))
    assert label_conflicts(one, other) == ["a: train, A, skater s1, total 1 against train, A, skater s2, total 1"]
    assert label_conflicts(one, make("a", [1])) == [], "stores made before have none"


def test_conflicts_name_the_video_and_both_values():
    one, other = make("ab", [1, 2]), make("bc", [3, 4], ["test", "train"])
    assert label_conflicts(one, other) == ["b: train, A, total 2 against test, A, total 3"]
    assert label_conflicts(one, one) == []


def test_infinite_scores_are_refused():
    """A flipped bit of an older store, which has no checksum of its labels, may make one."""
    with pytest.raises(InvalidFeatures, match="the score of b is infinite"):
        Labels(("a", "b"), ("", ""), ("", ""), ("total",), np.array([[np.nan], [np.inf]]))
