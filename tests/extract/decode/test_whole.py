"""Whole or cut off, and how long the last picture stays: pure rules over facts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from longtake.extract.decode.structure import CUT, UNKNOWN, WHOLE, Parts
from longtake.extract.decode.whole import Ending

FACTS = Ending(
    parts=Parts(UNKNOWN), num_bytes=1000, index_end=0, last_seconds=1.96, own_seconds=0.04, gap_seconds=0.04, given_seconds=None,
    promised_seconds=None, reached_seconds=2.0,
)  # fmt: skip


@pytest.mark.parametrize(
    "facts, missing",
    [
        ({}, ""),
        ({"promised_seconds": 2.4}, ""),
        ({"promised_seconds": 6.0}, "its header promises 6.00 s"),
        ({"promised_seconds": 6.0, "reached_seconds": 5.9}, ""),
        ({"promised_seconds": 6.0, "parts": Parts(WHOLE)}, ""),
        ({"parts": Parts(CUT, "its tail is gone")}, "its tail is gone"),
        ({"index_end": 1000}, ""),
        ({"index_end": 1001, "parts": Parts(WHOLE)}, "its index reaches to byte 1001, and the file has 1000"),
    ],
)
def test_the_structure_decides_before_the_seconds(facts, missing):
    assert replace(FACTS, **facts).missing == missing


@pytest.mark.parametrize(
    "facts, end",
    [
        ({}, 2.0),
        # A still at the end, by a header that is believed where all parts are there.
        ({"promised_seconds": 5.96, "parts": Parts(WHOLE)}, 5.96),
        ({"promised_seconds": 5.96}, 2.0),
        # A header that rounds does not shorten a constant rate.
        ({"promised_seconds": 1.98, "parts": Parts(WHOLE)}, 2.0),
        ({"promised_seconds": 1.0, "parts": Parts(WHOLE)}, 2.0),
        # The rate varies: the header, or what the container stores of the last picture.
        ({"promised_seconds": 2.0, "own_seconds": 0.5, "gap_seconds": 1.0, "parts": Parts(WHOLE)}, 2.0),
        ({"given_seconds": 0.04, "own_seconds": 0.12, "gap_seconds": 1.06}, 2.0),
        ({"given_seconds": 4.0, "own_seconds": 4.0}, 5.96),
        ({"given_seconds": 0.0, "own_seconds": 0.0}, 2.0),
        ({"given_seconds": 0.03, "own_seconds": 0.03}, 2.0),
        ({"own_seconds": 0.0, "gap_seconds": 0.0}, 1.961),
        # An hour is a still; more is a mistake of the header, of the container, or of the packet.
        ({"promised_seconds": 3601.9, "parts": Parts(WHOLE)}, 3601.9),
        ({"promised_seconds": 86400.0, "parts": Parts(WHOLE)}, 2.0),
        ({"given_seconds": 89478.0, "own_seconds": 89478.0}, 2.0),
        ({"own_seconds": 89478.0}, 2.0),
    ],
)
def test_how_long_the_last_picture_stays(facts, end):
    assert replace(FACTS, **facts).end_seconds == pytest.approx(end)
