import pytest

from longtake.train.pages.strips import MOST_CELLS, clock, strip


def test_cells_over_time():
    made = strip(["a"], [[0.2, 0.8]], [(1.0, 3.0), (2.0, 5.0)], "attention")
    ((name, cells),) = made.rows
    assert name == "a" and (made.start_seconds, made.end_seconds) == (1.0, 5.0)
    assert [(one.left, one.width, one.heat) for one in cells] == [(0, 0.25, 0.1), (0.25, 0.75, 0.4)]
    assert [text for _, text in made.ticks] == ["0:01", "0:02", "0:03", "0:04"]


def test_gaps_stay_empty():
    ((_, cells),) = strip([""], [[0.5, 0.5]], [(0.0, 1.0), (3.0, 4.0)], "attention").rows
    assert [(one.left, one.width) for one in cells] == [(0, 0.25), (0.75, 0.25)]


def test_unknown_times_are_clip_numbers():
    made = strip([""], [[0.1] * 30], (), "attention")
    assert made.start_seconds is None and made.end_seconds is None
    assert [text for _, text in made.ticks] == ["clip 1", "10", "20"]
    assert not any(":" in text for _, text in made.ticks)


def test_all_rows_have_one_scale():
    rows = strip(["a", "b"], [[0.1] * 10, [0.8, *[0.2 / 9] * 9]], (), "attention").rows
    (_, first), (_, second) = rows
    assert second[0].heat == 1 and first[0].heat == pytest.approx(0.125)


def test_even_attention_is_pale():
    ((_, cells),) = strip([""], [[0.1] * 10], (), "attention").rows
    assert {one.heat for one in cells} == {0.25}


def test_of_many_clips_the_strongest_are_seen():
    values = [0.0] * 9999 + [1.0]
    ((_, cells),) = strip([""], [values], [(n / 10, (n + 1) / 10) for n in range(10_000)], "attention").rows
    assert len(cells) == MOST_CELLS and cells[-1].heat == 1 and sum(one.width for one in cells) == pytest.approx(1)


@pytest.mark.parametrize(
    "seconds, text", [(0, "0:00"), (65.4, "1:05"), (59.7, "1:00"), (3661, "1:01:01"), (-1, "0:00")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_clock_with_digits():
    assert clock(65.26, 1) == "1:05.3"
