"""A bench's leaderboard.json as rows of a figure."""

import json

import pytest

from longtake.train.errors import DataError
from longtake.train.runs.board import BOARD
from longtake.train.runs.plots.board import board_rows


def row(name, value, marks=()):
    figure = {"spearman": {"value": value, "low": None, "high": None}}
    return {
        "name": name,
        "head": "ridge",
        "state": "done",
        "features": "vst",
        "figures": {"tes": figure, "average": figure} if value else {},
        "marks": marks,
        "more": 1,
    }


def board(folder, *rows):
    table = {
        "dataset": "fisv",
        "split": "random",
        "about": "own split",
        "labels": "l",
        "metrics": ["spearman"],
        "num_videos": 40,
        "note": "",
        "columns": ["tes", "average"],
        "rows": rows,
    }
    (folder / BOARD).write_text(json.dumps({"title": "", "tables": [table]}))
    return folder


def test_rows_in_their_order_with_their_marks(tmp_path):
    found, mark = board_rows(
        board(tmp_path, row("a", 0.5, ["RANDOM weights"]), row("b", None), row("c", 0.25)), "spearman", None, None
    )
    ((title, rows),) = found.items()
    assert title == "fisv, random: average, 40 videos" and [one.name for one in rows] == ["a *", "c"]
    assert mark == "RANDOM weights, *: with a remark in leaderboard.md"


@pytest.mark.parametrize(
    "asked, why", [(("mse", None, None), "no figures of mse"), (("spearman", "pcs", None), "no column pcs")]
)
def test_what_cannot_be_drawn(tmp_path, asked, why):
    with pytest.raises(DataError, match=why):
        board_rows(board(tmp_path, row("a", 0.5)), *asked)


def test_a_damaged_file(tmp_path):
    (tmp_path / BOARD).write_text('{"tables": [{"rows": 3}]}')
    with pytest.raises(DataError, match="rows"):
        board_rows(tmp_path, "spearman", None, None)
