from dataclasses import replace

import pytest

from longtake.train.pages.facts import KnownRoutine
from longtake.train.protocol.rows import Row
from longtake.train.runs.meaning import meaning
from longtake.train.uncertainty import Interval

NAN = float("nan")
ROW = Row("A", "total", 90, 60, 0.7, NAN, 1, 1, NAN, NAN, NAN, NAN, 0.4, 1, NAN, NAN, NAN, NAN,
          intervals={"spearman": Interval(0.5, 0.8)})  # fmt: skip
TESTED = [[KnownRoutine(str(n), n, n if n else 9.5) for n in range(10)]]


def test_the_order_and_the_baseline():
    first, second = meaning("gdlt", [ROW], TESTED)
    assert first == (
        "Of two test videos, gdlt puts the better one first in 80 of 100 cases (chance: 50): "
        "rank correlation 0.70 (n=60, 95% interval 0.50 to 0.80)."
    )
    assert "0.40, which is below that interval" in second


def test_two_videos_do_not_look_perfect():
    row = replace(ROW, num_test=2, spearman=1.0, intervals={}, floor_spearman=-1.0)
    first, second = meaning("gdlt", [row], [TESTED[0][:2]])
    assert "n=2, without an interval; 2 test videos: too few to rank methods" in first
    assert "with so few test videos, nothing says which is better" in second


@pytest.mark.parametrize(
    "change, said",
    [
        ({"floor_spearman": 0.6}, "do not show that the head is better"),
        ({"floor_spearman": 0.9}, "the baseline seems to be better"),
        ({"floor_spearman": NAN}, "not compared"),
    ],
)
def test_against_the_baseline(change, said):
    assert said in meaning("gdlt", [replace(ROW, **change)], TESTED)[1]
    assert "the baseline itself" in meaning("ridge", [ROW], TESTED)[1]


def test_of_several_rows_the_average():
    assert "0.55" in meaning("gdlt", [ROW, replace(ROW, category="average", spearman=0.55)], TESTED)[0]


def test_nothing_to_say():
    assert "cannot be judged" in meaning("gdlt", [replace(ROW, spearman=NAN)], TESTED)[0]
    assert "No test video" in meaning("gdlt", [], [])[0]
