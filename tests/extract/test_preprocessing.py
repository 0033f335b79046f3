"""Rules as data: what they refuse, and what of them is in a recipe."""

from __future__ import annotations

from dataclasses import replace

import pytest

from longtake.extract.backbones import get_spec
from longtake.extract.preprocessing import MOST_FRAMES, ClipRule, SoundRule


def test_specs_of_frames_and_sound() -> None:
    rule = get_spec("i3d").frames
    assert "final_height" not in rule.facts(), "an unused option does not change recipes"
    assert "stretch_height" not in rule.facts() and "banks" not in get_spec("ast").frames.facts()
    assert SoundRule(16000, 1, 9, 0, 1, banks="none").facts()["banks"] == "none"
    with pytest.raises(ValueError, match="bank_rate takes"):
        SoundRule(16000, 128, 1024, 0, 1, bank_rate="wrong")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"resize": "nearest"}, "resize takes one of"),
        ({"short_side": 0}, "1 pixel or more"),
        ({"crop_height": 300, "crop_width": 300}, "does not fit a shorter side of 256"),
        ({"final_height": 8}, "needs a height and a width"),
        ({"stretch_width": 8}, "needs a height and a width"),
        ({"stretch_height": 300, "stretch_width": 300}, "must be that of the first resize"),
    ],
)
def test_impossible_frame_rules_are_refused(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        replace(get_spec("i3d").frames, **change)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"length": 0}, "length and a stride"),
        ({"stride": MOST_FRAMES + 1}, "length and a stride"),
        ({"num_frames": 3}, "do not make a clip"),
        ({"num_clips": MOST_FRAMES + 1}, "at most"),
        ({"fps": 0.0}, "rate above 0"),
    ],
)
def test_impossible_clip_rules_are_refused(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        ClipRule(**({"length": 4, "stride": 4, "tail": "pad"} | change))


def test_facts_of_a_recipe_name_used_options_only() -> None:
    assert ClipRule(4, 4, "pad").extra_facts() == {}
    assert ClipRule(4, 4, "pad", num_clips=3).extra_facts() == {"num_clips": 3}
    assert replace(get_spec("ast").frames, missing="silence").facts()["missing"] == "silent samples"
