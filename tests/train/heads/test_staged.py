"""MVLA whole: its equations against plain numpy, its two schemes, its switches, and a run from a store to a checkpoint and back."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.special import log_softmax

from benchmarks.stages import write_world
from longtake.features.store import open_store
from longtake.train.cli import main
from longtake.train.data.prompts import PrototypeSettings
from longtake.train.engine.losses import total_loss
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import DataError, SettingsError
from longtake.train.heads.base import SecondStream
from longtake.train.heads.blocks.segmentation import Grid, Segmented
from longtake.train.heads.mvla import own_texts
from longtake.train.heads.staged import Grains, StagedSettings, StageGuidance
from longtake.train.metrics import measure
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from longtake.train.protocol.settings import build_settings
from longtake.train.runs.evaluate import evaluate_run
from tests.train.heads.kit import check_that_padding_changes_nothing, make_batch, make_head, ready
from tests.train.heads.test_mvla import cosine, softmax

RNG = np.random.default_rng(5)
WIDTH = 16


def tensor(*shape):
    return torch.tensor(RNG.normal(size=shape), dtype=torch.float32)


def test_equation_3():
    """One layer of the temporal Transformer: self-attention and a perceptron, each added and normalised after."""
    torch.manual_seed(0)
    guidance = StageGuidance(StagedSettings(width=WIDTH, heads=2), torch.zeros(4, WIDTH), WIDTH, WIDTH).eval()
    frames, mask = tensor(2, 6, WIDTH), torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    with torch.no_grad():
        found = guidance.vision(frames, mask).numpy()
    w = {name: value.numpy().astype(float) for name, value in guidance.temporal.state_dict().items()}

    def norm(values, name):
        centred = values - values.mean(-1, keepdims=True)
        return centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    for row, length in enumerate((6, 4)):
        x = frames[row, :length].numpy().astype(float)
        q, k, v = np.split(x @ w["layers.0.self_attn.in_proj_weight"].T + w["layers.0.self_attn.in_proj_bias"], 3, -1)
        heads = []
        for head in range(2):
            part = slice(head * WIDTH // 2, (head + 1) * WIDTH // 2)
            heads.append(softmax(q[:, part] @ k[:, part].T / np.sqrt(WIDTH // 2)) @ v[:, part])
        mixed = np.concatenate(heads, -1) @ w["layers.0.self_attn.out_proj.weight"].T
        x = norm(x + mixed + w["layers.0.self_attn.out_proj.bias"], "layers.0.norm1")
        hidden = np.maximum(x @ w["layers.0.linear1.weight"].T + w["layers.0.linear1.bias"], 0)
        x = norm(x + hidden @ w["layers.0.linear2.weight"].T + w["layers.0.linear2.bias"], "layers.0.norm2")
        np.testing.assert_allclose(found[row, :length], norm(x, "norm"), atol=1e-5)
        assert not found[row, length:].any()


def grains_of(segmented: bool) -> tuple[Grains, list[np.ndarray]]:
    """Of two videos, 6 and 5 frames or clips long, with stages of 2, 2, 2 and 1, 2, 2."""
    mask = torch.tensor([[True] * 6, [True] * 5 + [False]])
    stage = torch.tensor([[0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 2, 2]])
    means = torch.stack([(stage == s) & mask for s in range(3)], 1).float()
    means = means / means.sum(-1, keepdim=True)
    seconds = torch.stack([torch.arange(6.0), torch.arange(6.0) + 1], -1)[None].repeat(2, 1, 1)
    grid = Grid(mask, seconds)
    clips, vision = (tensor(2, 6, WIDTH) * mask[..., None] for _ in range(2))
    found = Segmented(clips, tensor(2, 6, 2), torch.tensor([[2, 4], [1, 3]])) if segmented else None
    return Grains(clips, vision, mask, means, stage, grid, found), [stage[0].numpy(), stage[1, :5].numpy()]


def cross_entropy(embedding, texts, which, tau):
    return -log_softmax(np.array([cosine(embedding, text) for text in texts]) / tau)[which]


@pytest.mark.parametrize(
    "levels", [(True, True, True), (True, False, False), (False, True, False), (False, False, True)]
)
def test_equation_6(levels):
    """Frames, stages and videos of both branches with their texts; rows of Table 4 leave some out."""
    frame_level, stage_level, video_level = levels
    settings = StagedSettings(
        width=WIDTH, heads=2, frame_level=frame_level, stage_level=stage_level, video_level=video_level, temperature=0.3,
        similarity_weight=0.7,
    )  # fmt: skip
    guidance = StageGuidance(settings, torch.zeros(4, WIDTH), WIDTH, WIDTH).train()
    grains, stages = grains_of(segmented=True)
    stage_texts, video_texts = tensor(5, WIDTH), tensor(3, WIDTH)
    terms = [[4, 0, 2, 1], [1, 1, 3, 2]]
    batch = replace(make_batch([6, 5]), terms=torch.tensor(terms), boundaries=None)
    expected = 0.0
    for branch in (grains.clips.numpy(), grains.vision.numpy()):
        by_level = ([], [], [])
        for row, own in enumerate(stages):
            values = branch[row, : len(own)].astype(float)
            for value, stage in zip(values, own):
                by_level[0].append(cross_entropy(value, stage_texts.numpy(), terms[row][stage], 0.3))
            for stage in range(3):
                mean = values[own == stage].mean(0)
                by_level[1].append(cross_entropy(mean, stage_texts.numpy(), terms[row][stage], 0.3))
            by_level[2].append(cross_entropy(values.mean(0), video_texts.numpy(), terms[row][3], 0.3))
        expected += sum(np.mean(level) for level, on in zip(by_level, levels) if on)
    found = guidance.losses_of(batch, grains, stage_texts, video_texts)
    assert float(found["similarity"]) == pytest.approx(0.7 * expected, abs=1e-5) and "divergence" not in found


def test_equation_7():
    """Without segmentation: the curves of both branches with each of the video's stage texts, and no level of frames."""
    settings = StagedSettings(width=WIDTH, heads=2, boundaries="fixed", temperature=0.3, divergence_weight=0.5)
    guidance = StageGuidance(settings, torch.zeros(4, WIDTH), WIDTH, WIDTH).train()
    grains, stages = grains_of(segmented=False)
    stage_texts, video_texts = tensor(5, WIDTH), tensor(3, WIDTH)
    terms = [[4, 0, 2, 1], [-1, -1, -1, -1]]  # the second video's category has no texts
    batch = replace(make_batch([6, 5]), terms=torch.tensor(terms), boundaries=None)
    found = guidance.losses_of(batch, grains, stage_texts, video_texts)
    clips, vision = grains.clips[0].numpy().astype(float), grains.vision[0].numpy().astype(float)
    curves = []
    for text in stage_texts.numpy()[terms[0][:3]]:
        p, q = (softmax(np.array([cosine(value, text) for value in branch]) / 0.3) for branch in (clips, vision))
        curves.append((p * np.log(p / q)).sum())
    assert float(found["divergence"]) == pytest.approx(0.5 * np.mean(curves), abs=1e-5)
    expected = 0.0
    for branch in (clips, vision):
        stage_terms = [
            cross_entropy(branch[stages[0] == s].mean(0), stage_texts.numpy(), terms[0][s], 0.3) for s in range(3)
        ]
        expected += np.mean(stage_terms) + cross_entropy(branch.mean(0), video_texts.numpy(), terms[0][3], 0.3)
    assert float(found["similarity"]) == pytest.approx(0.1 * expected, abs=1e-5)


