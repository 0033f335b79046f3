"""A sweep is read without torch. Its numbers are tested with those of single runs, in tests/train/test_sweep.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from longtake.train.errors import DataError
from longtake.train.runs.sweeps import Cell, read_sweep

ROOT = Path(__file__).resolve().parents[3]


def test_no_torch():
    code = "import sys, longtake.train.runs.sweeps, longtake.train.runs.records; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"


def test_a_damaged_cell_is_named(tmp_path):
    folder = tmp_path / Cell("gdlt", "vst@1", "Ball", 0).folder
    folder.mkdir()
    (folder / "done.json").write_text(json.dumps({"cell": {"head": "gdlt"}}))
    with pytest.raises(DataError, match="done.json"):
        read_sweep(tmp_path)
    assert read_sweep(tmp_path / folder.name) == ([], False)
