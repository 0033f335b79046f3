from __future__ import annotations

import pytest

from longtake.extract import backbones
from tests.extract import fake_backbone
from tests.extract.media import groups_of_25, without_the_first


@pytest.fixture
def numbers_backbone(monkeypatch):
    """The fake backbone in the table, for one test; changes to it end with the test."""
    monkeypatch.setattr(backbones, "TABLE", dict(backbones.TABLE))
    for owner, name in ((fake_backbone, "SPEC"), (fake_backbone.Numbers, "seconds_per_batch")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    fake_backbone.install()
    return fake_backbone.NAME


@pytest.fixture
def cut_stream(tmp_path):
    """75 frames of a transport stream without the first picture, on which the 24 after it depend."""
    return without_the_first(groups_of_25(tmp_path / "whole.ts", 75), tmp_path / "cut.ts")
