"""Published recipes: their clips and their pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from longtake.extract import backbones
from longtake.extract.backbones import get_spec
from longtake.extract.cli import main
from longtake.extract.clips import Timeline, plan_clips
from longtake.extract.decode import get_decoder
from longtake.extract.decode.scale import centre_crop
from longtake.extract.errors import ExtractError
from longtake.extract.plan import recipes
from longtake.extract.plan.options import RunOptions
from longtake.extract.plan.recipes import RECIPES, apply_recipe
from longtake.extract.plan.settle import clip_rule
from longtake.extract.preprocessing import PILLOW_BICUBIC, PILLOW_BILINEAR, ClipRule, FrameRule
from tests.extract import fake_backbone
from tests.extract.media import HEIGHT, WIDTH, write_video


def test_every_recipe_fits_its_backbones():
    for name, recipe in RECIPES.items():
        assert recipe.source and recipe.about
        for backbone in recipe.backbones:
            spec = apply_recipe(name, get_spec(backbone))
            assert spec.name == backbone and spec.clips.length >= 1
    with pytest.raises(ExtractError, match="gdlt does not have the backbone i3d; it has vst"):
        apply_recipe("gdlt", get_spec("i3d"))
    with pytest.raises(ExtractError, match="did you mean gdlt"):
        apply_recipe("gdl", get_spec("vst"))


@pytest.mark.parametrize("recipe, frames, count", [("finediving", 96, 9), ("mtl-aqa", 103, 10), ("jigsaws", 160, 10)])
@pytest.mark.parametrize("length", [60, 103, 731])
def test_short_performances(recipe, frames, count, length):
    timeline = Timeline(np.arange(length) / 25, length / 25)
    clips = plan_clips(timeline, apply_recipe(f"mvla-{recipe}", get_spec("i3d")).clips)
    assert len(clips) == count and all(len(clip.frames) == 16 for clip in clips)
    assert clips[0].frames[0] == 0 and clips[-1].frames[-1] == length - 1
    starts = [clip.start_seconds for clip in clips]
    assert starts == sorted(starts) and clips[-1].end_seconds == pytest.approx(length / 25)
    single = plan_clips(timeline, apply_recipe(f"mvla-{recipe}", get_spec("clip")).clips)
    assert len(single) == frames
    # A clip's frames are among the frames that are kept one by one.
    assert {frame for clip in clips for frame in clip.frames} <= {clip.frames[0] for clip in single}


def test_rules_of_even_clips():
    with pytest.raises(ValueError, match="8 frames do not make a clip of 16"):
        ClipRule(16, 16, "drop", num_frames=8)
    assert ClipRule(16, 16, "drop").extra_facts() == {}
    assert ClipRule(16, 16, "drop", num_frames=96, num_clips=9).extra_facts() == {"num_frames": 96, "num_clips": 9}


def reference(full: np.ndarray, rule: FrameRule) -> np.ndarray:
    """Resize, CenterCrop, Resize on 8-bit pictures, by torchvision, as the authors' scripts have it."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import center_crop, resize

    kind = InterpolationMode.BICUBIC if rule.resize == PILLOW_BICUBIC else InterpolationMode.BILINEAR
    image = center_crop(resize(Image.fromarray(full), rule.short_side, kind), (rule.crop_height, rule.crop_width))
    if rule.final_height:
        image = resize(image, (rule.final_height, rule.final_width), kind)
    return np.asarray(image)


