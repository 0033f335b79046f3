"""The head `gdlt`. Its outputs against the published code are in test_golden.py."""

import pytest
import torch

from longtake.train.errors import SettingsError
from longtake.train.heads.gdlt import GDLT, GDLTSettings
from tests.train.heads.kit import make_batch, make_head, pad_to


def test_its_size_is_that_of_the_published_network():
    assert sum(value.numel() for value in GDLT(1024, GDLTSettings()).parameters()) == 3_163_396


def test_the_score_is_the_expectation_over_grades():
    batch = make_batch([6, 9, 4])
    for grades in (2, 4):
        output = make_head("gdlt", grades=grades).eval()(batch)
        assert output.weights["grades"].shape == (3, grades) and output.patterns[0].shape == (3, grades, 16)
        torch.testing.assert_close(output.score01, output.weights["grades"] @ torch.linspace(0, 1, grades))


def test_without_a_mask_it_sees_padding():
    batch = make_batch([6, 9, 4])
    for mask in (True, False):
        head = make_head("gdlt", mask=mask).eval()
        assert head.batch_needs.sees_padding != mask
        assert torch.allclose(head(batch).score01, head(pad_to(batch, 15)).score01, atol=1e-6) == mask


def test_a_head_has_grades():
    with pytest.raises(SettingsError, match="grades must be above 0, got 0"):
        GDLTSettings(grades=0)
