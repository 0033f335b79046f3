"""Boundaries of stages: every step against plain numpy, and found again in planted data."""

from itertools import combinations

import numpy as np
import pytest
import torch

from longtake.train.heads.base import Batch, SecondStream
from longtake.train.heads.blocks.segmentation import (
    Grid,
    Segmentation,
    frame_grid,
    most_confident,
    to_clips,
    to_frames,
)
from longtake.train.metrics import aiou, boundary_iou

RNG = np.random.default_rng(4)


def tensor(values):
    return torch.tensor(np.asarray(values), dtype=torch.float32)


def mask_of(lengths):
    return torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]


def seconds_of(mask, length, stride, start=0.0):
    """Start and end of clips or frames, `(batch, n, 2)`; zero in the padding."""
    begin = start + stride * np.arange(mask.shape[1])[None].repeat(len(mask), 0)
    return tensor(np.stack([begin, begin + length], -1)) * mask[..., None]


def grid_of(lengths, rate=10.0, start=0.0):
    mask = mask_of(lengths)
    return Grid(mask, seconds_of(mask, 1 / rate, 1 / rate, start))


def test_clips_at_the_times_of_frames():
    mask, grid = mask_of([9, 4]), grid_of([96, 40], 25.0)
    seconds = seconds_of(mask, 16 / 25, 10 / 25)
    clips = tensor(RNG.normal(size=(2, 9, 3))) * mask[..., None]
    found = to_frames(clips, mask, seconds, grid).numpy()
    for row, (num_clips, num_frames) in enumerate(((9, 96), (4, 40))):
        middles = np.arange(num_clips) * 10 / 25 + 8 / 25
        at = (np.arange(num_frames) + 0.5) / 25
        for column in range(3):
            expected = np.interp(at, middles, clips[row, :num_clips, column].numpy())
            np.testing.assert_allclose(found[row, :num_frames, column], expected, atol=1e-5)
        assert not found[row, num_frames:].any()


