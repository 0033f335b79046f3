"""Models of transformers by names of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from longtake.extract.backbones import TABLE, get_spec, named
from longtake.extract.backbones.families import split_name
from longtake.extract.backbones.spec import MODALITIES
from longtake.extract.listing import listing


def test_every_name_has_a_card() -> None:
    assert not TABLE.keys() & named.ALIASES.keys()
    for name, alias in named.ALIASES.items():
        assert split_name(f"hf/{alias.repo}") == ("hf", alias.repo) and alias.repo.count("/") == 1
        assert alias.modality in MODALITIES and alias.licence and "arXiv:" in alias.citation and name == name.lower()
    rows = {row["name"]: row for row in listing("backbones")["backbones"]}
    assert rows["vjepa2"]["about"] == "V-JEPA 2 ViT-L: hf/facebook/vjepa2-vitl-fpc64-256"


def test_a_name_is_its_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def family_spec(name: str) -> Any:
        asked.append(name)
        return replace(get_spec("vit"), name="hf:x", source=f"{name}@{'1' * 40}")

    monkeypatch.setattr(named, "family_spec", family_spec)
    spec = get_spec("siglip2")
    assert asked == ["hf/google/siglip2-base-patch16-224"]
    assert (spec.name, spec.title) == ("siglip2", "SigLIP 2 B/16 (frames)")
    assert spec.source == f"hf/google/siglip2-base-patch16-224@{'1' * 40}"
