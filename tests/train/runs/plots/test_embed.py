"""Clips and queries in two dimensions."""

import numpy as np
import pytest

from longtake.features.store import open_store
from longtake.train.runs.asked_clips import asked_clips
from longtake.train.runs.evaluate import load_run
from longtake.train.runs.plots import embed


def test_components_have_the_sign_of_their_largest_part():
    values = np.random.default_rng(0).normal(size=(9, 4))
    points, axes = embed.reduce(values, "pca")
    assert np.allclose(points, -embed.reduce(-values, "pca")[0]) and "PCA" in axes
    assert embed.reduce(np.ones((3, 4)), "pca")[1].startswith("PCA, 0%")


@pytest.mark.parametrize("count, perplexity", [(4, 1), (31, 10), (200, 30)])
def test_the_perplexity_is_bounded_by_the_number_of_points(count, perplexity):
    pytest.importorskip("sklearn")
    values = np.random.default_rng(0).normal(size=(count, 5))
    points, axes = embed.reduce(values, "tsne")
    assert axes == f"t-SNE, perplexity {perplexity}" and points.shape == (count, 2)
    assert np.array_equal(points, embed.reduce(values, "tsne")[0])


def test_clusters_are_those_of_the_clips_and_empty_ones_are_left_out():
    centres, clusters = embed._clusters(np.array([[0.0, 0], [9, 0], [0.2, 0], [9.2, 0]]), 2)
    assert sorted(centres[:, 0]) == pytest.approx([0.1, 9.1]) and clusters[0] == clusters[2] != clusters[1]
    centres, clusters = embed._clusters(np.ones((5, 3)), 4)
    assert len(centres) == 1 and set(clusters) == {0}


def test_clips_and_queries_of_a_run(small_lab):
    with open_store(small_lab / "s.h5") as store:
        head, config, maker = next(iter(load_run(small_lab / "gslm", store)))
    videos = maker.data.video_ids[-7:]
    before, after = embed.spaces(head, config, maker, videos, "pca")
    asked = asked_clips(head, config, maker, videos)
    assert len(before.clips) == len(after.clips) == len(before.clusters) == len(asked.clips)
    assert list(before.queries) == ["learnable vectors", "position embeddings"]
    assert list(after.queries) == ["learnable vectors"] and after.queries["learnable vectors"].shape == (4, 2)
    assert before.title == "before training" and f"\n{len(asked.clips)} clips" in before.axes
    assert not np.allclose(before.clips, after.clips)


def test_of_many_clips_some_are_drawn_and_the_figure_says_so(small_lab, monkeypatch):
    monkeypatch.setattr(embed, "MOST_CLIPS", 5)
    with open_store(small_lab / "s.h5") as store:
        head, config, maker = next(iter(load_run(small_lab / "gslm", store)))
    before, _ = embed.spaces(head, config, maker, maker.data.video_ids[-7:], "pca")
    assert len(before.clips) == 5 and "5 of " in before.axes
