"""Processors of transformers as rules; what no rule says is refused, by comparing pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from longtake.extract.backbones.hf_processors import frame_rule, sound_rule
from longtake.extract.errors import ExtractError


def saved(folder: Path, kind: str, **options: Any) -> Path:
    import transformers

    getattr(transformers, kind)(**options).save_pretrained(folder)
    return folder


def test_rules(tmp_path: Path) -> None:
    rule = frame_rule("x", saved(tmp_path / "a", "VivitImageProcessor"), is_video=True)
    assert (rule.short_side, rule.crop_height, rule.resize) == (256, 224, "pillow bilinear")
    assert rule.mean[0] == pytest.approx(191.25) and rule.std[0] == pytest.approx(63.75), "with its offset"
    squashed = frame_rule("x", saved(tmp_path / "b", "SiglipImageProcessor"), is_video=False)
    assert squashed.squash and squashed.resize == "pillow bicubic"
    convnext = frame_rule(
        "x", saved(tmp_path / "c", "ConvNextImageProcessor", size={"shortest_edge": 224}), is_video=False
    )
    assert (convnext.short_side, convnext.crop_height) == (256, 224)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resample": 0}, "Pillow's filter 0"),
        ({"do_resize": False}, "does not resize"),
        ({"do_center_crop": False}, "keeps the aspect ratio"),
        ({"size": {"longest_edge": 224}}, "resizes to"),
    ],
)
def test_what_no_rule_says_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    saved(tmp_path, "CLIPImageProcessor")
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ExtractError, match=message):
        frame_rule("x", tmp_path, is_video=False)


def test_a_processor_that_does_more_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import CLIPImageProcessor

    saved(tmp_path, "CLIPImageProcessor")
    plain = CLIPImageProcessor.__call__

    def mirrored(self: Any, *given: Any, **options: Any) -> Any:
        done = plain(self, *given, **options)
        done["pixel_values"] = done["pixel_values"][..., ::-1]
        return done

    monkeypatch.setattr(CLIPImageProcessor, "__call__", mirrored)
    with pytest.raises(ExtractError, match="does more than resize, crop and normalise"):
        frame_rule("x", tmp_path, is_video=False)


def test_sound(tmp_path: Path) -> None:
    rule, extractor = sound_rule("x", saved(tmp_path / "a", "ClapFeatureExtractor"))
    assert (rule.sample_rate, rule.num_frames, rule.banks) == (48_000, 480_000, "none")
    assert sound_rule("x", saved(tmp_path / "b", "Wav2Vec2FeatureExtractor"))[0].num_frames == 30 * 16_000
    with pytest.raises(ExtractError, match="feature extractor is missing"):
        sound_rule("x", tmp_path)
