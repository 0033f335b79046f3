"""MVLA's equations against plain numpy, and what its switches switch."""

import json
from dataclasses import replace
from math import erf

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from longtake.features.store import open_store
from longtake.train.cli import main
from longtake.train.engine.losses import total_loss
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import SettingsError
from longtake.train.heads.base import SecondStream
from longtake.train.heads.mvla import (
    MVLA,
    CollaborativeAttention,
    MVLASettings,
    divergence,
    similarity_loss,
    stage_shares,
)
from longtake.train.heads.plugin import WithMVLA
from longtake.train.runs.evaluate import evaluate_run
from tests.train.heads.kit import (
    AUDIO_DIM,
    DIM,
    PROTOTYPES,
    check_that_padding_changes_nothing,
    make_batch,
    make_head,
    ready,
)
from tests.train.planted import planted_store

RNG = np.random.default_rng(3)


def arrays(*shapes):
    return [RNG.normal(size=shape).astype(np.float32) for shape in shapes]


def softmax(values):
    exponentials = np.exp(values - values.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def cosine(one, other):
    return (one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)


def test_equation_5():
    visual, texts = arrays((3, 4, 8), (5, 8))
    which, tau = [2, 0, 4], 0.3
    losses = []
    for row, text in enumerate(which):
        for embedding in visual[row]:
            exponentials = np.exp(np.array([cosine(embedding, other) for other in texts]) / tau)
            losses.append(-np.log(exponentials[text] / exponentials.sum()))
    found = similarity_loss(torch.tensor(visual), torch.tensor(texts), torch.tensor(which), tau)
    assert float(found) == pytest.approx(np.mean(losses), abs=1e-5)


def test_equation_7s_divergence():
    clips, vision, texts = arrays((2, 6, 8), (2, 6, 8), (5, 8))
    which, lengths, tau = [3, 1], [6, 4], 0.2
    terms = []
    for row, length in enumerate(lengths):
        p, q = (
            softmax(np.array([cosine(clip, texts[which[row]]) for clip in branch[row, :length]]) / tau)
            for branch in (clips, vision)
        )
        terms.append((p * np.log(p / q)).sum())
    mask = torch.arange(6)[None] < torch.tensor(lengths)[:, None]
    values = [torch.tensor(value) for value in (clips, vision, texts)]
    assert float(divergence(*values, torch.tensor(which), mask, tau)) == pytest.approx(np.mean(terms), abs=1e-5)
    assert float(divergence(values[0], values[0], values[2], torch.tensor(which), mask, tau)) == pytest.approx(
        0, abs=1e-6
    )


def gelu(values):
    return np.vectorize(lambda x: 0.5 * x * (1 + erf(x / 2**0.5)))(values)


@pytest.mark.parametrize("hard", [False, True])
def test_equation_8(hard):
    torch.manual_seed(0)
    module = CollaborativeAttention(8, 8, 0.5).eval()
    w = {name: value.detach().numpy().astype(float) for name, value in module.state_dict().items()}
    clips, vision, texts = (value.astype(float) for value in arrays((2, 3, 8), (2, 3, 8), (4, 8)))
    best = np.array([[np.argmax([cosine(place, text) for text in texts]) for place in row] for row in vision])

    def mlp(name, values):
        hidden = gelu(values @ w[f"{name}.0.weight"].T + w[f"{name}.0.bias"])
        return hidden @ w[f"{name}.3.weight"].T + w[f"{name}.3.bias"]

    expected = []
    for row in range(2):
        logits = vision[row] @ w["vision_query.weight"].T @ (texts @ w["text_key.weight"].T).T / np.sqrt(8)
        if hard:
            logits = np.where(np.arange(4)[None] == best[row][:, None], logits, -np.inf)
        x = softmax(logits) @ (texts @ w["text_value.weight"].T) + vision[row]
        x = mlp("vision_mlp", x) + x
        logits = clips[row] @ w["clip_query.weight"].T @ (x @ w["vision_key.weight"].T).T / np.sqrt(8)
        z = softmax(logits) @ (x @ w["vision_value.weight"].T) + clips[row]
        expected.append(mlp("clip_mlp", z) + z)
    allowed = torch.nn.functional.one_hot(torch.tensor(best), 4).bool() if hard else None
    with torch.no_grad():
        found = module(*(torch.tensor(value, dtype=torch.float32) for value in (clips, vision, texts)), allowed)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("lengths, stages", [([8, 8], 4), ([10, 3], 4), ([1, 2], 3), ([7, 5], 1)])
def test_stages_are_equal_parts_of_each_video(lengths, stages):
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    shares = stage_shares(mask, stages).numpy()
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-6)
    for row, length in enumerate(lengths):
        assert not shares[row, :, length:].any()
        for stage in range(stages):
            first = min(stage * length // stages, length - 1)
            last = max((stage + 1) * length // stages, first + 1)
            np.testing.assert_array_equal(np.flatnonzero(shares[row, stage]), np.arange(first, last))


def test_what_the_switches_switch():
    batch = make_batch([9, 7, 5, 8])
    scores = {}
    for switches in (
        {},
        {"sca": False},
        {"texts": "hard"},
        {"stages": 2},
        {"temporal_layers": 2},
        {"encoder_layers": 0},
    ):
        head = ready(make_head("sca", **switches))
        check_that_padding_changes_nothing(head)
        with torch.no_grad():
            scores[str(switches)] = tuple(head(batch).score01.tolist())
    assert len(set(scores.values())) == len(scores)
    _, terms = total_loss(make_head("sca").train()(batch), batch.target01, TrainSettings())
    assert set(terms) == {"mse", "similarity", "divergence"}
    off = make_head("sca", similarity_weight=0.0, divergence_weight=0.0).train()
    assert set(total_loss(off(batch), batch.target01, TrainSettings())[1]) == {"mse"}
    for wrong in ({"texts": "best"}, {"stages": 0}, {"temperature": 0.0}):
        with pytest.raises(SettingsError):
            MVLASettings(**wrong)


def test_a_test_score_knows_nothing_of_its_target():
    head = ready(make_head("sca"))
    batch = make_batch([9, 7, 5, 8])
    with torch.no_grad():
        one, other = head(batch), head(replace(batch, target01=1 - batch.target01))
    assert torch.equal(one.score01, other.score01) and not one.losses


def test_without_a_second_stream_both_branches_read_the_clips():
    batch = replace(make_batch([9, 7, 5, 8]), audio=None)
    head = MVLA(DIM, MVLASettings(width=16, heads=2), PROTOTYPES).eval()
    assert torch.isfinite(head(batch).score01).all()


def test_frames_are_pooled_into_the_clips():
    """Three equal frames in each clip give what one clip for one clip gives, except for the attention among them."""
    batch = make_batch([6, 4])
    starts = torch.arange(6.0)[None].repeat(2, 1)
    seconds = torch.stack([starts, starts + 1], -1) * batch.mask[..., None]
    thirds = torch.arange(18.0)[None].repeat(2, 1) / 3
    frames = SecondStream(
        batch.audio.repeat_interleave(3, 1),
        batch.mask.repeat_interleave(3, 1),
        torch.stack([thirds, thirds + 1 / 3], -1),
    )
    head = ready(make_head("sca"))
    with torch.no_grad():
        aligned = head(batch).score01
        pooled = head(replace(batch, audio=None, seconds=seconds, second_stream=frames)).score01
        wrong = head(replace(batch, audio=None, seconds=seconds / 2, second_stream=frames)).score01
    np.testing.assert_allclose(pooled, aligned, atol=1e-5)
    assert not torch.allclose(wrong, aligned, atol=1e-4)


@pytest.mark.parametrize("host", ["gdlt", "gslm", "pgt", "sca"])
def test_the_plugin_before_a_host(host):
    torch.manual_seed(0)
    head = WithMVLA(make_head(host), DIM, {"grades": PROTOTYPES.texts["grades"]}, AUDIO_DIM, MVLASettings())
    check_that_padding_changes_nothing(ready(head))
    batch = make_batch([9, 7, 5, 8])
    output = head.train()(batch)
    assert set(output.losses) >= {"similarity", "divergence"}
    loss, _ = total_loss(output, batch.target01, TrainSettings())
    loss.backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_a_run_with_the_plugin_comes_back_from_its_checkpoint(tmp_path):
    store = planted_store(tmp_path / "s.h5", num_train=12, num_test=6)
    call = ["heads", "--features", str(store), "--head", "gdlt", "--plugin", "mvla", "--epochs", "2", "--no-floor"]
    done = CliRunner().invoke(main, [*call, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    (model,) = json.loads((tmp_path / "run" / "metrics.json").read_text())["models"]
    with open_store(store) as opened:
        (row,) = evaluate_run(tmp_path / "run", opened, "test")
    assert row.metrics.mse == pytest.approx(model["test"]["mse"], rel=1e-5)
    assert row.random_weights, "its texts were encoded by random weights"
