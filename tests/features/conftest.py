"""Nothing is synced to the disk in these tests: syncing takes most of the time of small writes. Tests of syncing watch the calls."""

import os

import pytest


@pytest.fixture(autouse=True)
def no_sync(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
