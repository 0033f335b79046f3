"""Windows and batches as numbers of clips and places of videos."""

import itertools

import numpy as np
import pytest

from longtake.train.data.windows import (
    CENTRE,
    CONTIGUOUS,
    SPREAD,
    TEST_WINDOWS,
    WHOLE,
    batches_by_length,
    clips_to_test,
    places_in_test,
    sample_clips,
    shuffled_batches,
)

COUNTS = np.array([3, 8, 5, 12, 1])


def taken(clips, mask):
    return [row[there].tolist() for row, there in zip(clips, mask)]


@pytest.mark.parametrize("sampling", [CONTIGUOUS, SPREAD])
def test_sampled_clips_are_inside_the_video_and_in_order(sampling):
    rng, seen = np.random.default_rng(0), [set() for _ in COUNTS]
    for _ in range(300):
        clips, mask = sample_clips(COUNTS, 5, rng, sampling)
        assert clips.shape == mask.shape == (5, 5) and mask.sum(1).tolist() == [3, 5, 5, 5, 1]
        for video, numbers in enumerate(taken(clips, mask)):
            assert (np.diff(numbers) >= 0).all() and 0 <= numbers[0] and numbers[-1] < COUNTS[video]
            seen[video] |= set(numbers)
            if sampling == CONTIGUOUS or COUNTS[video] <= 5:
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert seen == [set(range(count)) for count in COUNTS]


def test_clips_of_a_test():
    assert taken(*clips_to_test(COUNTS, 5, WHOLE)) == [list(range(count)) for count in COUNTS]
    centres = [[0, 1, 2], [1, 2, 3, 4, 5], [0, 1, 2, 3, 4], [3, 4, 5, 6, 7], [0]]
    assert taken(*clips_to_test(COUNTS, 5, CENTRE)) == centres
    spread = [[0, 1, 2], [0, 2, 4, 5, 7], [0, 1, 2, 3, 4], [1, 3, 6, 8, 10], [0]]
    assert taken(*clips_to_test(COUNTS, 5, SPREAD)) == spread


@pytest.mark.parametrize("test_window", TEST_WINDOWS)
def test_each_clip_has_the_place_that_shows_it(test_window):
    for count, window in itertools.product((*COUNTS.tolist(), 23), (1, 4, 5, 7, 11)):
        clips, mask = clips_to_test(np.array([count]), window, test_window)
        places = places_in_test(count, window, test_window)
        assert len(places) == count and places.max() < mask.sum()
        for place, clip in enumerate(clips[0][mask[0]]):
            assert places[clip] == place
    assert places_in_test(7, 3, SPREAD).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert places_in_test(7, 3, CENTRE).tolist() == [-1, -1, 0, 1, 2, -1, -1]


@pytest.mark.parametrize("videos, sizes", [(6, [3, 3]), (7, [3, 4]), (8, [3, 3, 2]), (1, [1])])
def test_batches_of_an_epoch(videos, sizes):
    found = shuffled_batches(videos, 3, np.random.default_rng(0))
    assert [len(places) for places in found] == sizes and sorted(np.concatenate(found).tolist()) == list(range(videos))


def test_batches_by_length():
    counts = np.array([5, 3, 5, 9, 3, 5])
    assert [places.tolist() for places in batches_by_length(counts, 2, False)] == [[1, 4], [0, 2], [5, 3]]
    assert [places.tolist() for places in batches_by_length(counts, 2, True)] == [[1, 4], [0, 2], [5], [3]]
