"""The choices about one backbone: weights, precision, device, batch size, clips."""

from __future__ import annotations

import platform
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from longtake.errors import LongtakeWarning
from longtake.extract.backbones import get_spec
from longtake.extract.backbones.frozen import Backbone
from longtake.extract.cli import main
from longtake.extract.errors import ExtractError
from longtake.extract.plan import recipes, settle
from longtake.extract.plan.options import RunOptions
from longtake.extract.plan.settle import choose_weights, clip_rule
from longtake.extract.preprocessing import ClipRule
from longtake.manifests.card import ClipDefaults
from tests.extract import fake_backbone
from tests.extract.media import write_video
from tests.extract.runs import extract, make_dataset


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--backbone", "i3e"], "did you mean"),
        (["--tail", "dorp"], "--tail takes"),
        (["--decoder", "dekord"], "no decoder is called"),
        (["--only", "v99"], "no video of that id"),
        (["--fps", "-1"], "rate above 0"),
        (["--device", "cuda:99"], "cannot be used"),
        (["--videos", "nowhere"], "no folder"),
        (["--cluster-options", "site.toml"], "--cluster-options needs --cluster"),
        (["--runtime", "onnx"], "--runtime takes auto, torch or openvino, got 'onnx'"),
        (["--runtime", "openvino", "--compile"], "--compile compiles networks of torch"),
        (["--backbone", "i3d-r50", "--clip-length", "1"], "takes clips of 2 frames or more, got 1"),
    ],
)
def test_wrong_calls(tmp_path, numbers_backbone, arguments, message):
    make_dataset(tmp_path, [8])
    done = extract(tmp_path, *arguments, status=2)
    assert message in done.output and "Traceback" not in done.output
    assert not (tmp_path / "small.h5").exists()


