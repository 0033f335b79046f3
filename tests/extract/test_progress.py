"""The lines of a run in a pipe."""

import json
import time

from longtake import progress
from longtake.extract.progress import DownloadProgress, VideoProgress
from longtake.extract.records import VideoResult, failed_record, unread_record
from longtake.manifests.table import ManifestRow
from longtake.progress import Shown
from tests.longtake.test_progress import Terminal

RESULTS = (
    VideoResult("a", 3, 12, None),
    VideoResult("b", 2, 8, None, remark="the file ends early"),
    VideoResult("c", 0, 0, failed_record(unread_record(ManifestRow("c")), "decode", "VideoTruncated", "it is cut")),
)


def lines(capsys, shown):
    with VideoProgress(3, 4, "i3d on cpu", shown) as progress:
        for result in RESULTS:
            progress.clips(result.video_id, result.num_clips, result.num_clips)
            progress.video(result)
        progress.note("a note")
    return capsys.readouterr().err.splitlines()


def test_lines_for_people(capsys):
    assert lines(capsys, Shown.AUTO) == [
        "3 videos to do, 4 done before; i3d on cpu",
        "[1/3] a: 3 clips",
        "[2/3] b: 2 clips; the file ends early",
        "[3/3] c: failed (decode)",
        "a note",
    ]
    assert lines(capsys, Shown.QUIET) == []


def test_events_for_programs(capsys):
    events = [json.loads(line) for line in lines(capsys, Shown.EVENTS)]
    assert [event["event"] for event in events] == ["start", "video", "video", "video", "note"]
    assert (events[0]["videos"], events[0]["done_before"], events[0]["networks"]) == (3, 4, "i3d on cpu")
    assert [event["message"] for event in events[1:]] == [None, "the file ends early", "it is cut", "a note"]
    assert [event["failed"] for event in events[1:4]] == [None, None, "decode"]


def test_lines_inside_a_long_video(capsys, monkeypatch):
    """Silence of half a minute ends with a line, also before the first clip; the time left goes by the lengths of the videos."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(progress, "TICK_SECONDS", 0.001)
    said = iter(range(100))

    def wait(seconds):
        clock[0] += seconds
        wanted = next(said) + 2
        deadline = time.perf_counter() + 10
        while seconds >= progress.LINE_SECONDS and len(lines) < wanted and time.perf_counter() < deadline:
            lines.extend(capsys.readouterr().err.splitlines())
            time.sleep(0.002)

    lines = []
    with VideoProgress(2, 0, "", lengths={"short": 60.0, "long": 540.0}) as job:
        wait(30)
        job.clips("long", 0, 100)
        wait(30)
        job.clips("long", 50, 100)
        wait(30)
        job.clips("long", 100, 100)
        job.video(VideoResult("long", 100, 400, None))
    lines.extend(capsys.readouterr().err.splitlines())
    assert lines == [
        "2 videos to do, 0 done before",
        "0%, 0/2 videos",
        "0%, 0/2 videos; long: clip 0 of 100",
        "45%, 0/2 videos, 50 clips, 0.556 clips/s, about 2 min left; long: clip 50 of 100",
        "[1/2] long: 100 clips",
    ]


def test_a_video_that_is_read_again_goes_back(capsys):
    with VideoProgress(2, 0, "", lengths={"a": 0.0, "b": 0.0}) as job:
        job.clips("a", 6, 8)
        assert job.share == 0.375, "without a length, each video counts the same"
        job.clips("a", 0, 8)
        assert job.share == 0
        job.clips("a", 8, 8)
        assert (job.share, job.status().partition(" clips")[0]) == (0.5, "50%, 0/2 videos, 14")


def test_the_bar_moves_inside_a_video(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", stream)
    with VideoProgress(2, 0, "") as job:
        job.clips("a", 1, 4)
        job.redraw()
    assert "a: clip 1 of 4:  12%|" in stream.text and ", 0/2 videos, 1 clips" in stream.text


def test_a_download_shows_nothing_in_a_pipe(capsys):
    with DownloadProgress(Shown.AUTO) as progress:
        progress(10, 100)
    assert capsys.readouterr().err == ""
