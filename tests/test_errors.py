"""docs/errors.md shows the messages of new users' mistakes; these tests compare it with the commands."""

from pathlib import Path

import pytest

from tests.mistakes import MISTAKES, page, provoke, set_up

DOCS = Path(__file__).resolve().parents[1] / "docs" / "errors.md"
ALL = [command for commands in MISTAKES.values() for command in commands]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("mistakes")
    set_up(made)
    return made


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAKE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("command", ALL)
def test_a_mistake_gets_one_clear_message_and_leaves_nothing(folder, monkeypatch, command):
    monkeypatch.chdir(folder)
    before = sorted(path for path in folder.rglob("*"))
    status, output = provoke(command)
    assert status == 2, output
    assert output.lower().count("error:") == 1 and "Traceback" not in output
    assert sorted(path for path in folder.rglob("*")) == before


def test_thirty_or_more():
    assert len(ALL) == len(set(ALL)) >= 30


def test_the_page_shows_them():
    """Regenerate it by: python -m tests.mistakes > docs/errors.md"""
    assert DOCS.read_text() == page()
