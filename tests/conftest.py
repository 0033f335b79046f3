import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Browser, in_test, started

FOLDER = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the slow ones what takes longest comes first: else one process is at it long after the other has ended."""
    items.sort(key=lambda item: (item.path.name != "test_docs.py", item.path.parent != FOLDER))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference material that is not part of the project: $LONGTAKE_SHARED, or `shared` next to the checkout."""
    default = FOLDER.parent.parent / "shared"
    folder = Path(os.environ.get("LONGTAKE_SHARED", default))
    if not folder.is_dir():
        pytest.skip(f"no reference material at {folder}")
    return folder


@pytest.fixture(scope="session")
def _chromium() -> Iterator[tuple[Any, Any]]:
    """One browser for all tests of a process: starting it takes a second."""
    with started() as running:
        yield running


@pytest.fixture
def browser(_chromium: tuple[Any, Any]) -> Iterator[Browser]:
    """Opens pages in Chromium. Skips where Chromium or Playwright is not installed."""
    with in_test(*_chromium) as browser:
        yield browser
