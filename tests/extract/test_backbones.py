"""What every backbone of the table must do; a new one gets these tests by being in the table. Weights are random."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import torch

from longtake.extract.backbones import TABLE, build, get_spec, resnet3d
from longtake.extract.backbones.i3d import FLOW_BOUND, optical_flow
from longtake.extract.backbones.state_dict import state_sha256
from longtake.extract.backbones.weights import TABLE as WEIGHTS
from longtake.extract.errors import WeightsError
from longtake.extract.preprocessing import SoundRule
from tests.processor import needs_bfloat16

SMALL = {"i3d", "i3d-flow", "i3d-r50", "slowfast-r50", "vst", "vst-s", "vst-t", "resnet50"}
"""Networks that take pictures of any size; the others take their own."""
LENGTH = {
    "slowfast-r50": 16,
    "vst": 8,
    "vst-s": 8,
    "vst-t": 8,
    "i3d-r50": 8,
    "clip": 1,
    "vifi-clip": 2,
    "resnet50": 2,
    "timesformer": 2,
}
PARAMETERS = {"i3d": 12_697_264, "i3d-flow": 12_675_312, "clip": 149_620_737, "vifi-clip": 149_620_737,
              "vst-t": 28_158_070, "vst-s": 49_816_678, "resnet50": 25_557_032, "timesformer": 121_566_352}  # fmt: skip


@pytest.fixture(scope="module", params=[name for name in TABLE if name != "numbers"])
def backbone(request):
    torch.set_num_threads(1)
    built = build(request.param)
    built.init_random(0)
    return built


def inputs(spec, num_clips: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if isinstance(spec.frames, SoundRule):
        return torch.randn((num_clips, spec.frames.num_frames, spec.frames.mel_bins), generator=generator) / 2
    size = (64, 64) if spec.name in SMALL else (spec.frames.height, spec.frames.width)
    length = LENGTH.get(spec.name, spec.clips.length)
    return torch.randint(0, 256, (num_clips, length, *size, 3), dtype=torch.uint8, generator=generator)


def test_shape_determinism_and_independence_of_the_batch(backbone) -> None:
    spec = backbone.spec
    clips = inputs(spec, 2)
    features = backbone.forward(clips)
    assert features.shape == (2, spec.dim) and features.dtype == torch.float32 and not features.requires_grad
    assert torch.isfinite(features).all() and features.std() > 0
    assert backbone.device == torch.device("cpu"), "extract/pipeline/device.py goes by it"
    assert torch.equal(backbone.forward(clips), features), "the same twice"
    alone = backbone.forward(clips[1:])
    torch.testing.assert_close(alone, features[1:], rtol=1e-4, atol=1e-5 * float(features.abs().max()))
    assert not torch.allclose(features[0], features[1])


def test_classifier(backbone) -> None:
    logits = backbone.classify(inputs(backbone.spec, 1))
    if not backbone.spec.num_classes:
        assert logits is None
    else:
        assert logits.shape == (1, backbone.spec.num_classes) and torch.isfinite(logits).all()


def test_weights_come_back_and_others_are_refused(backbone) -> None:
    spec = backbone.spec
    state = dict(backbone.state_dict())
    again = build(spec.name)
    again.load_weights({"state_dict": {f"module.{key}": value for key, value in state.items()}})
    assert state_sha256(again.state_dict()) == state_sha256(state)
    clips = inputs(spec, 1)
    assert torch.equal(again.forward(clips), backbone.forward(clips))
    first = next(key for key, value in state.items() if value.ndim > 1 and "index" not in key)
    broken = {key: value for key, value in state.items() if key != first} | {"stranger.weight": torch.zeros(1)}
    with pytest.raises(WeightsError) as caught:
        build(spec.name).load_weights(broken)
    assert first in str(caught.value) and "1 unexpected: stranger.weight" in str(caught.value)


def test_table_line(backbone) -> None:
    spec = backbone.spec
    entry = WEIGHTS[spec.default_weights]
    assert entry.backbone == spec.name and entry.url.startswith("http") and entry.licence and entry.citation
    assert spec.citation and spec.clips.length >= 1
    if spec.name in PARAMETERS:
        counted = sum(value.numel() for value in backbone._original.parameters())
        assert counted == PARAMETERS[spec.name]
    if spec.name == "ast":
        network = backbone._original.audio_spectrogram_transformer
        assert sum(value.numel() for value in network.parameters()) == 86_187_264


@needs_bfloat16
def test_bfloat16_stays_within_what_the_spec_states(backbone) -> None:
    spec = backbone.spec
    if spec.bfloat16_error is None:
        pytest.skip("nobody states what bfloat16 costs here")
    fast = build(spec.name, precision="bfloat16")
    fast.init_random(0)
    clips = inputs(spec, 2)
    exact, rounded = backbone.forward(clips), fast.forward(clips)
    assert 0 < float((exact - rounded).norm() / exact.norm()) < spec.bfloat16_error


def video_swin_state(keys: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    state = {}
    for key, shape in keys.items():
        z = np.random.RandomState(zlib.crc32(key.removeprefix("backbone.").encode())).standard_normal(shape)
        if key.endswith("relative_position_index"):
            values = np.zeros(shape)  # follows from the window; our loader makes its own
        elif key.endswith("relative_position_bias_table"):
            values = 0.2 * z
        elif z.ndim == 1:
            values = 1 + 0.1 * z if key.endswith("weight") else 0.05 * z
        else:
            values = z / np.sqrt(np.prod(shape[1:]))
        state[key] = torch.from_numpy(np.asarray(values, np.float32))
    return state


def test_video_swin_of_the_original_repository(shared) -> None:
    """Keys of the Kinetics-600 checkpoint in circulation, and the published implementation's outputs."""
    golden = np.load(shared / "golden" / "video_swin_b.npz")
    vst = build("vst")
    vst.load_weights(video_swin_state(json.loads(str(golden["keys"]))))
    assert vst.classify(inputs(vst.spec, 1)) is None, "that file has no classifier"
    sizes = ((32, 224, 224), (16, 224, 224), (9, 90, 116))
    for seed, size in list(enumerate(sizes))[1:]:  # the largest takes longest and is compared by the slow test
        assert swin_error(vst, golden, seed, size) < 1e-4


