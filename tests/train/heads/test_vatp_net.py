"""The head `vatp-net`, of which no numbers are published: what its terms ask for."""

from dataclasses import replace

import pytest
import torch

from longtake.train.errors import SettingsError
from longtake.train.heads.vatp_net import VATPNet, VATPSettings
from tests.train.heads.kit import DIM, PROTOTYPES, check_that_padding_changes_nothing, make_batch, ready

SMALL = {"width": 16, "heads": 2, "queries": 3, "feed_forward": 16, "dropout": 0.0}


@pytest.mark.parametrize("semantic", [True, False])
def test_it_learns_and_does_not_see_padding(semantic):
    torch.manual_seed(0)
    head = VATPNet(DIM, VATPSettings(**SMALL, semantic=semantic), PROTOTYPES)
    check_that_padding_changes_nothing(ready(head))
    batch = make_batch([9, 7, 5, 8])
    output = head.train()(batch)
    (sum(output.losses.values()) + output.score01.sum()).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())


def test_a_video_is_aligned_with_the_grade_nearest_to_its_score():
    torch.manual_seed(0)
    head = VATPNet(DIM, VATPSettings(**SMALL, align_weight=1.0), PROTOTYPES).train()
    batch = make_batch([6, 6])
    losses = [head(replace(batch, target01=torch.full((2,), score))).losses["alignment"] for score in (0.0, 0.1, 1.0)]
    assert torch.equal(losses[0], losses[1]) and not torch.equal(losses[0], losses[2])


def test_settings_that_do_not_fit():
    with pytest.raises(SettingsError, match="heads must divide width"):
        VATPSettings(width=10, heads=4)
