"""leaderboard.json is read as it was written; the rest of the tests is with its readers."""

import json
import math

import pytest

from longtake.train.errors import DataError
from longtake.train.runs.board import BOARD, Figure, read_board

ROW = {"name": "a", "head": "ridge", "features": "vst", "state": "done"}
TABLE = {"dataset": "d", "split": "s", "about": "own split", "labels": "l", "num_videos": 40, "columns": ["tes"], "metrics": ["spearman"]}  # fmt: skip


def write(folder, figure, **more):
    row = {**ROW, "figures": {"tes": {"spearman": figure}}}
    board = {"title": "t", "versions": {}, "tables": [{**TABLE, "rows": [row], **more}]}
    (folder / BOARD).write_text(json.dumps(board))
    return folder


def test_undefined_figures_are_nan_and_papers_are_left_out(tmp_path):
    papers = [{"method": "m", "spearman": {"tes": 0.8}}]
    ((table,),) = [read_board(write(tmp_path, {"value": None, "low": None, "high": None}, papers=papers)).tables]
    assert math.isnan(table.rows[0].figures["tes"]["spearman"].value) and table.papers == ()
    found = read_board(write(tmp_path, {"value": 0.5, "low": 0.25, "high": 0.75})).tables[0].rows[0]
    assert found.figures["tes"]["spearman"] == Figure(0.5, 0.25, 0.75)


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="holds no leaderboard"):
        read_board(tmp_path)
    with pytest.raises(DataError, match="value must be a finite number, got 'high'"):
        read_board(write(tmp_path, {"value": "high"}))
    (tmp_path / BOARD).write_text('{"title": "", "tables": {"rows": 3}}')
    with pytest.raises(DataError, match="tables must be a list"):
        read_board(tmp_path)
