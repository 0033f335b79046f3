import pytest

from longtake.extract import backbones
from tests.extract import fake_backbone


@pytest.fixture
def numbers_backbone(monkeypatch):
    """The fake backbone in the table, for one test; what a test makes of it ends with the test."""
    monkeypatch.setattr(backbones, "TABLE", dict(backbones.TABLE))
    numbers = fake_backbone.Numbers
    for owner, name in ((fake_backbone, "SPEC"), (numbers, "spec"), (numbers, "seconds_per_batch")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    fake_backbone.install()
    return fake_backbone.NAME
