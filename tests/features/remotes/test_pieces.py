from __future__ import annotations

import gzip

import numpy as np
import pytest

from longtake.features.errors import InvalidFeatures, NotAStore
from longtake.features.remotes import pieces
from longtake.features.remotes.pieces import (
    Piece,
    Ref,
    compressed,
    hash_of,
    json_bytes,
    null_for_nan,
    unpacked,
    video_bytes,
    video_clips,
    video_num_bytes,
)


@pytest.mark.parametrize("dtype", ["float32", "float16", ">f4"])
def test_a_video_is_the_same_after_the_way(dtype):
    features = np.arange(12).reshape(4, 3).astype(dtype)
    times = np.arange(4) / 3
    data = video_bytes((features, times, times + 0.1))
    plain = np.dtype(dtype).newbyteorder("=")
    assert len(data) == video_num_bytes(4, 3, plain)
    back = video_clips(data, 4, 3, plain)
    for one, other in zip(back, (features, times, times + 0.1)):
        np.testing.assert_array_equal(one, other)
    assert back[0].dtype == plain


def test_texts_are_bounded_and_compared():
    data = json_bytes({"a": [1.5, None, "é"]})
    ref = Ref(hash_of(data), len(data))
    assert unpacked(compressed(data), ref, "it") == data
    bomb = gzip.compress(bytes(1 << 24))
    for packed in (
        bomb,
        compressed(data[:-1]),
        compressed(data)[:-15],
        b"no gzip",
        compressed(data.replace(b"1", b"2")),
    ):
        with pytest.raises(NotAStore, match="damaged"):
            unpacked(packed, ref, "it")
    with pytest.raises(NotAStore, match="at most"):
        unpacked(bomb, Ref(ref.sha256, pieces.MOST_TEXT_BYTES + 1), "it")


def test_numbers_that_json_lacks():
    assert null_for_nan(np.array([[1.0, np.nan]])) == [[1.0, None]]
    assert null_for_nan(np.zeros((2, 0))) == [[], []]
    with pytest.raises(InvalidFeatures, match="cannot be shared"):
        json_bytes([float("inf")])


def test_names_of_files_are_hashes():
    for wrong in ("", "../" * 21 + "x", "A" * 64, "a" * 63):
        with pytest.raises(InvalidFeatures, match="not a SHA-256"):
            Ref(wrong, 1)
    with pytest.raises(InvalidFeatures):
        Piece("a" * 64, -1, "a" * 64)
    with pytest.raises(InvalidFeatures):
        Ref("a" * 64, -1)
