"""Published recipes by name, for `extract run --recipe`: how the features of papers were made, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from longtake.errors import there_are
from longtake.extract.backbones.audio_spectrogram import SPEC as AST
from longtake.extract.backbones.spec import BackboneSpec
from longtake.extract.errors import ExtractError
from longtake.extract.preprocessing import IMAGENET_MEAN, IMAGENET_STD, PILLOW_BILINEAR, ClipRule, FrameRule, SoundRule


@dataclass(frozen=True)
class Change:
    """What a recipe changes of one backbone; None leaves the backbone's own."""

    clips: ClipRule
    frames: FrameRule | SoundRule | None = None
    weights: str | None = None


@dataclass(frozen=True)
class Recipe:
    about: str
    source: str
    backbones: Mapping[str, Change]


_GDLT_CLIPS = ClipRule(length=32, stride=32, tail="centre", fps=None)
_GDLT_VST = Change(
    _GDLT_CLIPS,
    FrameRule(256, 224, 300, IMAGENET_MEAN, IMAGENET_STD, PILLOW_BILINEAR, final_height=224, final_width=224),
    "vst_b_kinetics600_22k",
)
assert isinstance(AST.frames, SoundRule)
_PAMFN_SOUND = replace(AST.frames, spans="equal parts", bank_rate="original rate", offset="plus mean")
_FRAMES = ("clip", "vifi-clip", "resnet50")


def _short(num_frames: int, num_clips: int, stride: int) -> dict[str, Change]:
    """MVLA, implementation details: some frames of a short performance, and clips of 16 of them."""
    clips = Change(ClipRule(16, stride, "drop", num_frames=num_frames, num_clips=num_clips))
    frames = Change(ClipRule(1, 1, "drop", num_frames=num_frames))
    return {name: clips for name in ("i3d", "i3d-flow", "vst")} | {name: frames for name in _FRAMES}


RECIPES: dict[str, Recipe] = {
    "gdlt": Recipe(
        "Video Swin-B on 32 frames side by side at the file's rate, centre 224x300 squeezed to 224x224",
        "Features of RG and Fis-V released with GDLT (Xu et al., CVPR 2022)",
        {"vst": _GDLT_VST},
    ),
    "pamfn": Recipe(
        "Pictures as in gdlt; sound in as many equal parts as there are clips, with the released banks' rate and offset",
        "Features of RG and Fis-V released with PAMFN (Zeng and Zheng, IEEE TIP 2024)",
        {"vst": _GDLT_VST, "ast": Change(_GDLT_CLIPS, _PAMFN_SOUND), "i3d-flow": Change(_GDLT_CLIPS)},
    ),
    "fs1000": Recipe(
        "TimeSformer on 8 frames a second, and the sound of the same second",
        "Skating-Mixer (Xia et al., AAAI 2023); the text names networks and 768 values; the rate is not stated, so it is ours",
        {name: Change(ClipRule(8, 8, "pad", fps=8.0)) for name in ("timesformer", "ast")},
    ),
    "mvla-finediving": Recipe("96 frames of a dive; 9 clips of 16", "MVLA, implementation details", _short(96, 9, 10)),
    "mvla-mtl-aqa": Recipe(
        "103 frames of a dive; 10 overlapping clips of 16", "MVLA, implementation details", _short(103, 10, 10)
    ),
    "mvla-jigsaws": Recipe(
        "160 frames of a trial, evenly; 10 clips of 16 side by side",
        "MVLA, implementation details",
        _short(160, 10, 16),
    ),
    "mvla-fisv": Recipe(
        "Clips of 32 frames side by side; CLIP on every frame, averaged over the clip",
        "MVLA, implementation details",
        {"vst": _GDLT_VST} | {name: Change(_GDLT_CLIPS) for name in _FRAMES},
    ),
}


def apply_recipe(name: str | None, spec: BackboneSpec) -> BackboneSpec:
    """The spec with the recipe's changes. Raises `ExtractError` for an unknown recipe and for a backbone that it does not have."""
    if name is None:
        return spec
    if name not in RECIPES:
        raise ExtractError(f"no recipe is called {name!r}{there_are(name, RECIPES)}")
    recipe = RECIPES[name]
    if spec.name not in recipe.backbones:
        raise ExtractError(
            f"the recipe {name} does not have the backbone {spec.name}; it has {', '.join(recipe.backbones)}"
        )
    change = recipe.backbones[spec.name]
    return replace(
        spec,
        clips=change.clips,
        frames=change.frames or spec.frames,
        default_weights=change.weights or spec.default_weights,
    )
