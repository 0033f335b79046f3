"""The lines of a run in a pipe."""

import json

from longtake.extract.progress import DownloadProgress, VideoProgress
from longtake.extract.records import VideoResult, failed_record, unread_record
from longtake.manifests.table import ManifestRow
from longtake.progress import Shown

RESULTS = (
    VideoResult("a", 3, 12, None),
    VideoResult("b", 2, 8, None, remark="the file ends early"),
    VideoResult("c", 0, 0, failed_record(unread_record(ManifestRow("c")), "decode", "VideoTruncated", "it is cut")),
)


def lines(capsys, shown):
    with VideoProgress(3, 4, "i3d on cpu", shown) as progress:
        for result in RESULTS:
            progress.clips(result.num_clips)
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


def test_a_download_shows_nothing_in_a_pipe(capsys):
    with DownloadProgress(Shown.AUTO) as progress:
        progress(10, 100)
    assert capsys.readouterr().err == ""
