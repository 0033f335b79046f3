import math

import pytest

from longtake.train.errors import DataError
from tests.train.pages.samples import NUM_CLIPS, routine, score


def test_times_or_their_number():
    assert routine().num_clips == routine(times=False).num_clips == NUM_CLIPS
    assert routine().times[1] == (1.0, 2.0) and routine(times=False).times == ()


@pytest.mark.parametrize("clips", [[(0.0, 1.0)] * 3, [(0.0, math.nan)] * NUM_CLIPS, [(2.0, 1.0)] * NUM_CLIPS])
def test_clips_that_do_not_fit(clips):
    with pytest.raises(DataError, match="Anna"):
        routine(clips=clips, pictures=())


def test_attention_and_pictures_that_do_not_fit():
    with pytest.raises(DataError, match="attention over"):
        score(shares=(1.0,))
    with pytest.raises(DataError, match="a picture of a clip"):
        routine(clips=5, scores=[score(shares=(), by_grade=())])
