"""What all decoders share: a second try by true times, and the check of a frame's time."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from longtake.extract.clips import Timeline
from longtake.extract.decode.base import FRAMES, PACKETS, last_wanted, require_fit, require_time, with_true_times
from longtake.extract.errors import DecoderUnfit, FramesNotPackets
from longtake.extract.preprocessing import FrameRule
from tests.extract.media import WHOLE


def test_a_file_is_read_again_by_true_times_only_if_packets_are_not_its_frames():
    seen = []

    def read(exact):
        seen.append(exact)
        if not exact:
            raise FramesNotPackets("hidden frames")
        return "read"

    assert with_true_times(lambda *, exact: exact, read) == "read" and seen == [False, True]
    assert with_true_times(lambda *, exact: exact, lambda exact: exact) is False


def test_the_last_wanted_frame():
    small = FrameRule(8, 8, 8, (0.0,) * 3, (1.0,) * 3)
    assert last_wanted({}) == last_wanted({WHOLE: set()}) == -1
    assert last_wanted({WHOLE: {3, 1}, small: {7}}) == 7


@pytest.mark.parametrize("seconds, fits", [(10.04, True), (10.059, True), (10.061, False), (0.04, False)])
def test_a_frame_must_be_within_half_a_frame_of_its_packet(tmp_path, seconds, fits):
    timeline = Timeline(np.arange(3) / 25, 3 / 25)
    info = SimpleNamespace(path=tmp_path / "a.mkv", times_from=PACKETS, origin_seconds=10.0, timeline=timeline)
    if fits:
        require_time(info, 1, seconds)
    else:
        with pytest.raises(FramesNotPackets, match="frame 1 is shown at"):
            require_time(info, 1, seconds)
    info.times_from = FRAMES
    require_time(info, 1, seconds)


def test_an_unfit_decoder_names_its_reason(tmp_path):
    info = SimpleNamespace(path=tmp_path / "a.mkv")
    require_fit(SimpleNamespace(name="any", unfit=lambda info: ""), info)
    with pytest.raises(DecoderUnfit, match="some is not for a.mkv: it is old; use --decoder pyav or auto"):
        require_fit(SimpleNamespace(name="some", unfit=lambda info: "it is old"), info)
