from __future__ import annotations

import json
from pathlib import Path

import click
from click.testing import CliRunner

from longtake.features.printing import NamedStore, show


def test_facts_for_programs_and_lines_for_people():
    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def command(as_json):
        show(as_json, {"a": float("nan")}, ["one\x1b[2J"])

    assert json.loads(CliRunner().invoke(command, ["--json"]).output) == {"a": None}
    assert CliRunner().invoke(command, []).output == "one [2J\n"


def test_paths_and_urls_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rg").touch()
    for value, found in (("a.h5", Path("a.h5")), ("s3://lab/a.h5", "s3://lab/a.h5"), ("rg", Path("rg"))):
        assert NamedStore().convert(value, None, None) == found
