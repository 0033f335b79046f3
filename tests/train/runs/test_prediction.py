from longtake.train.runs.calibration import Bounds
from longtake.train.runs.prediction import Prediction, Predictions, Timeline, shown_bounds, shown_score

NAN = float("nan")


def test_times_are_known_or_not():
    assert Timeline((0.0, 1.0), (1.0, 2.0), (), (), ()).times_known
    assert not Timeline((NAN,), (NAN,), (), (), ()).times_known


def test_bounds():
    assert shown_bounds(None) == "" and shown_bounds(Bounds(1, 2.345, 0.9, NAN), 1) == " [1.0, 2.3]"


def test_a_score_of_nearly_nothing_is_nothing():
    assert [shown_score(value) for value in (5e-05, -1e-9, 0.0084, 3.456)] == ["0.00", "0.00", "0.0084", "3.46"]


def test_a_table_of_predictions():
    one = Prediction("a", "A", "total", 1.5, NAN, 1, (), (), Timeline((), (), (), (), ()), False, learnt_by=1)
    assert repr(one) == "Prediction('a': A total 1.500)" and one.name == "A total"
    frame = Predictions([one]).to_pandas()
    assert list(frame["learnt_by"]) == [1] and Predictions([one]).failures == ()
