"""Any frozen network of a library by its name there: `timm/NAME`, `torchvision/NAME`, `open_clip/MODEL[:TAG]`, `hf/REPO[@REVISION]`, `hf/FOLDER`.

A family is a module with `spec(name)`, `build(spec)`, `published(spec, on_progress)` and `names()`; the library's own configuration states the
preprocessing, and what cannot be built is an `ExtractError`. In stores, where `/` separates groups, the name is written with `:`.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from longtake.extract.errors import ExtractError
from longtake.packages import needs

if TYPE_CHECKING:
    from longtake.extract.backbones.download import Progress
    from longtake.extract.backbones.spec import BackboneSpec, Network

FAMILIES: dict[str, str] = {
    "timm": "longtake.extract.backbones.from_timm",
    "torchvision": "longtake.extract.backbones.from_torchvision",
    "open_clip": "longtake.extract.backbones.from_open_clip",
    "hf": "longtake.extract.backbones.from_hf",
}
PACKAGES = {"hf": "transformers", "open_clip": "open_clip_torch"}


class Family(Protocol):
    """What a module of `FAMILIES` has."""

    def spec(self, name: str) -> BackboneSpec:
        """Of the network `name` of the library. `ExtractError` for what cannot be a backbone."""

    def build(self, spec: BackboneSpec) -> Network: ...

    def published(self, spec: BackboneSpec, on_progress: Progress | None) -> Any:
        """The published weights, a `Weights` of weights.py, downloaded if need be. `WeightsError` if there are none."""

    def names(self) -> list[str]:
        """Of the networks that the installed library knows; none for a family of repositories."""


def split_name(name: str) -> tuple[str, str] | None:
    """`timm/NAME`, or `timm:NAME` as stores write it -> ("timm", "NAME"); None for a name of the table."""
    for separator in "/:":
        family, found, rest = name.partition(separator)
        if found and family in FAMILIES:
            return family, rest
    return None


def stored_name(name: str) -> str:
    """As features carry it: without `/` and `@`, which stores use. The revision is part of the recipe."""
    return name.partition("@")[0].replace("/", ":")


def family_module(family: str) -> Family:
    """`ExtractError` for a library that is not installed."""
    package = PACKAGES.get(family, family)
    with needs(
        lambda name: ExtractError(f"backbones {family}/... need the package {name}: python -m pip install {package}")
    ):
        import_module(package.partition("_torch")[0])
        found = cast(Family, import_module(FAMILIES[family]))
    return found


def family_spec(name: str) -> BackboneSpec:
    """The spec of `FAMILY/NAME`. `ExtractError` for a name that the library does not have, and for one that cannot be a backbone."""
    parts = split_name(name)
    assert parts is not None, "the caller has asked split_name"
    family, rest = parts
    if not rest:
        raise ExtractError(f"--backbone {name}: give the name of a network, such as {EXAMPLES[family]}")
    return family_module(family).spec(rest)


EXAMPLES = {
    "timm": "timm/vit_small_patch14_dinov2.lvd142m",
    "torchvision": "torchvision/r2plus1d_18",
    "open_clip": "open_clip/ViT-B-32:openai",
    "hf": "hf/MCG-NJU/videomae-base",
}


def unknown(family: str, name: str, known: list[str]) -> ExtractError:
    """The error for a name that the library does not have."""
    close = difflib.get_close_matches(name, known, n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else ";"
    return ExtractError(
        f"{family} has no network called {name!r}{hint} `extract list backbones --search WORD` finds names"
    )


def refused(source: str, reason: str) -> ExtractError:
    """The one message for what exists but cannot be a backbone."""
    return ExtractError(f"--backbone {source} cannot be a backbone: {reason}")
