import pytest

from longtake.train.pages.facts import KnownRoutine
from longtake.train.pages.scales import range_of
from tests.train.pages.samples import score


def test_places_on_a_stated_range():
    one = range_of(score(known=(KnownRoutine("k", 5, 6),), judges=20))
    assert (one.low, one.high, one.stated) == (0, 25, True)
    assert one.score == pytest.approx(17.4 / 25) and one.judges == pytest.approx(0.8)
    assert one.interval == pytest.approx((0.6, 0.2)) and one.known == [0.2]


def test_a_range_that_no_card_states_is_that_of_what_is_shown():
    one = range_of(score(limits=None, interval=None, known=(KnownRoutine("k", 5, 6),)))
    assert (one.low, one.high, one.stated, one.score) == (5, 17.4, False, 1)


def test_a_score_out_of_its_range_is_still_on_the_figure():
    one = range_of(score(predicted=27, interval=None))
    assert one.high == 27 and one.score == 1 and not one.stated


def test_two_routines_of_a_page_have_one_range():
    low, high = (score(predicted=at, limits=None, interval=None, known=()) for at in (3.0, 9.0))
    ranges = [range_of(one, (low, high)) for one in (low, high)]
    assert [(one.low, one.high, one.score) for one in ranges] == [(3, 9, 0), (3, 9, 1)]


def test_nothing_to_show():
    assert range_of(score(predicted=None)) is None
    assert range_of(score(limits=None, interval=None, known=())) is None