@pytest.mark.parametrize("length", [1, 3, 5, 25, 32])
def test_both_paths_of_slowfast_have_the_length_that_joins_them(length):
    seen = []

    class Block(torch.nn.Module):
        def forward(self, maps):
            slow, fast = maps
            seen.append((slow.shape[2], torch.nn.functional.conv3d(
                fast, torch.zeros(3, 3, 7, 1, 1), stride=(4, 1, 1), padding=(3, 0, 0)).shape[2]))  # fmt: skip
            return maps

    head = torch.nn.Module()
    head.proj = torch.nn.Linear(resnet3d.SLOWFAST_R50.dim, 1)
    network = torch.nn.Module()
    network.blocks = torch.nn.ModuleList([Block(), torch.nn.Identity(), head])
    resnet3d.features(network, torch.zeros(1, 3, length, 1, 1))
    ((slow, fast),) = seen
    assert slow == fast


@pytest.mark.slow
def test_video_swin_on_32_frames(shared) -> None:
    golden = np.load(shared / "golden" / "video_swin_b.npz")
    vst = build("vst")
    vst.load_weights(video_swin_state(json.loads(str(golden["keys"]))))
    assert sum(p.numel() for p in build("vst")._make(400).parameters()) == 88_048_984
    assert swin_error(vst, golden, 0, (32, 224, 224)) < 1e-4


