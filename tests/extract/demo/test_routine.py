"""The rule of the score, and impossible routines."""

from __future__ import annotations

import pytest

from longtake.extract.demo.dataset import plan_demo
from tests.extract.demo.routines import make_routine


def test_score_rule():
    for r in plan_demo():
        by_hand = 5 * r.amplitude + 3 * r.smoothness + 2 * r.timing - r.num_falls
        assert r.score == pytest.approx(min(max(by_hand, 0), 10), abs=1e-9)
    assert make_routine(amplitude=1).score == 10
    assert make_routine(amplitude=1, falling=0).score == 9
    assert make_routine(amplitude=0, smoothness=0, timing=0, falling=0).score == 0


@pytest.mark.parametrize("changes", [{"amplitude": 1.2}, {"category": "Presto"}, {"seconds": 21.0}])
def test_impossible_routines_are_refused(changes):
    with pytest.raises(ValueError, match="r:"):
        make_routine(**changes)
