"""A server with one file, and an empty cache of weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from longtake.extract.backbones.i3d_network import InceptionI3d
from tests.extract.backbones.rule_weights import weights_by_rule
from tests.extract.backbones.server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LONGTAKE_OFFLINE", "LONGTAKE_MIRROR", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LONGTAKE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.fixture(scope="module")
def rule_state() -> dict[str, torch.Tensor]:
    return weights_by_rule({key: list(value.shape) for key, value in InceptionI3d().state_dict().items()})
