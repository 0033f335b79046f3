"""`train figure` and `Run.plot`: every kind, and what is refused."""

import json
import shutil
import sys

import pytest

from longtake.train.cli import main
from longtake.train.errors import LongtakeError, SettingsError
from longtake.train.runs.plots.plot import KINDS, plot
from longtake.train.runs.records import CONFIG, METRICS
from tests.calls import invoke


def titles(figure):
    return [axes.get_title() or axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]


def marks(figure):
    return figure.get_suptitle()


def test_scatter_has_a_panel_for_each_category_and_the_figures_of_the_table(small_lab):
    figure = plot([small_lab / "gslm"])
    assert titles(figure) == ["A total", "B total"] and marks(figure) == "RANDOM backbone or text weights"
    row = json.loads((small_lab / "gslm" / METRICS).read_text())["table"][0]
    assert f"ρ {row['spearman']:.3f}" in figure.axes[0].texts[0].get_text()
    assert "n=7: few" in figure.axes[0].texts[0].get_text()
    assert titles(plot([small_lab / "gslm", small_lab / "ridge"], category="B")) == ["gslm", "ridge"]


def test_curves(small_lab):
    figure = plot([small_lab / "gslm"], "curves", category="A")
    assert titles(figure) == ["A total"] * 2 and [axes.get_ylabel() for axes in figure.axes] == ["loss", "test ρ"]
    with pytest.raises(LongtakeError, match="no learning curves"):
        plot([small_lab / "ridge"], "curves")


def test_attention_of_the_best_and_the_worst_or_of_chosen_videos(small_lab):
    shown = titles(plot([small_lab / "gslm"], "attention", store=small_lab / "s.h5", category="A"))
    assert len(shown) == 3 and all(title.startswith("A_0") for title in shown[:2])  # The last is the scale.
    assert titles(plot([small_lab / "gslm"], "attention", store=small_lab / "s.h5", videos="A_013"))[0].startswith(
        "A_013: judges "
    )
    for choices, why in (
        ({}, "name their store with --features"),
        ({"store": small_lab / "s.h5", "videos": ["A_99"]}, "no test video A_99"),
    ):
        with pytest.raises(LongtakeError, match=why):
            plot([small_lab / "gslm"], "attention", **choices)
    with pytest.raises(LongtakeError, match="no attention"):
        plot([small_lab / "ridge"], "attention", store=small_lab / "s.h5")


def test_embedding_of_clips_and_queries_before_and_after_training(small_lab):
    figure = plot([small_lab / "gslm"], "embedding", store=small_lab / "s.h5", method="pca", columns=2)
    when = ("before training", "after training")
    assert titles(figure) == [f"{key} total, {one}" for key in "AB" for one in when]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[-3:] == ["centres of clusters", "learnable vectors", "position embeddings"]
    assert names[0] == "clips, cluster 1" and figure.axes[0].get_xlabel().startswith("PCA")
    with pytest.raises(LongtakeError, match="ridge has no queries that ask clips"):
        plot([small_lab / "ridge"], "embedding", store=small_lab / "s.h5")


def test_embedding_of_patterns(small_lab):
    choices = {"store": small_lab / "s.h5", "method": "pca", "points": "patterns"}
    figure = plot([small_lab / "gslm"], "embedding", **choices)
    assert titles(figure) == ["A total", "B total"] and figure.axes[0].get_xlabel().startswith("PCA")
    with pytest.raises(LongtakeError, match="no patterns"):
        plot([small_lab / "ridge"], "embedding", **choices)


def test_embedding_without_scikit_learn(small_lab, monkeypatch):
    for name in ("sklearn", "sklearn.manifold"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(LongtakeError, match=r"longtake\[figures\].*--method pca"):
        plot([small_lab / "gslm"], "embedding", store=small_lab / "s.h5")


def test_leaderboard_of_runs(small_lab):
    (axes,) = plot([small_lab / "gslm", small_lab / "ridge"], "leaderboard", metric="mse").axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert {name.partition(" ")[0] for name in names} == {
        "gslm",
        "ridge",
    } and axes.get_xlabel() == "mean squared error, average"
    values = [line.get_xdata()[0] for line in axes.get_lines() if len(line.get_xdata()) == 1]
    assert values == sorted(values)


def test_simulated_videos_are_marked(small_lab, tmp_path):
    made = shutil.copytree(small_lab / "ridge", tmp_path / "run")
    for name in (CONFIG, METRICS):
        (made / name).write_text((made / name).read_text().replace('"dataset": "planted"', '"dataset": "demo"'))
    assert "SIMULATED videos" in marks(plot([made]))


@pytest.mark.parametrize("ending", ["pdf", "svg", "png"])
def test_the_command_writes_the_same_bytes(small_lab, tmp_path, ending):
    for name in ("a", "b"):
        call = ("figure", small_lab / "gslm", "--out", tmp_path / f"{name}.{ending}", "--json")
        assert json.loads(invoke(main, *call).output) == {"out": str(tmp_path / f"{name}.{ending}"), "kind": "scatter"}
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


@pytest.mark.parametrize(
    "words, why",
    [
        (("--kind", "pie"), "pie"),
        (("--video", "A_013"), "--video is for figures of attention, and this one is scatter"),
        (("--method", "pca"), "--method is for figures of embedding"),
        (("--kind", "embedding", "--method", "umap"), "method takes one of tsne, pca"),
        (("--kind", "embedding", "--points", "queries"), "points takes one of clips, patterns"),
        (("--points", "clips"), "--points is for figures of embedding"),
        (("--category", "C"), "no predictions of C"),
        (("--columns", 3), "3"),
    ],
)
def test_mistakes_of_the_call_get_one_message(small_lab, tmp_path, words, why):
    said = invoke(main, "figure", small_lab / "gslm", "--out", tmp_path / "f.pdf", *words, status=2).output
    assert why in said and not list(tmp_path.iterdir())


def test_what_is_no_run_and_what_is_no_figure(small_lab, tmp_path):
    assert "not a finished run" in invoke(main, "figure", tmp_path, "--out", tmp_path / "f.pdf", status=2).output
    assert "has no ending" in invoke(main, "figure", small_lab / "gslm", "--out", tmp_path / "f", status=2).output
    empty = shutil.copytree(small_lab / "ridge", tmp_path / "run")
    (empty / "predictions.csv").write_text((empty / "predictions.csv").read_text().splitlines()[0] + "\n")
    assert "no predictions" in invoke(main, "figure", empty, "--out", tmp_path / "f.pdf", status=2).output
    with pytest.raises(SettingsError, match="no choice colour"):
        plot([small_lab / "gslm"], colour="red")
    with pytest.raises(SettingsError, match="of one run, got 2"):
        plot([small_lab / "gslm"] * 2, "attention")
    assert KINDS == ("scatter", "attention", "curves", "embedding", "leaderboard")
