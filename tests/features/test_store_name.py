from __future__ import annotations

from pathlib import Path

import pytest

from longtake.features.errors import FeaturesError
from longtake.features.store_name import StoreName, parse_store_name, require_store_name


def test_names():
    assert parse_store_name("rg") == StoreName("rg") and str(StoreName("rg")) == "rg"
    for text in ("rg@2026-11-29", "rg@2026-11-29.2", "fis-v_2@17"):
        assert str(parse_store_name(text)) == text == str(parse_store_name(Path(text)))


@pytest.mark.parametrize("text", [
    "RG", "rg.h5", "rg.zarr", "a/b", "../rg", "rg@", "rg@0", "rg@latest", "rg@2026-11-29/../x", "rg@1234567", "", "-rg", "rg@1@2", "a" * 65, "rg@٣",
])  # fmt: skip
def test_what_is_no_name(text):
    assert parse_store_name(text) is None
    with pytest.raises(FeaturesError, match="not the name of a store"):
        require_store_name(text)
