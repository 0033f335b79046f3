"""Which models an experiment has, on which scale and with which window."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from longtake.features.store import open_store
from longtake.manifests.card import Protocol, find_card
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from tests.features.raw import as_version_1
from tests.train.planted import planted_store, write_random


@pytest.mark.parametrize("one_model_per, units", [(("category", "score"), ["A", "B"]), (("score",), [""])])
def test_the_protocol_says_what_shares_a_model(tmp_path, one_model_per, units):
    path = tmp_path / "noise.h5"
    write_random(path, videos=20, clips=6, dim=8, card=replace(find_card("demo"), protocol=Protocol(one_model_per)))
    with open_store(path) as store:
        assert [unit.category for unit in prepare(store, Options()).units] == units
        assert [unit.category for unit in prepare(store, Options(categories=("B",))).units] == ["B"]


@pytest.mark.parametrize("splits", [True, False])
def test_a_range_that_no_card_states_is_that_of_the_labels_that_teach(tmp_path, splits):
    """From 0 or from below, for each category by itself; where no split says which videos train, all may."""
    path = planted_store(tmp_path / "s.h5", num_train=8, num_test=4, categories=("A", "B"), splits=splits)
    labels = np.arange(24.0) + 1
    labels[[8, 9, 20, 21]], labels[15] = [90, -90, 80, -80], -3
    with h5py.File(as_version_1(path), "r+") as file:
        file["labels/scores"][...] = labels[:, None]
    with open_store(path) as store:
        scales = [unit.scale for unit in prepare(store, Options(head="ridge", folds=0 if splits else 2)).units]
    expected = [(0, 8), (-3, 20)] if splits else [(-90, 90), (-80, 80)]
    assert [(scale.minimum, scale.maximum, scale.stated) for scale in scales] == [(*one, False) for one in expected]


@pytest.mark.parametrize("clips, window", [(4, 4), (20, None), (0, None), (None, None)])
@pytest.mark.parametrize("asked", [0, 3, 99])
def test_the_window_is_the_cards_and_no_longer_than_the_longest_video(tmp_path, clips, window, asked):
    """Without a card's, it is the longest video of the category; what is asked for is taken as it is."""
    card = None if clips is None else replace(find_card("demo"), window_clips=clips)
    path = tmp_path / "s.h5"
    write_random(path, videos=20, clips=6, dim=4, card=card, more_clips_of_b=5)
    with open_store(path) as store:
        units = prepare(store, Options(head="i3d-mlp", overrides=(("window", asked),))).units
    assert [unit.window for unit in units] == [asked or window or longest for longest in (6, 11)]
