"""The head `skating-mixer`, against the published module's numbers."""

import numpy as np
import pytest
import torch

from longtake.train.engine.losses import total_loss
from longtake.train.engine.settings import TrainSettings
from longtake.train.heads.skating_mixer import SkatingMixer, SkatingMixerSettings, backwards
from tests.train.heads.goldens import batch_of, check_gradients, evaluated, golden_store, load, numbers_of, tensors


@pytest.fixture
def numbers(shared):
    return numbers_of(shared, "skating_mixer")


def golden_head(numbers, **settings):
    head = SkatingMixer(144, SkatingMixerSettings(width=16, tokens=3, **settings), audio_dim=48)
    return load(head, tensors(numbers, "weight/"))


def inputs(numbers):
    clips, audio = torch.from_numpy(numbers["video"]).flatten(2), torch.from_numpy(numbers["audio"])
    return clips, audio, *(torch.from_numpy(numbers[f"{name}_lengths"]) for name in ("video", "audio"))


def test_published_outputs_loss_and_gradients(numbers):
    head = golden_head(numbers, published_defects=True)
    scores = head.score01(*inputs(numbers))
    np.testing.assert_allclose(scores.detach(), numbers["eval/output"], atol=1e-5)
    loss = torch.nn.functional.mse_loss(scores, torch.from_numpy(numbers["target"]))
    assert float(loss.detach()) == pytest.approx(float(numbers["train/loss"]), abs=1e-5)
    loss.backward()
    check_gradients(head, head.from_published(tensors(numbers, "grad_norm/")))


def test_the_first_step(numbers):
    head = golden_head(numbers)
    clips, audio, *_ = inputs(numbers)
    tokens = torch.cat([head.embed(audio)[:, :, None], head.embed(clips.unflatten(-1, (3, -1)))], 2)
    said, _ = head.walk(tokens[:, :1], tokens[:, :1])
    np.testing.assert_allclose(head.answer(said).detach(), numbers["eval/first_class"], atol=1e-5)


def test_padding_is_not_walked(numbers):
    """Without the defect, a video in a batch is as the published module has it alone."""
    scores = golden_head(numbers).score01(*inputs(numbers)).detach()
    alone = np.concatenate([numbers[f"eval/output_alone_{row}"] for row in range(3)])
    np.testing.assert_allclose(scores, alone, atol=1e-5)
    assert abs(alone - numbers["eval/output"]).max() > 0.01


def test_the_published_walk_reads_padding(numbers):
    clips, audio, *_ = inputs(numbers)
    batches = [batch_of(clips, numbers["target"], (9, n, n), audio=audio) for n in (6, 8)]
    for defects in (False, True):
        head = golden_head(numbers, published_defects=defects)
        with torch.no_grad():
            alone = head(batch_of(clips[1:2, :6], numbers["target"][1:2], audio=audio[1:2, :6])).score01
            assert bool((head(batches[0]).score01[1:2] - alone).abs() > 1e-3) == defects


def test_import_and_evaluate(numbers, tmp_path):
    """A published score is in judges' units. Video 0 is as long as its sound."""
    streams = {"video": [numbers["video"][0].reshape(9, 144)] * 2, "audio": [numbers["audio"][0]] * 2}
    store = golden_store(tmp_path / "golden.h5", streams, {"total": [5.0, 8.0]})
    words = ("--backbone", "video", "--audio", "audio")
    predicted = evaluated(tmp_path, tensors(numbers, "weight/"), "skating-mixer", store, *words)
    np.testing.assert_allclose(predicted, [numbers["eval/output"][0]] * 2, atol=1e-5)


def test_backwards():
    values = torch.arange(10.0).view(2, 5, 1)
    assert backwards(values, torch.tensor([5, 3]))[..., 0].tolist() == [[4, 3, 2, 1, 0], [7, 6, 5, 8, 9]]


@pytest.mark.parametrize("tokens, published", [(15, 4_867_829), (1, 4_862_761)])
def test_the_published_number_of_parameters(tokens, published):
    """The published network has a norm that nothing reads: 2 x 512."""
    head = SkatingMixer(768 * tokens, SkatingMixerSettings(tokens=tokens), audio_dim=768)
    assert sum(parameter.numel() for parameter in head.parameters()) == published - 1024


def test_pictures_alone_learn():
    torch.manual_seed(0)
    head = SkatingMixer(12, SkatingMixerSettings(width=8, audio=False)).train()
    batch = batch_of(np.random.default_rng(0).normal(size=(3, 5, 12)), [0.1, 0.5, 0.9])
    total_loss(head(batch), batch.target01, TrainSettings())[0].backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())
