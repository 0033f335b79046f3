"""The table of clips: indexing, means, joining."""

import numpy as np
import torch

from longtake.features.types import FeatureHeader
from longtake.train.data.clip_table import ClipTable, join_tables

COUNTS = [3, 1, 2]


def table(start=0.0):
    """Clip c of all has the value c; clips of two seconds, one a second, from `start` in each video."""
    header = FeatureHeader("counted", "video", 1, "none", None, False, 16, 16, "pad", None)
    begins = np.concatenate([start + np.arange(count) for count in COUNTS])
    offsets = np.concatenate([[0], np.cumsum(COUNTS)])
    return ClipTable(header, torch.arange(6.0)[:, None], offsets, np.stack([begins, begins + 2], 1))


def test_videos_in_another_order():
    found = table().take([2, 0])
    assert found.features[:, 0].tolist() == [4, 5, 0, 1, 2] and found.num_clips.tolist() == [2, 3]
    assert found.spans.tolist() == [[0, 3], [0, 4]] and found.longest_seconds == 2


def test_means():
    found = table(5.0).means()
    assert found.features[:, 0].tolist() == [1, 3, 4.5] and found.num_clips.tolist() == [1, 1, 1]
    np.testing.assert_array_equal(found.seconds, table(5.0).spans)


def test_gathered_clips_are_zero_where_there_is_none():
    mask = torch.tensor([[True, False], [True, True]])
    assert table().gather(np.array([[3, 4], [1, 5]]), mask)[..., 0].tolist() == [[3, 0], [1, 5]]


def test_joined_tables():
    found = join_tables([table(), table(7.0).take([1])])
    assert found.features[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 3] and found.num_clips.tolist() == [3, 1, 2, 1]
    assert found.spans[-1].tolist() == [7, 9] and found.fits(4) and not found.fits(3)


def test_arrays_that_do_not_belong_together():
    whole = table()
    for offsets, features, seconds in (
        (np.array([0, 3, 3, 6]), whole.features, whole.seconds),
        (whole.offsets, whole.features[:5], whole.seconds),
        (whole.offsets, whole.features, whole.seconds[:5]),
        (whole.offsets + 1, whole.features, whole.seconds),
    ):
        assert not ClipTable(whole.header, features, offsets, seconds).fits(3)
    assert whole.fits(3)
