"""The head `m-bert`, against the published module's numbers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from longtake.train.errors import DataError
from longtake.train.heads.blocks.factored import rotations
from longtake.train.heads.mbert import MBERT, MBERTSettings
from tests.train.heads.goldens import batch_of, check_gradients, numbers_of, tensors

SMALL = {"width": 24, "heads": 4, "layers": 2, "feed_forward": 48, "orthogonal": 6, "dropout": 0.0}


@pytest.fixture
def published(shared):
    numbers = numbers_of(shared, "mbert_late")
    state = MBERT.from_published(tensors(numbers, "weight/"))
    head = MBERT(40, MBERTSettings(**{**SMALL, **MBERT.settings_in(state)}), audio_dim=30)
    missing, unexpected = head.load_state_dict(state, strict=False)
    assert set(missing) == {"score.weight", "score.bias"} and not unexpected
    return numbers, head


def test_sizes_are_read_from_weights(published):
    s = published[1].settings
    assert (s.width, s.positions, s.feed_forward, s.orthogonal, s.fusion) == (24, 12, 48, 6, "late")


def test_published_outputs_loss_and_gradients(published):
    numbers, head = published
    clips, audio = (torch.from_numpy(numbers[name]) for name in ("video", "audio"))
    found = head.train().encode(clips, audio, torch.ones(3, 9, dtype=torch.bool))
    loss = torch.zeros(())
    for name, one in zip(("video", "audio"), found):
        np.testing.assert_allclose(one.detach(), numbers[f"eval/{name}"], atol=1e-5)
        loss = loss + F.mse_loss(one, torch.from_numpy(numbers[f"target_{name}"]))
    assert float(loss.detach()) == pytest.approx(float(numbers["train/loss"]), abs=1e-5)
    loss.backward()
    norms = tensors(numbers, "grad_norm/")
    summaries = norms.pop("summary_encoding.bos_embeddings.weight")
    own = [head.embeddings[index].summary for index in range(2)]
    assert float(torch.stack([one.grad for one in own]).norm()) == pytest.approx(float(summaries), rel=1e-3)
    head.score = None
    for index, one in enumerate(own):
        norms[f"embeddings.{index}.summary"] = one.grad.norm()
    check_gradients(head, head.from_published(norms))


def test_published_rotations(published):
    numbers, head = published
    published_turns = tensors(numbers, "eval/rotation/")
    assert len(published_turns) == 12
    modules = dict(head.named_modules())
    for name, expected in published_turns.items():
        (ours,) = {one.rpartition(".")[0] for one in head.from_published({f"{name}.A": expected})}
        found = rotations([modules[ours]])[0].detach()
        np.testing.assert_allclose(found, expected, atol=1e-6)
        np.testing.assert_allclose(found @ found.T, np.eye(6), atol=1e-6)


@pytest.mark.parametrize("fusion, transformer", [("late", 2_860_800), ("mid", 3_843_840), ("early", 1_877_760)])
def test_the_published_number_of_parameters(fusion, transformer):
    head = MBERT(768, MBERTSettings(fusion=fusion, positions=22), audio_dim=768)
    assert sum(parameter.numel() for parameter in head.layer.parameters()) == transformer
    if fusion == "late":
        total = sum(parameter.numel() for parameter in head.parameters())
        assert round(total / 1e6, 2) == 4.08


@pytest.mark.parametrize("fusion", ["late", "mid", "early"])
@pytest.mark.parametrize("read", ["summary", "clips"])
def test_every_form_learns_and_does_not_see_padding(fusion, read):
    torch.manual_seed(0)
    head = MBERT(12, MBERTSettings(**SMALL, fusion=fusion, read=read, positions=9), audio_dim=10)
    rng = np.random.default_rng(0)
    clips, audio = rng.normal(size=(3, 6, 12)), torch.from_numpy(rng.normal(size=(3, 6, 10)).astype(np.float32))
    batch = batch_of(clips, [0.1, 0.5, 0.9], (6, 4, 5), audio=audio)
    scores = head(batch).score01
    F.mse_loss(scores, batch.target01).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())
    alone = batch_of(clips[1:2, :4], [0.5], audio=audio[1:2, :4])
    np.testing.assert_allclose(head(alone).score01.detach(), scores[1:2].detach(), atol=1e-6)


def test_a_video_longer_than_the_positions_is_refused():
    head = MBERT(12, MBERTSettings(**SMALL, positions=9), audio_dim=10)
    batch = batch_of(np.zeros((1, 9, 12)), [0.5], audio=torch.zeros(1, 9, 10))
    with pytest.raises(DataError, match="has 9 positions, and a video of 9 clips needs 10"):
        head(batch)
