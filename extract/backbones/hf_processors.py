"""The input that processors of transformers state, as rules; every rule of pictures is compared with its processor before it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from longtake.extract.backbones.families import refused
from longtake.extract.preprocessing import PILLOW_BICUBIC, PILLOW_BILINEAR, FrameRule, SoundRule

FILTERS = {2: PILLOW_BILINEAR, 3: PILLOW_BICUBIC}
"""By Pillow's number of the filter."""
MOST_SECONDS = 30
"""Of a clip, for networks that state no limit."""
LEVELS = 3.0
"""Largest difference from the processor, in levels of 0 to 255, at the 99th percentile: resizing rounds differently by up to two."""
CONVNEXT_WARPED = 384
"""Pictures of this size and larger are not cropped by ConvNeXt's processor."""


def frame_rule(source: str, folder: Path, *, is_video: bool) -> FrameRule:
    """Of the processor of a model. `ExtractError` if it does what no rule says."""
    processor = _processor(source, folder, is_video)
    rule = _as_rule(source, processor)
    _compare(source, processor, rule, is_video)
    return rule


def sound_rule(source: str, folder: Path) -> tuple[SoundRule, Any]:
    """Samples for the feature extractor of a model, and the extractor."""
    import transformers

    from longtake.extract.backbones.hf_quiet import quiet

    try:
        with quiet():
            extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise refused(source, f"its feature extractor is missing: {_first_line(error)}") from error
    rate = getattr(extractor, "sampling_rate", None)
    if not isinstance(rate, int):
        raise refused(source, f"its feature extractor {type(extractor).__name__} states no sampling rate")
    frames_10ms = getattr(extractor, "max_length", None)
    most = getattr(extractor, "n_samples", None) or getattr(extractor, "nb_max_samples", None)
    if not most:
        most = frames_10ms * rate // 100 if isinstance(frames_10ms, int) else MOST_SECONDS * rate
    return SoundRule(sample_rate=rate, mel_bins=1, num_frames=most, mean=0.0, std=0.5, banks="none"), extractor


def _processor(source: str, folder: Path, is_video: bool) -> Any:
    import transformers

    from longtake.extract.backbones.hf_quiet import quiet

    kinds = [transformers.AutoImageProcessor]
    if is_video:
        kinds.insert(0, transformers.AutoVideoProcessor)
    reasons = []
    for kind in kinds:
        try:
            with quiet():
                return kind.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError, KeyError, TypeError, ImportError, AttributeError) as error:
            reasons.append(_first_line(error))
    raise refused(source, f"its preprocessing is missing: {reasons[-1]}")


def _as_rule(source: str, processor: Any) -> FrameRule:
    size, crop = dict(getattr(processor, "size", None) or {}), dict(getattr(processor, "crop_size", None) or {})
    size, crop = ({name: value for name, value in sides.items() if value} for sides in (size, crop))
    if not getattr(processor, "do_resize", False) or not size:
        raise refused(source, "its processor does not resize pictures, so that their sizes differ")
    resample = int(getattr(processor, "resample", -1) or 0)
    if resample not in FILTERS:
        raise refused(
            source, f"its pictures are resized by Pillow's filter {resample}; bilinear and bicubic are supported"
        )
    scale = processor.rescale_factor if getattr(processor, "do_rescale", True) else 1.0
    offset = 1.0 if getattr(processor, "offset", False) else 0.0
    if getattr(processor, "do_normalize", True):
        mean = tuple((offset + value) / scale for value in processor.image_mean)
        std = tuple(value / scale for value in processor.image_std)
    else:
        mean, std = (offset / scale,) * 3, (1 / scale,) * 3
    cropped = (
        (crop["height"], crop["width"]) if getattr(processor, "do_center_crop", False) and len(crop) == 2 else None
    )
    side = size.get("shortest_edge")
    stretch: dict[str, Any] = {}
    if side and cropped is None:
        share = getattr(processor, "crop_pct", None)
        if not share:
            raise refused(source, "its processor keeps the aspect ratio of pictures, so that their sizes differ")
        cropped = (side, side)
        stretch = {"squash": True} if side >= CONVNEXT_WARPED else {}
        side = side if side >= CONVNEXT_WARPED else int(side / share)
    elif side is None and {"height", "width"} <= size.keys():
        side = min(size["height"], size["width"])
        if cropped is None:
            cropped, stretch = (size["height"], size["width"]), {"squash": True}
        else:
            stretch = {"stretch_height": size["height"], "stretch_width": size["width"]}
    if side is None or cropped is None:
        raise refused(source, f"its processor resizes to {size}, which no rule says")
    try:
        return FrameRule(side, *cropped, mean, std, resize=FILTERS[resample], **stretch)
    except ValueError as error:
        raise refused(source, f"its preprocessing cannot be a rule: {error}") from error


def _compare(source: str, processor: Any, rule: FrameRule, is_video: bool) -> None:
    """Pictures of two shapes through both."""
    # Twice as large, and margins of an even size: libraries round half pixels up or down.
    short, longer = 2 * rule.short_side, 2 * (rule.short_side + 20 + (rule.short_side - rule.crop_width) % 2)
    for height, width in ((short, longer), (longer, short)):
        rows, columns = np.mgrid[:height, :width]
        waves = [127 + 120 * np.sin(rows / 31 + phase) * np.cos(columns / (23 + 5 * phase)) for phase in range(3)]
        picture = np.stack(waves, axis=-1).astype(np.uint8)
        ours = (_picture(picture, rule) - np.asarray(rule.mean)) / np.asarray(rule.std)
        try:
            given = [picture] * 2
            done = processor([given] if is_video else picture, return_tensors="np")
            values = next(done[name] for name in ("pixel_values", "pixel_values_videos") if name in done)
            theirs = np.asarray(values, np.float64)
        except Exception as error:  # a processor of another project can raise anything
            raise refused(source, f"its processor does not take a picture: {_first_line(error)}") from error
        theirs = theirs.reshape(-1, *theirs.shape[-3:])[0].transpose(1, 2, 0) if theirs.ndim >= 4 else theirs
        if theirs.shape != ours.shape:
            raise refused(source, f"its processor gives pictures of shape {theirs.shape}, the rule {ours.shape}")
        apart = np.quantile(np.abs(theirs - ours) * np.asarray(rule.std), 0.99)
        if apart > LEVELS:
            raise refused(
                source, f"its processor does more than resize, crop and normalise: values differ by {apart:.0f} of 255"
            )


def _picture(picture: np.ndarray, rule: FrameRule) -> np.ndarray:
    """What decoders make of a picture by such a rule, see extract/decode/scale.py, which is a later layer."""
    from PIL import Image

    height, width = picture.shape[:2]
    longer = int(rule.short_side * max(height, width) / min(height, width))
    size = (rule.short_side, longer) if width <= height else (longer, rule.short_side)
    if rule.squash:
        size = rule.crop_width, rule.crop_height
    elif rule.stretch_height:
        size = rule.stretch_width, rule.stretch_height
    number = next(number for number, name in FILTERS.items() if name == rule.resize)
    done = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling(number)))
    top, left = (done.shape[0] - rule.crop_height) // 2, (done.shape[1] - rule.crop_width) // 2
    return done[top : top + rule.crop_height, left : left + rule.crop_width]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
