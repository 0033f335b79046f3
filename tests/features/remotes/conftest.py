from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def library(tmp_path, monkeypatch) -> Path:
    """An empty library, and no remote."""
    monkeypatch.setenv("LONGTAKE_LIBRARY", str(tmp_path / "library"))
    monkeypatch.delenv("LONGTAKE_REMOTE", raising=False)
    monkeypatch.delenv("LONGTAKE_OFFLINE", raising=False)
    return tmp_path / "library"
