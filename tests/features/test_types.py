"""Types validate what they are made of, and headers from files are checked."""

import json
from dataclasses import replace

import numpy as np
import pytest

from longtake.errors import LongtakeError
from longtake.features.errors import InvalidFeatures, NotInStore
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord
from tests.features.fakes import header, labels, text_features


def test_the_recipe_id_is_pinned():
    """If this changes, every store in the world becomes another recipe."""
    assert header().recipe_id == FeatureHeader.from_json(header().to_json()).recipe_id == "991fa9a1acbf8174"


@pytest.mark.parametrize(
    "change",
    [{"weights": "v"}, {"weights_sha256": "cd"}, {"weights_random": True}, {"clip_length": 8}, {"clip_stride": 8},
     {"tail": "drop"}, {"fps": 25.0}, {"preprocessing": {"short_side": 256}}, {"decoder": "x"}, {"precision": "bfloat16"},
     {"origin": "imported: gdlt"}],
)  # fmt: skip
def test_every_field_decides_the_recipe(change):
    other = header(**change)
    assert other.recipe_id != header().recipe_id
    assert set(header().differences(other)) == set(change)


@pytest.mark.parametrize(
    "make",
    [
        lambda: VideoFeatures(VideoRecord("a"), np.zeros((2, 3), int), np.zeros(2), np.ones(2)),
        lambda: VideoFeatures(VideoRecord("a"), np.zeros((2, 3)), np.zeros(3), np.ones(2)),
        lambda: VideoFeatures(VideoRecord("a"), np.full((1, 3), np.nan), np.zeros(1), np.ones(1)),
        lambda: VideoFeatures(VideoRecord("a"), np.zeros((1, 3)), np.ones(1), np.ones(1)),
        lambda: VideoFeatures(VideoRecord("a"), np.zeros((0, 3)), np.zeros(0), np.zeros(0)),
        lambda: VideoRecord("../a"),
        lambda: VideoRecord("a", status="fine"),
        lambda: header(dim=0),
        lambda: FeatureHeader.from_json(json.dumps({"format_version": 99})),
        lambda: labels(["a", "a"]),
    ],
)
def test_what_breaks_the_contract_cannot_be_made(make):
    with pytest.raises((InvalidFeatures, LongtakeError)):
        make()


def test_faults_of_a_header_are_named_together():
    values = {**header().to_dict(), "dim": True, "clip_length": 1.5, "weigths": "w"}
    del values["weights"]
    with pytest.raises(InvalidFeatures) as caught:
        FeatureHeader.from_json(json.dumps(values), "the recipe of s.h5")
    assert str(caught.value).splitlines() == [
        "the recipe of s.h5 is not valid:",
        "  unknown entry 'weigths'; did you mean weights?",
        "  dim must be a whole number, got True",
        "  weights is missing",
        "  clip_length must be a whole number, got 1.5",
    ]
    with pytest.raises(InvalidFeatures, match="the recipe is damaged"):
        FeatureHeader.from_json("{")


def test_a_whole_rate_stays_whole():
    """25 and 25.0 have different recipe ids, so reading must not change the type."""
    for fps in (25, 25.0):
        assert FeatureHeader.from_json(header(fps=fps).to_json()).recipe_id == header(fps=fps).recipe_id
    assert header(fps=25).recipe_id != header(fps=25.0).recipe_id


@pytest.mark.parametrize(
    "name, span, is_same",
    [
        ("a.mp4", (None, 2.0), True),
        ("", (None, 2.0), True),
        ("b.mp4", (None, 2.0), False),
        ("a.mp4", (1.0, 2.0), False),
    ],
)
def test_the_same_source_is_the_same_seconds_of_the_same_file(name, span, is_same):
    record = VideoRecord("a", source_name="a.mp4", span_end_seconds=2.0)
    assert record.span == (None, 2.0) and record.same_source(span, name) == is_same


def test_texts_by_group():
    text = text_features()
    assert text.group("h").tolist() == [[1.0, 1.0]]
    with pytest.raises(NotInStore, match="no group 'x'; it has g, h"):
        text.group("x")
    with pytest.raises(InvalidFeatures, match="2 texts of 2 values expected"):
        replace(text, features=np.ones((3, 2), np.float32))


def test_a_rate_that_is_written_otherwise_is_named():
    assert set(header(fps=25).differences(header(fps=25.0))) == {"fps"}


def test_times_of_imported_clips_are_known_with_their_whole_rule():
    known = FeatureHeader("b", "video", 4, "w", None, False, 16, 8, "drop", 25.0, origin="imported: tree")
    assert known.times_known
    assert not any(replace(known, **{name: None}).times_known for name in ("clip_length", "clip_stride", "fps"))
    assert replace(known, fps=None, origin="extracted").times_known, "every frame of the file"


@pytest.mark.parametrize("place", ["start_seconds", "end_seconds"])
def test_clips_without_a_time_are_refused(place):
    times = {"start_seconds": np.arange(2.0), "end_seconds": np.arange(2.0) + 1, place: np.array([0.5, np.nan])}
    with pytest.raises(InvalidFeatures, match="a: a clip without a time"):
        VideoFeatures(VideoRecord("a"), np.zeros((2, 3), np.float32), **times)
