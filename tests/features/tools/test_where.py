"""Rows chosen by their columns."""

import pytest

from longtake.features.errors import FeaturesError
from longtake.features.tools.where import chosen

ROWS = [
    {"video_id": "a", "status": "ok", "category": "Ball", "error_stage": "", "clips": 3, "scores": {"total": 7.0},
     "groups": {"skater": "s1"}, "boundaries": (1.0,)},
    {"video_id": "b", "status": "failed", "category": "Ball", "error_stage": "decode", "clips": 0, "scores": {},
     "groups": {"skater": "s2"}, "boundaries": ()},
    {"video_id": "c", "status": "failed", "category": "Hoop", "error_stage": "find", "clips": 0, "scores": {"total": 7.5},
     "groups": {}, "boundaries": ()},
]  # fmt: skip


@pytest.mark.parametrize(
    "conditions, expected",
    [
        ((), "abc"),
        (("status=failed",), "bc"),
        (("status=failed", "category=Ball"), "b"),
        (("category=Ball", "category=Hoop", "status=failed"), "bc"),
        (("stage=find",), "c"),
        (("video=a",), "a"),
        (("total=7.50",), "c"),
        (("total=",), "b"),
        (("skater=s1",), "a"),
        (("skater=",), "c"),
        (("clips=0",), "bc"),
        (("category=Ribbon",), ""),
        (("total=high",), ""),
    ],
)
def test_rows_that_are_chosen(conditions, expected):
    assert "".join(row["video_id"] for row in chosen(ROWS, conditions)) == expected


@pytest.mark.parametrize("condition, words", [("status", "COLUMN=VALUE"), ("categry=Ball", "did you mean category")])
def test_conditions_that_are_refused(condition, words):
    with pytest.raises(FeaturesError, match=words):
        chosen(ROWS, [condition])
