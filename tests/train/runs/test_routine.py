"""The page of a scored video: its facts, and where its video is."""

import math

import pytest

from longtake.train.runs import routine
from longtake.train.runs.calibration import Bounds
from longtake.train.runs.prediction import Prediction, Timeline

NAN = float("nan")
LINE = Timeline((0.0, 1.0, 2.0), (1.0, 2.0, 3.0), (0.2, 0.3, 0.5), ((0.2, 0.3, 0.5),), ())


def prediction(**other):
    values = {"bounds": Bounds(1, 2, 0.9, NAN), "limits": (0.0, 10.0)} | other
    return Prediction(
        "v",
        "A",
        "total",
        1.5,
        NAN,
        1,
        (1.0,),
        (),
        other.pop("line", LINE),
        False,
        **{k: v for k, v in values.items() if k != "line"},
    )


@pytest.fixture
def run(tmp_path):
    rows = [
        "video_id,category,score,seed,fold,control,true,predicted",
        "k1,A,total,0,,0,4,5",
        "k1,A,total,1,,0,4,7",
        "k2,B,total,0,,0,1,1",
    ]
    (tmp_path / "predictions.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.fixture
def media(monkeypatch):
    def playable(video, out, most_bytes):
        out.write_bytes(b"x" * 100)
        return "video/mp4"

    made = {"playable": playable, "thumbnails": lambda folder, video_id, name, seconds, lines: [b"jpeg"] * len(seconds)}
    monkeypatch.setattr(routine, "from_extract", lambda name, _: made[name])


def test_facts(run):
    made = routine.routine_of("v", [prediction(learnt_by=1, unmatched=True)], run)
    (score,) = made.scores
    assert made.times == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)] and made.head == ""
    assert [(one.video_id, one.judges, one.predicted) for one in score.known] == [("k1", 4, 6)], "the mean over seeds"
    assert score.interval.coverage is None and score.deviation is None and len(score.notes) == 2
    abstained = routine.routine_of("v", [prediction()], run / "none")
    assert abstained.scores[0].known == []


def test_known_routines_are_of_the_dataset_of_the_video(run):
    rows = [
        "G A,total,0,,0,4,5",
        "H A,total,0,,0,40,50",
        "G,plain,0,,0,1,1",
        "H,plain,0,,0,10,11",
        "H Free A,total,0,,0,90,90",
    ]
    lines = [f"{chr(97 + number)},{row}" for number, row in enumerate(rows)]
    head = "video_id,category,score,seed,fold,control,true,predicted"
    (run / "predictions.csv").write_text("\n".join([head, *lines]) + "\n")
    of = routine.known_routines(run, "H", "G+H")
    assert [one.judges for one in of("A", "total")] == [40]
    assert [one.judges for one in of("", "plain")] == [10], "scores of other datasets are on other scales"
    assert len(routine.known_routines(run, "G", "G")("", "plain")) == 2, "one head for all categories"


def test_unknown_times(run):
    line = Timeline((NAN,) * 3, (NAN,) * 3, LINE.shares, LINE.by_grade, ())
    made = routine.routine_of("v", [prediction(line=line)], run)
    assert made.clips == 3 and made.times == ()


def test_a_small_video_is_inside_and_a_large_one_next_to_the_page(run, media, monkeypatch):
    out = run / "my page.html"
    routine.write_page(out, run, {run / "v.mp4": [prediction()]})
    assert 'data-type="video/mp4"' in out.read_text() and not (run / "my page_files").exists()
    monkeypatch.setattr(routine, "MOST_INSIDE", 50)
    routine.write_page(out, run, {run / "v.mp4": [prediction()]})
    assert 'src="my%20page_files/1.mp4"' in out.read_text() and (run / "my page_files" / "1.mp4").stat().st_size == 100


def test_no_score(run):
    made = routine.routine_of("v", [prediction(abstained="too wide")], run)
    assert made.scores[0].why_none == "too wide" and not math.isnan(made.scores[0].predicted)
