"""Units of the layers of a head."""

import pytest
import torch

from longtake.train.heads.blocks.units import UnitSettings


@pytest.mark.parametrize("judges, expected", [(True, [0.0, 0.5, 1.0]), (False, [10.0, 20.0, 30.0])])
def test_to_the_scale_of_scores_and_back(judges, expected):
    units, scores = UnitSettings(judges, 10.0, 30.0), torch.tensor([10.0, 20.0, 30.0])
    assert units.to01(scores).tolist() == expected
    assert torch.equal(units.from01(units.to01(scores)), scores)
