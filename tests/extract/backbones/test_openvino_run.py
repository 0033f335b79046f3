"""A converted network takes batches of the one shape that it was compiled for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from longtake.extract.backbones.openvino_run import input_of
from longtake.extract.errors import NotConverted
from longtake.extract.preprocessing import SoundRule
from tests.extract.backbones.test_openvino import SPEC, clips, convert, tiny

pytest.importorskip("openvino")


def test_batches_of_another_shape_and_sound_of_many_lengths():
    found = convert(tiny())
    with pytest.raises(ValueError, match=r"compiled for uint8 \(3, 4, 16, 16, 3\), got uint8 \(2, 4"):
        found.forward(clips(1, 2))
    sound = replace(SPEC, name="samples", frames=SoundRule(16_000, 1, 100, 0.0, 1.0, banks="none"))
    with pytest.raises(NotConverted, match="samples cannot be run by OpenVINO: its clips of sound have different"):
        input_of(sound, 2, 4)
