"""Where the pictures end by the header: what the header counts from depends on who wrote it."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import pytest

from longtake.extract.decode.promise import promise_of
from longtake.extract.decode.structure import Parts
from tests.extract.media import PYAV, groups_of_25, remux, write_av

STATISTICS = {"DURATION": "00:00:12.000000000", "_STATISTICS_WRITING_DATE_UTC": "2026-11-29 10:29:20"}


def promised(
    kind="matroska,webm", *, encoder="", tags=None, created="", total=None, own=None, frames=0, intervals=None
):
    """Of pictures from 5 to 9 s in a file with one stream, which starts at 5 s."""
    stream = SimpleNamespace(
        duration=own, time_base=Fraction(1), metadata=tags or {}, average_rate=Fraction(25), frames=frames
    )
    container = SimpleNamespace(
        format=SimpleNamespace(name=kind), metadata={"ENCODER": encoder, "creation_time": created}, streams=[stream],
        duration=total and total * 1_000_000, start_time=5_000_000,
    )  # fmt: skip
    found = promise_of(container, stream, None, 5.0, 9.0, Parts("whole", num_intervals=intervals))
    return found.header_seconds, found.end_seconds


@pytest.mark.parametrize(
    "facts, expected",
    [
        ({}, (None, None)),
        ({"own": 4}, (4.0, 9.0)),
        ({"total": 12, "encoder": "libebml v1.4.4 + libmatroska v1.7.1"}, (12.0, 17.0)),
        ({"total": 12, "encoder": "Lavf59"}, (7.0, 12.0)),
        ({"total": 12, "kind": "flv"}, (7.0, 12.0)),
        ({"total": 12, "kind": "mpegts"}, (12.0, 17.0)),
        ({"tags": {"DURATION": "00:00:12.000000000"}, "encoder": "Lavf59"}, (7.0, 12.0)),
        ({"tags": STATISTICS, "created": "2026-11-29T10:29:20.000000Z"}, (12.0, 17.0)),
        ({"tags": STATISTICS, "created": "2026-12-01T10:29:20.000000Z"}, (None, None)),
        ({"tags": STATISTICS}, (None, None)),
        ({"tags": {"DURATION": "long"}, "encoder": "Lavf59"}, (None, None)),
        ({"kind": "avi", "own": 3, "frames": 50}, (3.0, 2.0)),
        ({"kind": "avi", "own": 3, "frames": 50, "intervals": 75}, (3.0, 3.0)),
    ],
)
def test_what_a_header_says(facts, expected):
    assert promised(**facts) == expected


def test_the_length_of_all_streams_says_nothing_of_pictures_that_end_before_the_sound(tmp_path):
    whole = PYAV.probe(write_av(tmp_path / "a.flv", seconds=3, rate=44_100))
    assert len(whole.timeline) == 75 and whole.timeline.end_seconds == pytest.approx(3.0, abs=0.05)
    one = PYAV.probe(remux(groups_of_25(tmp_path / "b.mkv", 50), tmp_path / "b.flv", lambda packet: True))
    assert one.duration_seconds_from_header == pytest.approx(2.0, abs=0.01)
