import os
from pathlib import Path

import pytest

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
