"""The table of registered weights."""

import re
from urllib.parse import urlsplit

import pytest

from longtake.manifests.pretrained import TABLE, licence_of


@pytest.mark.parametrize("entry", TABLE.values(), ids=lambda entry: entry.name)
def test_entries_are_complete(entry):
    assert entry.backbone and entry.licence and entry.citation and re.fullmatch(r"\w+", entry.name)
    assert urlsplit(entry.url).scheme == "https"
    assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
    assert entry.sha256_prefix in entry.url
    if not entry.by_hand:
        assert entry.file_name.startswith(entry.name + "."), "a file has a suffix, a page has none"


def test_licences():
    assert licence_of("resnet50_imagenet") == "BSD-3-Clause"
    assert licence_of("random:0") == "none: random numbers"
    assert licence_of("mine.pth") is None
