"""Every code block of the documentation says where it runs, and those that can run here do.

The line before a block is `<!-- runs: WHERE -->`: `here` in the slow test; `slow` and `ci` by tox, which the last tests hold to the
README's words; `never, REASON` where something is needed that no test can have.
"""

from __future__ import annotations

import csv
import json
import lzma
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:<!-- runs: (?P<where>[^>]*?) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
FILE = re.compile(
    r"(?<![\w/.-])((?:longtake|manifests|features|extract|train|tests|benchmarks)/[\w/-]+\.(?:py|md|toml|html))(?!\w)"
)


RUNNERS = {"sh": ("bash", "-euo", "pipefail"), "python": (sys.executable,)}


def blocks(page: Path) -> list[tuple[str | None, str, str]]:
    return [(match["where"], match["code"], match["language"]) for match in BLOCK.finditer(page.read_text())]


def test_every_block_says_where_it_runs():
    found = [(page.name, where) for page in PAGES for where, _, _ in blocks(page)]
    assert len(found) > 5
    for name, where in found:
        assert where in ("here", "slow", "ci") or re.match(r"never, .+", where or ""), f"{name}: {where}"


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_blocks_that_run_here(tmp_path):
    """In the order of the pages, in one folder, as a reader would type them; pages may use what the README made."""
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": ""}
    count = 0
    for page in PAGES:
        for where, code, language in blocks(page):
            if where != "here":
                continue
            count += 1
            done = subprocess.run(
                [*RUNNERS[language], "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{page.name}:\n{code}\n{done.stdout}\n{done.stderr}"
            assert "Traceback" not in done.stderr
    assert count >= 3


@pytest.mark.slow
def test_the_example_of_other_features(tmp_path, shared):
    """docs/other-features.md from its first line to its last, where the files of UI-PRMD are; the results are those of the page."""
    source = shared / "data" / "uiprmd"
    if not source.is_dir():
        pytest.skip(f"no files of UI-PRMD at {source}")
    (tmp_path / "uiprmd").mkdir()
    for path in source.glob("*.csv.xz"):
        (tmp_path / "uiprmd" / path.stem).write_bytes(lzma.decompress(path.read_bytes()))
    page = ROOT / "docs" / "other-features.md"
    commands = "\n".join(
        f'{name}() {{ {sys.executable} -m longtake.{name}.cli "$@"; }}' for name in ("features", "train")
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    said = ""
    for where, code, language in blocks(page):
        if where and "UI-PRMD" in where:
            code = f"{commands}\n{code}" if language == "sh" else code
            done = subprocess.run(
                [*RUNNERS[language], "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
            said += done.stdout
    runs = re.findall(r"--head ([\w-]+) .*--out runs/([\w-]+)", page.read_text())
    assert len(runs) >= 2
    for head, folder in runs:
        metrics = json.loads((tmp_path / "runs" / folder / "metrics.json").read_text())
        (row,) = metrics["table"]
        low, high = row["intervals"]["spearman"]["low"], row["intervals"]["spearman"]["high"]
        assert f"| `{folder}` | {row['spearman']:.2f} [{low:.2f}, {high:.2f}] |" in page.read_text(), (head, row)
        assert metrics["intervals_over"] == "subject"
    assert "over the groups of test videos by subject" in said
    assert "0.94 [0.89, 0.98]" in said and "91%" in said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists() or target.startswith("_drawn/"), target


def test_what_is_drawn_while_the_docs_are_built(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import drawn

    made = drawn.draw(tmp_path / "_drawn")
    index = (ROOT / "docs" / "index.md").read_text()
    assert made.stat().st_size > 1000 and f"(_drawn/{made.name})" in index and index.count("(_drawn/") == 1
    for title, rows in drawn.tables((ROOT / "docs" / "leaderboard.md").read_text()).items():
        shown = {row.name: row.value for row in rows}
        for name in ("kernel", "ridge", "gdlt"):
            (line,) = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(f"| `{name}`")]
            assert f"{shown[name]:.3f}" in line, (title, name)


def test_files_that_are_named_exist():
    pages = [*sorted(ROOT.glob("*.md")), *PAGES, *sorted((ROOT / "docs" / "performance").glob("*.md"))]
    named = {(page.name, name) for page in pages for name in FILE.findall(page.read_text())}
    assert len(named) > 30
    assert not sorted((page, name) for page, name in named if not (ROOT / name).exists())


def test_the_readme_begins_with_the_main_job_and_the_tests():
    (first, demo, _), (second, tests, _) = blocks(ROOT / "README.md")[:2]
    assert (first, demo) == ("slow", "python -m pip install tox && python -m tox -e demo\n")
    assert (second, tests) == ("ci", "python -m pip install tox && python -m tox\n")
    assert "[testenv:demo]" in (ROOT / "tox.ini").read_text()
    assert "python -m pip install tox && python -m tox\n" in (ROOT / ".ci" / "run").read_text()


COMMAND = re.compile(r"`train heads --features features/([\w-]+)\.h5 ([^`]*)`")


def test_every_row_of_the_papers_has_a_command():
    """Commands of docs/papers.md name heads, plug-ins and settings that exist, and no method of a table is left out."""
    from longtake.train.heads.plugin import PLUGINS
    from longtake.train.protocol.settings import build_settings, settings_kinds

    page = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    commands = COMMAND.findall(page)
    assert len(commands) > 100
    for dataset, words in commands:
        options = re.findall(r"--(\S+) (\S+)", words)
        (head,) = [value for name, value in options if name == "head"]
        plugin = next((PLUGINS[value][0].kind for name, value in options if name == "plugin"), None)
        overrides = dict(value.split("=", 1) for name, value in options if name == "set")
        facts = {"judges": "a,b,c"} if head == "musdl" else {}
        made = build_settings(head, dataset, "", {**facts, **overrides}, settings_kinds(head, plugin))
        assert made.head is not None
    with (ROOT / "train" / "runs" / "papers.csv").open(encoding="utf-8", newline="") as file:
        methods = {row["method"].split(",")[0] for row in csv.DictReader(file)}
    rows = "\n".join(line.split("| `train heads")[0] for line in page.splitlines() if COMMAND.search(line))
    assert {method for method in methods if method not in rows} == set()