@pytest.mark.parametrize(
    "asked, backbone, device, processor, gpu, expected",
    [
        ("auto", "vst", "cpu", True, False, "bfloat16"),
        ("auto", "vst", "cpu", False, True, "float32"),
        ("auto", "vst", "cuda:1", False, True, "bfloat16"),
        ("auto", "vst", "cuda:1", True, False, "float32"),
        ("auto", "vst", "mps", True, True, "float32"),
        ("auto", "c3d", "cpu", True, True, "float32"),
        ("auto", "c3d", "cuda:1", True, True, "float32"),
        ("bfloat16", "c3d", "cpu", False, False, "bfloat16"),
        ("float32", "vst", "cpu", True, True, "float32"),
    ],
)
def test_precision(monkeypatch, asked, backbone, device, processor, gpu, expected):
    """`auto` is bfloat16 where the device computes in it and the backbone states what it costs, which C3D does not."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: processor)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: gpu)
    monkeypatch.setattr(settle, "choose_device", lambda name: name)
    assert settle.choose_precision(asked, get_spec(backbone), device) == expected


@pytest.mark.parametrize(
    "options, backbone, precision, version, has_bfloat16, expected",
    [
        ({}, "i3d", "float32", "2026.4.1", False, "openvino"),
        ({}, "i3d", "bfloat16", "2026.4.1", True, "openvino"),
        ({}, "i3d", "bfloat16", "2026.4.1", False, "torch"),
        ({}, "i3d", "float32", None, True, "torch"),
        ({}, "slowfast-r50", "float32", "2026.4.1", True, "torch"),
        ({"device": "cuda:1"}, "i3d", "float32", "2026.4.1", True, "torch"),
        ({"compile": True}, "i3d", "float32", "2026.4.1", True, "torch"),
        ({"runtime": "torch"}, "i3d", "float32", "2026.4.1", True, "torch"),
        ({"runtime": "openvino"}, "slowfast-r50", "float32", "2026.4.1", True, "openvino"),
        ({"runtime": "openvino"}, "i3d", "float32", None, True, "the package openvino is not installed"),
        ({"runtime": "openvino"}, "i3d", "bfloat16", "2026.4.1", False, "does not compute in bfloat16"),
        ({"runtime": "openvino", "device": "cuda:1"}, "i3d", "float32", "2026.4.1", True, "not on cuda:1"),
    ],
)
def test_runtime(monkeypatch, options, backbone, precision, version, has_bfloat16, expected):
    """`auto` is OpenVINO where it can be used and the backbone is proven; by its name it is used or the reason is given."""
    monkeypatch.setattr(settle, "openvino_version", lambda: version)
    monkeypatch.setattr(settle, "has_bfloat16", lambda: has_bfloat16)
    monkeypatch.setattr(settle, "import_fault", lambda: "")
    monkeypatch.setattr(settle, "choose_device", lambda name: "cpu" if name == "auto" else name)
    choose = lambda: settle.choose_runtime(RunOptions(**options), get_spec(backbone), precision)  # noqa: E731
    if expected in ("torch", "openvino"):
        assert choose() == expected
    else:
        with pytest.raises(ExtractError, match=f"--runtime openvino cannot be used: .*{expected}"):
            choose()


def test_a_broken_package_is_said_and_torch_is_taken(monkeypatch):
    monkeypatch.setattr(settle, "openvino_version", lambda: "2026.4.1")
    monkeypatch.setattr(settle, "choose_device", lambda name: "cpu")
    monkeypatch.setattr(settle, "import_fault", lambda: "libtbb.so.12: no such file")
    with pytest.warns(
        LongtakeWarning, match=r"installed and cannot be used \(libtbb.so.12: no such file\); torch runs i3d"
    ):
        assert settle.choose_runtime(RunOptions(), get_spec("i3d"), "float32") == "torch"
    with pytest.raises(ExtractError, match="--runtime openvino cannot be used: .*libtbb"):
        settle.choose_runtime(RunOptions(runtime="openvino"), get_spec("i3d"), "float32")


@pytest.mark.parametrize(
    "device, processor, has, slow",
    [("cpu", "x86_64", False, True), ("cpu", "x86_64", True, False), ("cpu", "arm64", False, False)],
)
def test_a_precision_that_the_processor_emulates(tmp_path, monkeypatch, numbers_backbone, device, processor, has, slow):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr(platform, "machine", lambda: processor)
    write_video(tmp_path / "a.mp4", 5)
    (tmp_path / "m.csv").write_text("video_id\na\n")
    call = [
        "run",
        "--manifest",
        tmp_path / "m.csv",
        "--videos",
        tmp_path,
        "--backbone",
        numbers_backbone,
        "--weights",
        "random",
        "--device",
        device,
    ]
    for precision in ("bfloat16", "float32"):
        out = ["--precision", precision, "--out", tmp_path / f"{precision}.h5"]
        done = CliRunner().invoke(main, [str(part) for part in call + out])
        assert done.exit_code == 0, done.output
        assert ("this processor emulates bfloat16" in done.stderr) == (slow and precision == "bfloat16")


def test_a_network_made_for_one_length():
    with pytest.raises(ExtractError, match="c3d takes clips of 16 frames only, got 32"):
        clip_rule(get_spec("c3d"), None, RunOptions(clip_length=32))
    assert clip_rule(get_spec("c3d"), None, RunOptions(clip_stride=8)).stride == 8


def test_weights_for_each_of_several_backbones():
    specs = [get_spec("vst"), get_spec("ast")]
    assert choose_weights(specs, ()) == {"vst": None, "ast": None}
    assert choose_weights(specs, ("random:3",)) == {"vst": "random:3", "ast": "random:3"}
    assert choose_weights(specs, ("random", "ast=/a=b.pth")) == {"vst": "random", "ast": "/a=b.pth"}
    assert choose_weights(specs, ("ast=x", "random")) == {"vst": "random", "ast": "x"}
    assert choose_weights(specs[:1], ("a.pth",)) == {"vst": "a.pth"}
    with pytest.raises(ExtractError, match="for which of vst, ast"):
        choose_weights(specs, ("a.pth",))


@pytest.fixture
def batches(monkeypatch):
    """The shapes of what the fake backbone is given."""
    shapes, forward = [], fake_backbone.Numbers.forward

    def watched(self, clips):
        shapes.append(tuple(clips.shape[:2]))
        return forward(self, clips)

    monkeypatch.setattr(fake_backbone.Numbers, "forward", watched)
    return shapes


def test_clips_per_step(tmp_path, numbers_backbone, batches):
    """The backbone's number, or the call's; of a network that sees single frames, as many clips as have so many frames."""
    make_dataset(tmp_path, [20])
    for modality, arguments, expected in (
        ("video", (), (3, 4)),
        ("video", ("--batch-size", "2"), (2, 4)),
        ("image", (), (2, 4)),
        ("image", ("--clip-length", "9"), (1, 9)),
        ("image", ("--batch-size", "5"), (5, 4)),
    ):
        fake_backbone.install(modality=modality, batch_size={"video": 3, "image": 8}[modality])
        batches.clear()
        extract(tmp_path, "--stall-timeout", "0", *arguments, out=f"{len(list(tmp_path.iterdir()))}.h5")
        assert set(batches) == {expected}


@pytest.mark.parametrize("source", ["random", "w.pt"])
def test_networks_are_compiled_when_asked(tmp_path, numbers_backbone, monkeypatch, source):
    compiled = []
    monkeypatch.setattr(Backbone, "compile", lambda self: compiled.append(self))
    monkeypatch.chdir(tmp_path)
    torch.save({"none": torch.zeros(1)}, "w.pt")
    make_dataset(tmp_path, [4])
    extract(tmp_path, "--weights", source, out="plain.h5")
    assert not compiled
    extract(tmp_path, "--weights", source, "--compile")
    assert len(compiled) == 1


FIELDS = ("length", "stride", "tail", "fps")
OPTIONS = dict(zip(FIELDS, ("clip_length", "clip_stride", "tail", "fps")))
SAYS = {
    "user": dict(zip(FIELDS, (2, 3, "drop", 4.0))),
    "recipe": dict(zip(FIELDS, (5, 6, "centre", 7.0))),
    "card": dict(zip(FIELDS, (8, 9, "overlap", 10.0))),
    "backbone": dict(zip(FIELDS, (11, 12, "pad", 13.0))),
}


def rule_of(monkeypatch, *, user=(), card=(), recipe=None):
    """The rule when the user and the card set these fields, and a recipe all of them."""
    change = recipes.Change(ClipRule(**SAYS["recipe"]))
    monkeypatch.setitem(recipes.RECIPES, "mine", recipes.Recipe("about", "a test", {fake_backbone.NAME: change}))
    spec = replace(fake_backbone.SPEC, clips=ClipRule(**SAYS["backbone"]))
    options = RunOptions(recipe=recipe, **{OPTIONS[field]: SAYS["user"][field] for field in user})
    said = ClipDefaults(**{field: SAYS["card"][field] for field in card})
    rule = clip_rule(recipes.apply_recipe(recipe, spec), said, options)
    return {field: getattr(rule, field) for field in FIELDS}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    "others, rest",
    [({}, "backbone"), ({"card": FIELDS}, "card"), ({"card": FIELDS, "recipe": "mine"}, "recipe")],
)
def test_options_of_the_call_come_first(monkeypatch, field, others, rest):
    """Then the recipe, else the card, else the backbone; a length without a stride is its own stride."""
    expected = SAYS[rest] | {field: SAYS["user"][field]}
    if field == "length":
        expected["stride"] = expected["length"]
    assert rule_of(monkeypatch, user=[field], **others) == expected
    assert rule_of(monkeypatch, user=FIELDS, **others) == SAYS["user"]
    assert rule_of(monkeypatch, **others) == SAYS[rest]


@pytest.mark.parametrize("field", FIELDS)
def test_a_card_comes_before_the_backbone(monkeypatch, field):
    assert rule_of(monkeypatch, card=[field]) == SAYS["backbone"] | {field: SAYS["card"][field]}