def test_equations_9_and_11():
    head, batch = make_head("mvla").train(), make_batch([9, 7, 5, 8])
    output = head(batch)
    _, terms = total_loss(output, batch.target01, TrainSettings())
    assert set(terms) == {"mse", "boundaries", "similarity"}
    scores, true = output.score01.detach().numpy(), batch.target01.numpy()
    assert float(terms["mse"]) == pytest.approx(np.mean((scores - true) ** 2), abs=1e-6)
    s, s_hat = RNG.uniform(0, 100, 20), RNG.uniform(0, 100, 20)
    expected = sum((abs(a - b) / (s.max() - s.min())) ** 2 for a, b in zip(s, s_hat)) / 20
    assert measure(s, s_hat, np.ptp(s)).relative_l2 == pytest.approx(100 * expected, abs=1e-5)


def test_each_videos_own_texts():
    texts = tensor(5, WIDTH)
    found = own_texts(texts, torch.tensor([[4, 0], [-1, 2]]))
    np.testing.assert_allclose(found[0], texts[[4, 0]])
    np.testing.assert_allclose(found[1, 0], texts.mean(0), atol=1e-6)
    assert own_texts(texts, None) is texts


SWITCHES = [
    {}, {"boundaries": "true"}, {"boundaries": "fixed"}, {"boundaries": "fixed", "edges": "0.2,0.4"}, {"sca": False},
    {"texts": "soft"}, {"texts": "hard"}, {"frames": 20}, {"blocks": 1}, {"encoder_layers": 0},
]  # fmt: skip


def test_what_the_switches_switch():
    batch, scores = make_batch([9, 7, 5, 8]), {}
    for switches in SWITCHES:
        head = ready(make_head("mvla", **switches))
        check_that_padding_changes_nothing(head)
        with torch.no_grad():
            output = head(batch)
        scores[str(switches)] = tuple(output.score01.tolist())
        assert (output.boundaries is None) == (switches.get("boundaries") == "fixed") and not output.losses
    assert len(set(scores.values())) == len(scores)
    off = make_head("mvla", similarity_weight=0.0, boundary_weight=0.0).train()
    assert set(total_loss(off(batch), batch.target01, TrainSettings())[1]) == {"mse"}
    for wrong in ({"texts": "best"}, {"boundaries": "some"}, {"stages": 1}, {"edges": "0.3"}, {"edges": "0.8,0.3"},
                  {"edges": "a,b"}):  # fmt: skip
        with pytest.raises(SettingsError):
            StagedSettings(**wrong)