def test_frames_pooled_into_clips():
    """By the frames' middles; a clip between two frames takes the nearest."""
    grid = grid_of([8, 3], 1.0)
    frames = tensor(RNG.normal(size=(2, 8, 2))) * grid.mask[..., None]
    seconds = tensor([[[0, 4], [4, 8], [2.6, 3.4]], [[0, 2], [2, 3], [0, 0]]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    found = to_clips(frames, grid, mask, seconds).numpy()
    expected = [[frames[0, :4].mean(0), frames[0, 4:].mean(0), frames[0, 2]], [frames[1, :2].mean(0), frames[1, 2]]]
    for row, clips in enumerate(expected):
        for place, values in enumerate(clips):
            np.testing.assert_allclose(found[row, place], values, atol=1e-6)
    assert not found[1, 2].any()


def test_the_grid_without_frames():
    mask = mask_of([3, 2])
    batch = Batch(torch.zeros(2, 3, 1), mask, torch.zeros(2), (0, 1), seconds=seconds_of(mask, 2, 1, start=5))
    grid = frame_grid(batch, 4)
    assert grid.mask.all() and grid.seconds[0].tolist() == [[5, 6], [6, 7], [7, 8], [8, 9]]
    assert grid.seconds[1, 0].tolist() == [5, 5.75] and grid.seconds[1, -1, 1] == 8
    frames = SecondStream(torch.zeros(2, 7, 1), mask_of([7, 5]), torch.zeros(2, 7, 2))
    own = frame_grid(Batch(batch.clips, mask, batch.target01, (0, 1), seconds=batch.seconds, second_stream=frames), 4)
    assert own.mask.shape == (2, 7) and own.mask.sum() == 12


@pytest.mark.parametrize("num_boundaries, lengths", [(1, [6, 3]), (2, [7, 3]), (3, [8, 5])])
def test_the_most_confident_frames_in_order(num_boundaries, lengths):
    """Against every ordered choice that leaves each stage a frame."""
    for _ in range(20):
        logits = RNG.normal(size=(2, max(lengths), num_boundaries))
        found = most_confident(tensor(logits), mask_of(lengths))
        for row, length in enumerate(lengths):
            choices = list(combinations(range(1, length), num_boundaries))
            sums = [sum(logits[row, frame, number] for number, frame in enumerate(choice)) for choice in choices]
            assert tuple(found[row].tolist()) == choices[int(np.argmax(sums))]


def test_a_video_with_fewer_frames_than_stages_is_survived():
    grid = grid_of([5, 1])
    index = most_confident(torch.zeros(2, 5, 2), grid.mask)
    means = grid.stage_means(index)
    assert torch.isfinite(means).all() and index[1].max() == 0


def test_equation_4():
    grid = grid_of([8, 6, 8], 2.0)
    logits = RNG.normal(size=(3, 8, 2))
    boundaries = np.array([[1.0, 2.2], [0.9, 9.0], [np.nan, np.nan]])  # one is outside its video, two are unknown
    labels = {(0, 0): 2, (0, 1): 4, (1, 0): 2}  # (video, boundary) -> the first frame whose middle is not before it
    total = 0.0
    for (row, number), frame in labels.items():
        for t in range((8, 6, 8)[row]):
            p_hat = 1 / (1 + np.exp(-logits[row, t, number]))
            p = float(t == frame)
            total -= p * np.log(p_hat) + (1 - p) * np.log(1 - p_hat)
    found = grid.boundary_loss(tensor(logits), tensor(boundaries))
    assert float(found) == pytest.approx(total / 2, abs=1e-5), "two videos have a boundary"
    assert float(grid.boundary_loss(tensor(logits), None)) == 0
    assert float(grid.boundary_loss(tensor(logits), tensor(boundaries * np.nan))) == 0


def test_stages_between_boundaries():
    grid = grid_of([8, 5], 2.0, start=10.0)
    boundaries = tensor([[11.0, 13.1], [11.2, np.nan]])
    index, known = grid.boundary_frames(boundaries)
    assert index[0].tolist() == [2, 6] and known.tolist() == [[True, True], [True, False]]
    np.testing.assert_allclose(grid.boundary_seconds(index)[0], [11.0, 13.0])
    frames = tensor(RNG.normal(size=(2, 8, 3))) * grid.mask[..., None]
    stages = grid.stage_means(torch.tensor([[2, 6], [1, 3]])) @ frames
    expected = [(frames[0, :2], frames[0, 2:6], frames[0, 6:]), (frames[1, :1], frames[1, 1:3], frames[1, 3:5])]
    for row, parts in enumerate(expected):
        for stage, part in enumerate(parts):
            np.testing.assert_allclose(stages[row, stage], part.mean(0), atol=1e-6)


def test_the_oracle():
    """True boundaries where a video has all of them, predicted ones elsewhere."""
    grid = grid_of([8, 8], 2.0)
    batch = Batch(torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool), torch.zeros(2), (0, 1),
                  seconds=seconds_of(mask_of([3, 3]), 2, 1))  # fmt: skip
    found = Segmentation(4, 8, 2, 0.1).eval()(batch, grid)
    index = grid.true_or_predicted(found, tensor([[1.0, 2.0], [1.0, np.nan]]))
    assert index[0].tolist() == [2, 4] and torch.equal(index[1], found.index[1])
    assert torch.equal(grid.true_or_predicted(found, None), found.index)


def test_equation_12():
    true = np.array([[2.0, 6.0], [2.0, 6.0], [2.0, 6.0], [np.nan, np.nan]])
    predicted = np.array([[2.0, 6.0], [3.0, 6.0], [7.0, 9.0], [1.0, 2.0]])
    ious = boundary_iou(true, predicted, np.full(4, 10.0))
    np.testing.assert_allclose(ious, [1, 0.75, 0, np.nan])
    assert aiou(ious, 0.5) == pytest.approx(2 / 3) and aiou(ious, 0.76) == pytest.approx(1 / 3)
    assert np.isnan(aiou(ious[3:], 0.5))
    np.testing.assert_allclose(boundary_iou(np.array([[2.0]]), np.array([[4.0]]), np.array([10.0])), [0.75])
    three = boundary_iou(np.array([[1.0, 2.0, 4.0]]), np.array([[1.0, 3.0, 4.0]]), np.array([5.0]))
    np.testing.assert_allclose(three, [(1 + 1) / (2 + 2)])


def test_padding_changes_no_boundary():
    torch.manual_seed(0)
    module = Segmentation(4, 8, 2, 0.1, vision_dim=3).eval()
    lengths, frames = [5, 3], [20, 11]
    mask = mask_of(lengths)
    clips = torch.randn(2, 5, 4) * mask[..., None]
    seconds = seconds_of(mask, 0.6, 0.4)
    grid, vision = grid_of(frames), torch.randn(2, 20, 3)
    batch = Batch(clips, mask, torch.zeros(2), (0, 1), seconds=seconds)
    with torch.no_grad():
        found = module(batch, grid, vision=vision)
        for row in range(2):
            cut, own = slice(lengths[row]), slice(frames[row])
            alone = Batch(clips[row : row + 1, cut], mask[row : row + 1, cut], torch.zeros(1), (0,),
                          seconds=seconds[row : row + 1, cut])  # fmt: skip
            single = module(
                alone,
                Grid(grid.mask[row : row + 1, own], grid.seconds[row : row + 1, own]),
                vision=vision[row : row + 1, own],
            )
            np.testing.assert_allclose(single.logits[0], found.logits[row, own], atol=1e-5)
            assert single.index[0].tolist() == found.index[row].tolist()
        assert not found.frames[1, 11:].any()