def swin_error(vst, golden, seed: int, size: tuple[int, int, int]) -> float:
    pictures = np.random.RandomState(seed).standard_normal((1, 3, *size)).astype(np.float32)
    with torch.inference_mode():
        found = vst._features(vst._network, torch.from_numpy(pictures)).numpy()
    expected = golden["mean_" + "x".join(map(str, size))]
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_names_of_published_files() -> None:
    """Key layouts in circulation find their way, without the files: names made by the rule of each publisher."""
    ast = build("ast")
    ast.init_random(0)
    hub = {}
    for key, value in ast.state_dict().items():
        name = key.replace("transformer.layers.", "transformer.encoder.layer.")
        for ours, theirs in (("q_proj", "attention.query"), ("k_proj", "attention.key"), ("v_proj", "attention.value"),
                             ("o_proj", "output.dense"), ("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense")):  # fmt: skip
            name = name.replace(ours, theirs)
        hub[name] = value
    assert "audio_spectrogram_transformer.encoder.layer.0.attention.attention.query.weight" in hub
    assert "audio_spectrogram_transformer.encoder.layer.0.attention.output.dense.weight" in hub
    again = build("ast")
    again.load_weights(hub)
    assert state_sha256(again.state_dict()) == state_sha256(ast.state_dict())

    clip = build("vifi-clip")
    clip.init_random(0)
    vifi = {"prompt_learner.complete_text_embeddings": torch.zeros(400, 77, 512)}
    for key, value in clip.state_dict().items():
        if key.startswith("visual."):
            vifi["module.image_encoder." + key.removeprefix("visual.")] = value
        elif key == "logit_scale":
            vifi["module.logit_scale"] = value
        elif key != "token_embedding.weight":
            vifi["module.text_encoder." + key] = value
    vifi["module.prompt_learner.complete_text_embeddings"] = vifi.pop("prompt_learner.complete_text_embeddings")
    loaded = build("vifi-clip")
    loaded.load_weights({"model": vifi, "epoch": 3})
    clips = inputs(clip.spec, 1)
    assert torch.equal(loaded.forward(clips), clip.forward(clips))
    with pytest.raises(WeightsError, match="token_embedding.weight"):
        build("clip").load_weights({"model": vifi})


def test_flow_follows_a_moving_picture() -> None:
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(0, 255, (40, 40)), np.ones((6, 6)))[:, :, None].repeat(3, 2)
    frames = np.stack([texture[20:148, 20 - 3 * t + 30 : 148 - 3 * t + 30] for t in range(4)])  # 3 pixels to the right
    pictures = torch.from_numpy(frames).float().permute(3, 0, 1, 2)[None]
    flow = optical_flow(pictures)
    assert flow.shape == (1, 2, 4, 128, 128)
    centre = flow[0, :, :3, 32:96, 32:96]
    assert float(centre[0].median()) * FLOW_BOUND == pytest.approx(3, abs=0.5)
    assert abs(float(centre[1].median())) * FLOW_BOUND < 0.5
    assert torch.equal(flow[:, :, 3], flow[:, :, 2]) and float(flow.abs().max()) <= 1


def test_specs_of_frames_and_sound() -> None:
    rule = get_spec("i3d").frames
    assert "final_height" not in rule.facts(), "what was not done changes no recipe"
    with pytest.raises(ValueError, match="bank_rate takes"):
        SoundRule(16000, 128, 1024, 0, 1, bank_rate="wrong")


def test_c3d_layer_by_layer() -> None:
    """The network as its PyTorch conversion lays it out, with the border around the last maps."""
    backbone = build("c3d")
    backbone.init_random(1)
    state = backbone.state_dict()
    clips = inputs(backbone.spec, 1)
    maps = backbone.pictures(clips)
    with torch.inference_mode():
        for name in ("1", "2", "3a", "3b", "4a", "4b", "5a", "5b"):
            convolution = torch.nn.Conv3d(maps.shape[1], len(state[f"conv{name}.bias"]), (3, 3, 3), padding=(1, 1, 1))
            convolution.load_state_dict({k: state[f"conv{name}.{k}"] for k in ("weight", "bias")})
            maps = torch.relu(convolution(maps))
            if name == "1":
                maps = torch.nn.MaxPool3d((1, 2, 2), (1, 2, 2))(maps)
            elif name == "5b":
                maps = torch.nn.MaxPool3d((2, 2, 2), (2, 2, 2), padding=(0, 1, 1))(maps)
            elif name in ("2", "3b", "4b"):
                maps = torch.nn.MaxPool3d((2, 2, 2), (2, 2, 2))(maps)
        expected = torch.relu(maps.view(1, 8192) @ state["fc6.weight"].T + state["fc6.bias"])
    torch.testing.assert_close(backbone.forward(clips), expected, rtol=1e-4, atol=1e-3)
    with pytest.raises(ValueError, match="16 frames of 112x112"):
        backbone.forward(clips[:, :8])
