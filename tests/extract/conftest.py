import pytest

from extract import backbones
from tests.extract import fake_backbone


@pytest.fixture
def numbers_backbone(monkeypatch):
    """The fake backbone in the table, for one test."""
    monkeypatch.setattr(backbones, "TABLE", dict(backbones.TABLE))
    fake_backbone.install()
    return fake_backbone.NAME
