import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference material that is not part of the project: $LONGTAKE_SHARED, or `shared` beside the checkout."""
    default = Path(__file__).resolve().parent.parent.parent / "shared"
    folder = Path(os.environ.get("LONGTAKE_SHARED", default))
    if not folder.is_dir():
        pytest.skip(f"no reference material at {folder}")
    return folder
