"""The head `sgn`, of which no numbers are published: its parts against plain formulas."""

import numpy as np
import pytest
import torch

from longtake.train.heads.sgn import SGN, SGNSettings, fitting_scores, pooled_rows
from tests.train.heads.kit import AUDIO_DIM, DIM, check_that_padding_changes_nothing, make_batch, pad_to, ready

SMALL = {"width": 16, "heads": 2, "queries": 3, "dropout": 0.0}


def test_rows_are_pooled_over_each_videos_own_tokens():
    maps = torch.rand(2, 2, 7, 4)
    there = torch.arange(7)[None] < torch.tensor([7, 4])[:, None]
    found = pooled_rows(maps, there, 3)
    for row, count in enumerate((7, 4)):
        expected = torch.nn.functional.adaptive_max_pool1d(maps[row, :, :count].transpose(1, 2).flatten(0, 1), 3)
        torch.testing.assert_close(found[row], expected.unflatten(0, (2, 4)).transpose(1, 2))
    assert torch.isfinite(pooled_rows(maps, there, 9)).all(), "fewer tokens than queries"


def test_the_score_whose_distances_fit():
    known = torch.tensor([0.2, 0.9, 0.5])
    assert fitting_scores(known, (known - 0.613).abs(), torch.ones(1, 3) / 3)[0] == pytest.approx(0.613, abs=1e-6)


@pytest.mark.parametrize("score", ["direct", "difference"])
def test_both_ways_of_scoring_learn_and_do_not_see_padding(score):
    torch.manual_seed(0)
    head = SGN(DIM, SGNSettings(**SMALL, score=score), audio_dim=AUDIO_DIM)
    check_that_padding_changes_nothing(ready(head))
    batch = make_batch([9, 7, 5, 8])
    output = head.train()(batch)
    loss = sum(output.losses.values())
    if score == "direct":
        loss = loss + torch.nn.functional.mse_loss(output.score01, batch.target01)
    loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())
    assert set(output.losses) == {"teacher", "attention", "contrast", "consistency"} | (
        {"comparison"} if score == "difference" else set()
    )


def test_losses_do_not_see_padding():
    head = ready(SGN(DIM, SGNSettings(**SMALL), audio_dim=AUDIO_DIM)).train()
    batch = make_batch([6, 9, 4])
    losses, padded = head(batch).losses, head(pad_to(batch, 15)).losses
    for name, loss in losses.items():
        torch.testing.assert_close(padded[name], loss, msg=name)


def test_a_tested_video_is_scored_without_its_sound():
    head = ready(SGN(DIM, SGNSettings(**SMALL), audio_dim=AUDIO_DIM))
    batch = make_batch([6, 9, 4])
    scores = head(batch).score01
    batch.audio.zero_()
    assert torch.equal(head(batch).score01, scores)
    np.testing.assert_array_less(0, scores.detach())
