"""What is drawn, from plain numbers."""

import numpy as np
import pytest
from matplotlib.image import imread

from longtake.train.runs.plots import draw
from longtake.train.runs.plots.style import paper_style, write_figure


def test_scatter_has_square_panels_with_equal_axes():
    true, predicted = np.array([1.0, 20.0]), np.array([5.0, 6.0])
    with paper_style():
        figure = draw.scatter([draw.Scatter(f"p{i}", "n=2", true, predicted) for i in range(3)], 1)
        figure.draw_without_rendering()
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == ["p0", "p1", "p2"]
    for axes in shown:
        box = axes.get_window_extent()
        assert abs(box.width - box.height) < 1
        assert axes.get_xlim() == axes.get_ylim() and list(axes.get_xticks()) == list(axes.get_yticks())
        assert axes.collections[0].get_offsets().tolist() == [[1, 5], [20, 6]]


@pytest.mark.parametrize("text", ["", "SIMULATED"])
@pytest.mark.parametrize("name", ["", "gslm (a long name of a run), ", "x" * 300])
def test_nothing_of_a_scatter_is_cut(tmp_path, text, name):
    points = {"total": ([1.1, 4.5, 6.55], [3.13, 3.84, 4.97]), "artistry": ([0.05, 1.0, 2.13], [0.7, 0.96, 1.42])}
    with paper_style():
        panels = [
            draw.Scatter(name + key, "rho 1.000\nn=3: few", *map(np.array, values)) for key, values in points.items()
        ]
        figure = draw.scatter(panels, 1)
        draw.mark(figure, text)
    write_figure(figure, tmp_path / "s.png", "")
    dark = np.argwhere(imread(tmp_path / "s.png")[..., :3].min(-1) < 0.8)
    height, width = imread(tmp_path / "s.png").shape[:2]
    assert dark.min() > 3 and (dark.max(0) < np.array([height, width]) - 4).all()


def test_the_long_titles_of_a_leaderboard_are_in_lines(tmp_path):
    rows = [draw.Standing("ridge", 0.5, 0.4, 0.6), draw.Standing("gdlt", 0.4, 0.3, 0.5)]
    title = "gym, own split: Ball total, 15 test videos: too few to rank methods"
    with paper_style():
        figure = draw.leaderboard({title: rows, f"other {title}": rows}, "rho", 1)
    write_figure(figure, tmp_path / "s.png", "")
    dark = np.argwhere(imread(tmp_path / "s.png")[..., :3].min(-1) < 0.8)
    assert dark.min() > 3 and dark[:, 1].max() < imread(tmp_path / "s.png").shape[1] - 4
    assert figure.axes[0].get_title().replace("\n", " ") == title


def test_scores_that_are_all_equal_can_be_drawn():
    with paper_style():
        draw.scatter([draw.Scatter("", "", np.ones(2), np.ones(2))], 1).draw_without_rendering()


def test_curves_show_each_model_and_their_mean():
    lines = {"gslm": [{1: 4.0, 2: 2.0}, {1: 6.0, 2: 4.0}], "gdlt": [{1: 1.0}]}
    figure = draw.curves({"Ball": {"loss": lines}}, 1)
    (axes,) = figure.axes
    assert [list(line.get_ydata()) for line in axes.get_lines()][2:] == [[5, 3], [1]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["gslm", "gdlt"]


def test_attention_has_a_strip_for_each_video():
    strips = [draw.Strip(name, np.arange(4.0), np.full((2, 3), 1 / 3), "seconds") for name in ("a", "b")]
    figure = draw.attention(strips, 1)
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["a", "b"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["1 worst", "2 best"]


def test_an_embedding_has_a_colour_and_a_shape_for_each_grade():
    cloud = draw.Cloud("", np.arange(8.0).reshape(4, 2), np.array([0, 0, 1, 1]), ("low", "high"), "t-SNE")
    figure = draw.embedding([cloud], 1)
    points, mean, *_ = figure.axes[0].collections
    assert points.get_offsets().tolist() == [[0, 1], [2, 3]] and mean.get_offsets().tolist() == [[1, 2]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["low", "high"]


def test_queries_are_numbered_from_the_worst_grade_to_the_best():
    points = np.arange(6.0).reshape(3, 2)
    space = draw.Space(
        "", points, np.array([0, 1, 1]), points[:2], {"grade texts": points, "others": points[:1]}, "t-SNE"
    )
    figure = draw.embedding([space], 1)
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "2", "3", "1"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "clips, cluster 1", "clips, cluster 2", "centres of clusters", "grade texts", "others",
    ]  # fmt: skip
    assert figure.axes[0].collections[1].get_offsets().tolist() == [[2, 3], [4, 5]]


def test_a_leaderboard_has_the_first_row_on_top_and_no_interval_where_there_is_none():
    rows = [draw.Standing("a", 0.8, 0.7, 0.9), draw.Standing("b", 0.5, np.nan, np.nan, "n=7: few")]
    (axes,) = draw.leaderboard({"": rows}, "rho", 1).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b (n=7: few)"]
    assert list(axes.get_yticks()) == [1, 0] and len(axes.get_lines()) == 3
