"""Names of networks in libraries, as users type them and as stores write them."""

from __future__ import annotations

import pytest

from longtake.extract.backbones import get_spec
from longtake.extract.backbones.families import family_module, split_name, stored_name, unknown
from longtake.extract.errors import ExtractError


def test_names_are_split_and_written() -> None:
    assert split_name("timm/resnet18") == split_name("timm:resnet18") == ("timm", "resnet18")
    assert split_name("open_clip/ViT-B-32:openai") == ("open_clip", "ViT-B-32:openai")
    assert split_name("i3d") is None and split_name("other/net") is None
    assert stored_name("hf/lab/net@abc") == "hf:lab:net"


def test_wrong_names_have_a_hint() -> None:
    with pytest.raises(ExtractError, match="give the name of a network, such as timm/"):
        get_spec("timm/")
    with pytest.raises(ExtractError, match="no backbone is called 'tim/resnet18'.*timm/NAME"):
        get_spec("tim/resnet18")
    assert "did you mean resnet18?" in str(unknown("timm", "resnt18", ["resnet18", "zzz"]))


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longtake.extract.backbones.families.PACKAGES", {"timm": "no_such_library"})
    with pytest.raises(ExtractError, match="need the package no_such_library: python -m pip install no_such_library"):
        family_module("timm")
