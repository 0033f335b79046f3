"""The backbones by name. Adding one: a module, and a line in the table.

Importing this package, and reading a spec, imports neither torch nor a network; only `build` does.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from longtake.errors import there_are
from longtake.extract.backbones.families import FAMILIES, family_module, family_spec, split_name
from longtake.extract.backbones.named import ALIASES, alias_spec
from longtake.extract.backbones.spec import BackboneSpec, Network
from longtake.extract.errors import ExtractError
from longtake.packages import needs

if TYPE_CHECKING:
    from longtake.extract.backbones.frozen import Backbone
    from longtake.extract.backbones.pooling import PoolRule

TABLE: dict[str, str] = {
    "i3d": "longtake.extract.backbones.i3d:RGB",
    "i3d-flow": "longtake.extract.backbones.i3d:FLOW",
    "i3d-r50": "longtake.extract.backbones.resnet3d:I3D_R50",
    "slowfast-r50": "longtake.extract.backbones.resnet3d:SLOWFAST_R50",
    "c3d": "longtake.extract.backbones.c3d:SPEC",
    "vst": "longtake.extract.backbones.vst:BASE",
    "vst-s": "longtake.extract.backbones.vst:SMALL",
    "vst-t": "longtake.extract.backbones.vst:TINY",
    "timesformer": "longtake.extract.backbones.timesformer:SPEC",
    "resnet50": "longtake.extract.backbones.resnet50:SPEC",
    "efficientnet-lite0": "longtake.extract.backbones.efficientnet_lite:SPEC",
    "clip": "longtake.extract.backbones.openai_clip:CLIP",
    "vifi-clip": "longtake.extract.backbones.openai_clip:VIFI_CLIP",
    "vit": "longtake.extract.backbones.vit:SPEC",
    "blip": "longtake.extract.backbones.blip:SPEC",
    "ast": "longtake.extract.backbones.audio_spectrogram:SPEC",
    "speech-embedding": "longtake.extract.backbones.speech_embedding:SPEC",
}
"""Name -> its spec. The module must import without torch, and has `build(spec)` for the network."""

PRECISIONS = ("float32", "bfloat16")


def get_spec(name: str) -> BackboneSpec:
    """The spec of one backbone, without its network. `ExtractError` for a name that neither the table nor a library has.

    For `timm/NAME` and other names of libraries it imports the library, which states the numbers.
    """
    if name not in TABLE and split_name(name):
        return family_spec(name)
    if name in ALIASES:
        return alias_spec(name)
    if name not in TABLE:
        families = ", ".join(f"{family}/NAME" for family in FAMILIES)
        raise ExtractError(
            f"no backbone is called {name!r}{there_are(name, [*TABLE, *ALIASES])}; networks of libraries are {families}"
        )
    spec: BackboneSpec = resolve_name(TABLE[name])
    return spec


def list_specs() -> list[BackboneSpec]:
    """Every backbone's spec, in the order of the table."""
    return [get_spec(name) for name in TABLE]


def module_of(spec: BackboneSpec) -> Any:
    """The module that builds the network of a spec."""
    if spec.name in TABLE:
        return import_module(TABLE[spec.name].partition(":")[0])
    family, _ = split_name(spec.source) or ("", "")
    return family_module(family)


def network_of(spec: BackboneSpec) -> Network:
    """What differs between networks, without weights. `ExtractError` names a package that is missing."""
    with needs(
        lambda name: ExtractError(
            f"backbone {spec.name} needs the package {name}: python -m pip install 'longtake[extract]'"
        )
    ):
        found: Network = module_of(spec).build(spec)
    return found


def build(
    spec: BackboneSpec | str, *, precision: str = "float32", device: str = "cpu", pool: PoolRule | None = None
) -> Backbone:
    """The network of a backbone, or of a changed spec, without weights: call `load_weights` or `init_random` before `forward`.

    `precision` is one of `PRECISIONS` and part of the recipe, because it changes the numbers.
    """
    spec = get_spec(spec) if isinstance(spec, str) else spec
    if spec.name not in TABLE and not spec.source:
        get_spec(spec.name)  # raises for a name that is not in the table
    if precision not in PRECISIONS:
        raise ExtractError(f"--precision takes {' or '.join(PRECISIONS)}, got {precision!r}")
    network = network_of(spec)
    if pool is not None:
        from longtake.extract.backbones.pooling import with_pool

        network = with_pool(spec, network, pool)
    from longtake.extract.backbones.frozen import Backbone

    return Backbone(spec, network, precision=precision, device=device)
