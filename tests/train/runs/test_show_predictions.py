from longtake.train.runs.prediction import Moment, Prediction, Timeline
from longtake.train.runs.show_predictions import UNKNOWN_TIMES, format_predictions

NAN = float("nan")


def prediction(times, moment):
    line = Timeline(*times, (0.3, 0.7), ((0.3, 0.7),), ())
    return Prediction("a", "A", "total", 1.5, NAN, 1, (1.0,), (moment,), line, False)


def test_moments_in_seconds():
    said = format_predictions([prediction(((0.0, 1.0), (1.0, 2.0)), Moment(1.0, 2.0, 1, 0.7))])
    assert "looked at most: 1.0-2.0 s (70%)" in said and UNKNOWN_TIMES not in said


def test_moments_of_single_frames_do_not_begin_where_they_end():
    said = format_predictions([prediction(((2.76, 2.8), (2.8, 2.84)), Moment(2.76, 2.8, 0, 0.7))])
    assert "looked at most: 2.76-2.80 s (70%)" in said


def test_unknown_times_are_clip_numbers():
    said = format_predictions([prediction(((NAN, NAN), (NAN, NAN)), Moment(NAN, NAN, 1, 0.7))])
    assert "looked at most: clip 2 of 2 (70%)" in said and said.endswith(UNKNOWN_TIMES)
    assert " s (" not in said and "nan" not in said
