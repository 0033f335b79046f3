"""The head `element-kernel`, on planted elements."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from longtake.train.errors import DataError, SettingsError
from longtake.train.heads.base import Batch
from longtake.train.heads.element_kernel import ElementKernel, ElementKernelSettings
from longtake.train.heads.kernel import Kernel, KernelSettings

SETTINGS = ElementKernelSettings(
    landmarks=300,
    elements="element1,element2",
    element_clips="4,8",
    gap_clips=3,
    look_at="1",
    look_weight=20,
    sharpness=0.5,
)


def batch_of(count: int, seed: int) -> Batch:
    """Performances of two elements, kind 1 and kind 2 in either order. The quality shows in the clips of kind 1 alone: as much noise is in
    those of kind 2."""
    rng = np.random.default_rng(seed)
    clips, orders, quality = [], [], rng.normal(size=count)
    for value in quality:
        order = [1, 2] if rng.random() < 0.5 else [2, 1]
        lengths = [(0, 3), (order[0], 4 * order[0]), (0, 3), (order[1], 4 * order[1]), (0, 3)]
        kinds = np.concatenate([np.full(length, kind) for kind, length in lengths])
        video = np.eye(3, 6)[kinds] * 4 + rng.normal(size=(len(kinds), 6))
        video[kinds == 1, 4] += 2 * value
        video[kinds == 2, 4] += 2 * rng.normal()
        clips.append(video)
        orders.append(order)
    mask = torch.ones(count, len(clips[0]), dtype=torch.bool)
    return Batch(
        torch.tensor(np.array(clips), dtype=torch.float32), mask, torch.tensor(quality, dtype=torch.float32), tuple(range(count)),
        scores=torch.tensor(orders, dtype=torch.float32),
    )  # fmt: skip


TRAIN, TEST = batch_of(60, 0), batch_of(60, 1)


def error(head: Kernel, train: Batch = TRAIN) -> float:
    head.fit_closed_form([train])
    return float((head(replace(TEST, scores=None)).score01 - TEST.target01).square().mean())


def test_it_looks_at_the_element_that_shows_quality():
    """Videos that are scored have no labels, and it is better than `kernel`, which is better than looking at the other element."""
    alone = error(Kernel(6, KernelSettings(landmarks=300)), replace(TRAIN, scores=None))
    assert error(ElementKernel(6, SETTINGS)) < 0.6 * alone
    assert error(ElementKernel(6, replace(SETTINGS, look_at="2"))) > alone


def test_without_elements_it_is_kernel():
    plain = Kernel(6, KernelSettings(landmarks=300))
    same = ElementKernel(6, ElementKernelSettings(landmarks=300))
    for head in (plain, same):
        head.fit_closed_form([replace(TRAIN, scores=None)])
    assert torch.equal(plain(TEST).score01, same(TEST).score01)


def test_padding_changes_nothing_and_a_saved_head_is_the_same():
    head, again = ElementKernel(6, SETTINGS), ElementKernel(6, SETTINGS)
    head.fit_closed_form([TRAIN])
    again.load_state_dict(head.state_dict())
    padded = replace(
        TEST, clips=torch.nn.functional.pad(TEST.clips, (0, 0, 0, 5)), mask=torch.nn.functional.pad(TEST.mask, (0, 5))
    )
    assert torch.equal(head(TEST).score01, again(TEST).score01)
    torch.testing.assert_close(head(padded).score01, head(TEST).score01)


@pytest.mark.parametrize("wrong", [0, 3, 1.5, float("nan")])
def test_kinds_that_have_no_length_are_refused(wrong):
    scores = TRAIN.scores.clone()
    scores[5, 1] = wrong
    with pytest.raises(DataError, match="'element2' holds kinds of elements, whole numbers from 1 to 2"):
        ElementKernel(6, SETTINGS).fit_closed_form([replace(TRAIN, scores=scores)])


def test_elements_longer_than_all_videos_are_refused():
    with pytest.raises(DataError, match="no training video has the 223 clips that its elements take at least"):
        ElementKernel(6, replace(SETTINGS, element_clips="200,200")).fit_closed_form([TRAIN])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("element_clips", ""),
        ("element_clips", "3,x"),
        ("element_clips", "3,0"),
        ("look_at", ""),
        ("look_at", "3"),
        ("look_at", "1,1"),
        ("sharpness", 0.0),
    ],
)
def test_settings_that_name_no_elements_are_refused(name, value):
    with pytest.raises(SettingsError, match=name):
        replace(SETTINGS, **{name: value})
