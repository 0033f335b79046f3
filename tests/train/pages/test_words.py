from dataclasses import replace

import pytest

from longtake.train.pages import words
from longtake.train.pages.facts import Interval, KnownRoutine
from tests.train.pages.samples import known, routine, score


def test_the_expected_range():
    assert words.expected(score()).startswith("The judges' score is expected between 15.00 and 20.00")
    assert "9 of 10 such routines" in words.expected(score()) and "92% of the 40 known" in words.expected(score())
    assert "0.95" not in words.expected(score(interval=Interval(1, 2, 0.95)))
    assert "95 of 100" in words.expected(score(interval=Interval(1, 2, 0.95)))
    none = words.expected(score(interval=None, why_no_interval="2 test videos are too few"))
    assert none == "How far the judges may be from it is unknown: 2 test videos are too few."


def test_the_place_among_known_routines():
    others = tuple(KnownRoutine(str(n), n, n) for n in range(10, 20))
    said = words.place(score(predicted=17.5, interval=Interval(15, 20, 0.9), known=others))
    assert "in place 3 of 11" in said and "any place from 1 to 5" in said
    assert "with 10 routines, a place says little" in said
    assert "little" not in words.place(score()) and words.place(score(known=())) == ""
    assert "of 10" in words.place(score(known=others, video_id="12")), "this routine is one of them"


def test_grades_in_words():
    assert (
        words.grades(score()) == "The model finds most of grade 3 of 4 (45%), then of grade 4 of 4 (strongest) (30%)."
    )
    assert words.grades(score(grades=())) == ""
    assert "weakest" in words.grade_name(0, 4) and words.grade_name(1, 4) == "grade 2 of 4"


def test_how_often_the_order_is_right():
    same = [KnownRoutine(str(n), n, 2 * n) for n in range(4)]
    assert words.pairs_right(same) == 1
    assert words.pairs_right([replace(one, predicted=-one.judges) for one in same]) == 0
    assert words.pairs_right([replace(one, predicted=1.0) for one in same]) == 0.5
    assert words.pairs_right([replace(one, judges=1.0) for one in same]) is None
    assert words.pairs_right([]) is None
    assert words.agreement([]) == ""


def test_two_routines_do_not_look_perfect():
    said = words.agreement([KnownRoutine("a", 1, 1), KnownRoutine("b", 2, 2)])
    assert "100 of 100" in said and "These are few (n=2)" in said
    assert "few" not in words.agreement(known())


def test_where_it_looked():
    assert "seconds" in words.looked(routine(), score())
    assert words.looked(routine(times=False), score()).endswith("of 12 clips.")
    assert "equally" in words.looked(routine(), score(shares=(1 / 12,) * 12))
    assert words.looked(routine(), score(shares=(), by_grade=())) == ""
    long = routine(clips=[(10.0 * n, 10.0 * n + 10) for n in range(12)])
    assert words.looked(long, score()).endswith("of 2:00 minutes.")


def test_moments_are_no_neighbours():
    found = words.moments(score())
    assert 5 in found and found == sorted(found)
    assert all(b - a > 1 for a, b in zip(found, found[1:])) and len(found) <= words.MOST_MOMENTS
    assert words.moments(score(shares=(0.0, 1.0) + (0.0,) * 10)) == [1]


def test_when():
    assert words.when(routine(), 3) == "0:03 to 0:04" and words.when(routine(times=False), 3) == "clip 4"


@pytest.mark.parametrize(
    "interval, said",
    [(Interval(15, 20, 0.9), "overlap"), (Interval(5, 9, 0.9), "apart"), (None, "chance is unknown")],
)
def test_two_routines(interval, said):
    other = routine("Bea", scores=[score(predicted=8.0, interval=interval), score("Hoop total")])
    (line,) = words.versus(routine(), other)
    assert line.startswith("Ball total: Anna is 9.40 above Bea.") and said in line
    assert words.versus(other, routine())[0].startswith("Ball total: Anna is 9.40 above Bea.")