def test_the_oracle_knows_where_stages_end():
    head, batch = ready(make_head("mvla", boundaries="true")), make_batch([9, 7, 5, 8])
    moved = replace(batch, boundaries=batch.boundaries * 0.5)
    with torch.no_grad():
        assert not torch.allclose(head(batch).score01, head(moved).score01)
        plain = ready(make_head("mvla"))
        assert torch.equal(plain(batch).score01, plain(moved).score01), "and no other head is"


def test_a_second_stream_of_frames():
    """Its own frames are the grid, and padding in either clock changes nothing."""
    batch = make_batch([6, 4])
    mask = torch.arange(30)[None] < torch.tensor([30, 20])[:, None]
    starts = torch.arange(30.0)[None].repeat(2, 1) / 5
    seconds = torch.stack([starts, starts + 0.2], -1) * mask[..., None]
    frames = SecondStream(tensor(2, 30, 10) * mask[..., None], mask, seconds)
    head = ready(make_head("mvla"))
    given = replace(batch, audio=None, second_stream=frames)
    with torch.no_grad():
        both = head(given)
        one = slice(1, 2)
        alone = head(
            replace(
                given, clips=batch.clips[one, :4], mask=batch.mask[one, :4], target01=batch.target01[one], rows=(0,),
                seconds=batch.seconds[one, :4], boundaries=batch.boundaries[one], terms=batch.terms[one],
                second_stream=SecondStream(frames.features[one, :20], mask[one, :20], seconds[one, :20]),
            )
        )  # fmt: skip
    np.testing.assert_allclose(alone.score01, both.score01[one], atol=1e-5)
    np.testing.assert_allclose(alone.boundaries, both.boundaries[one], atol=1e-5)


@pytest.mark.parametrize(
    "call", [["--head", "mvla"], ["--head", "i3d-mlp", "--plugin", "mvla", "--set", "plugin.width=16"]]
)
def test_a_run_comes_back_from_its_checkpoint(tmp_path, monkeypatch, call):
    """With its texts, whose are whose, and the plug-in's settings."""
    write_world(tmp_path / "s.h5", 40, 0, shuffled=False)
    small = ["--set", "width=16", "--epochs", "2", "--no-floor", "--backbone", "clips", "--second", "frames"]
    done = CliRunner().invoke(
        main, ["heads", "--features", str(tmp_path / "s.h5"), *call, *small, "--out", str(tmp_path / "run")]
    )
    assert done.exit_code == 0, done.output
    assert "AIoU" in done.output
    facts = json.loads((tmp_path / "run" / "metrics.json").read_text())
    (model,) = facts["models"]
    assert 0 <= facts["table"][0]["aiou_75"] <= model["test"]["aiou_50"] <= 1
    with open_store(tmp_path / "s.h5") as opened:
        (row,) = evaluate_run(tmp_path / "run", opened, "test")
    assert row.metrics.mse == pytest.approx(model["test"]["mse"], rel=1e-5)
    assert row.metrics.aiou_50 == model["test"]["aiou_50"]
    with open_store(tmp_path / "s.h5") as opened:
        fewer = replace(opened.labels, boundaries=opened.labels.boundaries[:, :1])
        monkeypatch.setattr(type(opened), "labels", property(lambda store: fewer))
        (other,) = evaluate_run(tmp_path / "run", opened, "test")
    assert other.predicted == row.predicted and np.isnan(other.metrics.aiou_50), "fewer stages than it knows"


def test_what_is_missing_is_said(tmp_path):
    write_world(tmp_path / "s.h5", 20, 0, shuffled=False)
    with open_store(tmp_path / "s.h5") as opened:
        with pytest.raises(DataError, match="head mvla learns 3 boundaries of stages, and the labels of .* have 2"):
            prepare(opened, Options("mvla", "clips", "frames", overrides=(("stages", 4),)))
        with pytest.raises(DataError, match="head tsa learns 1 boundaries"):
            prepare(opened, Options("tsa", "clips", "frames", plugin="mvla", overrides=(("stages", 2),)))
        with pytest.raises(SettingsError, match="plugin.width is a setting of a plug-in: name one with --plugin"):
            prepare(opened, Options("gdlt", "clips", overrides=(("plugin.width", 4),)))
        with pytest.raises(SettingsError, match="has no setting 'plugin.widht'; did you mean plugin.width?"):
            prepare(opened, Options("gdlt", "clips", "frames", plugin="mvla", overrides=(("plugin.widht", 4),)))


def test_fixed_boundaries_where_no_paper_labels_them():
    kinds = {"train": TrainSettings, "head": StagedSettings, "prototypes": PrototypeSettings}
    assert build_settings("mvla", "mtl-aqa", "", {}, kinds).head.boundaries == "fixed"
    assert build_settings("mvla", "finediving", "", {}, kinds).head.boundaries == "predicted"
