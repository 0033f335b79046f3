"""FORMAT.md describes the files."""

import re
from pathlib import Path

import h5py
import pytest

from tests.features.fakes import make_store


@pytest.mark.parametrize("number, suffix", [(0, ".h5"), (1, ".zarr")])
def test_the_examples_of_format_md(tmp_path, monkeypatch, capsys, number, suffix):
    text = (Path(__file__).parents[3] / "features" / "FORMAT.md").read_text()
    block = re.findall(r"```python\n(.*?)```", text, re.S)[number]
    make_store(tmp_path / "features" / f"demo{suffix}", {"first": 5, "second": 4})
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "FORMAT.md", "exec"), {})
    assert capsys.readouterr().out == "first (5, 3) w\n"


def test_format_md_names_all_that_is_there(tmp_path):
    text = (Path(__file__).parents[3] / "features" / "FORMAT.md").read_text()
    names = []
    with h5py.File(make_store(tmp_path / "s.h5", {"a": 2}), "r") as file:
        file.visit(names.append)
        names += list(file.attrs)
    for name in {part for path in names for part in path.split("/") if "@" not in part}:
        assert re.search(rf"\b{name}\b", text), name