@pytest.mark.parametrize("backbone, recipe", [("vst", "gdlt"), ("clip", None), ("i3d", None)])
@pytest.mark.parametrize("size", [(640, 360), (360, 640), (250, 250)])
def test_pictures_are_those_of_the_authors_transforms(tmp_path, backbone, recipe, size):
    import av

    rng = np.random.default_rng(0)
    low = Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8))
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for _ in range(2):
            picture = np.asarray(low.resize(size, Image.Resampling.BICUBIC))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    decoder = get_decoder("pyav")
    info = decoder.probe(tmp_path / "a.mp4")
    with av.open(str(info.path)) as container:
        full = next(container.decode(video=0)).to_ndarray(format="rgb24")
    rule = apply_recipe(recipe, get_spec(backbone)).frames
    _, pictures = next(decoder.pictures(info, {rule: {0}}, num_threads=1))
    found = pictures[rule].astype(int)
    assert found.shape == (rule.height, rule.width, 3)
    difference = np.abs(found - reference(full, rule))
    if rule.resize in (PILLOW_BILINEAR, PILLOW_BICUBIC):
        assert difference.max() == 0, "the same library on the same picture"
    else:
        # libswscale scales before it converts colours, and does not antialias as Pillow does.
        assert difference.mean() < 4 and np.percentile(difference, 99) < 20
    # Red is first: a picture with channels in another order is far away.
    assert np.abs(found[..., ::-1] - reference(full, rule)).mean() > 10
    if backbone == "i3d":
        values = backbones.build("i3d").pictures(torch.from_numpy(pictures[rule])[None, None])
        assert -1 <= float(values.min()) < float(values.max()) <= 1


def test_a_small_picture_gets_black_borders():
    cropped = centre_crop(np.full((4, 10, 3), 9, np.uint8), 6, 6)
    assert cropped.shape == (6, 6, 3)
    assert (cropped[[0, -1]] == 0).all() and (cropped[1:-1] == 9).all()


def test_a_choice_that_a_recipe_has_no_use_for():
    spec = apply_recipe("mvla-jigsaws", get_spec("i3d"))
    assert clip_rule(spec, None, RunOptions(recipe="mvla-jigsaws")).num_clips
    with pytest.raises(ExtractError, match="spreads .* clips evenly .* would change nothing"):
        clip_rule(spec, None, RunOptions(recipe="mvla-jigsaws", clip_stride=4))


def test_a_recipe_decides_and_the_call_overrides(tmp_path, numbers_backbone, monkeypatch):
    change = recipes.Change(ClipRule(8, 8, "drop", num_frames=24, num_clips=3))
    monkeypatch.setitem(recipes.RECIPES, "short", recipes.Recipe("three clips", "a test", {fake_backbone.NAME: change}))
    write_video(tmp_path / "a.mp4", 90)
    (tmp_path / "m.csv").write_text("video_id\na\n")
    call = ["run", "--manifest", str(tmp_path / "m.csv"), "--videos", str(tmp_path), "--weights", "random",
            "--backbone", fake_backbone.NAME, "--recipe", "short"]  # fmt: skip
    from longtake.features.store import open_store

    for more, clips, name in (((), 3, "s"), (("--clip-length", "4"), 3, "t")):
        done = CliRunner().invoke(main, [*call, "--out", str(tmp_path / f"{name}.h5"), *more])
        assert done.exit_code == 0, done.output
        with open_store(tmp_path / f"{name}.h5") as store:
            stream = store.stream()
            assert len(stream.read("a").features) == clips and stream.header.preprocessing["num_frames"] == 24
    done = CliRunner().invoke(main, [*call[:-1], "sort", "--out", str(tmp_path / "n.h5")])
    assert done.exit_code == 2 and "did you mean short?" in done.output
    assert (HEIGHT, WIDTH) == (160, 320)


@pytest.mark.parametrize("num_frames", [1, 3])
def test_a_video_of_one_frame(tmp_path, num_frames):
    """Portrait, one picture: padded to a clip, through a real network that sees and with one value each that is finite."""
    from longtake.features.store import open_store

    write_video(tmp_path / "a.mp4", num_frames)
    (tmp_path / "m.csv").write_text("video_id\na\n")
    call = ["run", "--manifest", str(tmp_path / "m.csv"), "--videos", str(tmp_path), "--weights", "random"]
    call += [
        "--runtime",
        "torch",
        "--backbone",
        "resnet50",
        "--backbone",
        "vst-t",
        "--clip-length",
        "4",
        "--tail",
        "pad",
    ]
    done = CliRunner().invoke(main, [*call, "--out", str(tmp_path / "s.h5")])
    assert done.exit_code == 0, done.output
    with open_store(tmp_path / "s.h5") as store:
        for stream in store.streams:
            features = stream.read("a").features
            assert features.shape == (1, stream.header.dim) and np.isfinite(features).all()
