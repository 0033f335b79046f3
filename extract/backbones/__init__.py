"""The backbones by name, and what they all do with a state dict. Adding one: a module, and a line in the table.

Importing this package, and reading a spec, imports neither torch nor a network; only `build` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from longtake.errors import there_are
from longtake.extract.backbones.spec import Backbone, BackboneSpec
from longtake.extract.errors import ExtractError, WeightsError

if TYPE_CHECKING:
    import torch

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
    "clip": "longtake.extract.backbones.openai_clip:CLIP",
    "vifi-clip": "longtake.extract.backbones.openai_clip:VIFI_CLIP",
    "ast": "longtake.extract.backbones.audio_spectrogram:SPEC",
}
"""Name -> its spec. The module must import without torch, and has `build(spec, precision, device)` for the network."""

PRECISIONS = ("float32", "bfloat16")


def _load(target: str) -> object:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def _check_name(name: str) -> None:
    if name in TABLE:
        return
    raise ExtractError(f"no backbone is called {name!r}{there_are(name, TABLE)}")


def get_spec(name: str) -> BackboneSpec:
    """The numbers of one backbone, without its network. ExtractError for a name that is not in the table."""
    _check_name(name)
    return _load(TABLE[name])  # type: ignore[return-value]


def list_specs() -> list[BackboneSpec]:
    """Every backbone's spec, in the order of the table."""
    return [get_spec(name) for name in TABLE]


def build(spec: BackboneSpec | str, *, precision: str = "float32", device: str = "cpu") -> Backbone:
    """The network of a backbone, or of its spec with other numbers, without weights: call `load_weights` or `init_random` before
    `forward`.

    `precision` is one of `PRECISIONS` and part of the recipe, because it changes the numbers.
    """
    spec = get_spec(spec) if isinstance(spec, str) else spec
    _check_name(spec.name)
    if precision not in PRECISIONS:
        raise ExtractError(f"--precision takes {' or '.join(PRECISIONS)}, got {precision!r}")
    module = import_module(TABLE[spec.name].partition(":")[0])
    try:
        return module.build(spec, precision=precision, device=device)
    except ModuleNotFoundError as error:
        raise ExtractError(
            f"backbone {spec.name} needs the package {error.name}: python -m pip install 'longtake[extract]'"
        ) from error


def unwrap_state(state: object) -> dict[str, torch.Tensor]:
    """The bare state dict: without a checkpoint around it (`state_dict`, ...) and the `module.` of parallel training.

    WeightsError if there are other things than tensors by name.
    """
    import torch

    for wrapper in ("state_dict", "model_state_dict", "model_state", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not state:
        raise WeightsError(f"weights must be a state dict, tensors by name; this holds a {type(state).__name__}")
    others = [str(key) for key, value in state.items() if not (isinstance(key, str) and torch.is_tensor(value))]
    if others:
        raise WeightsError(f"weights must be a state dict, tensors by name; these entries are not: {_shorten(others)}")
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return dict(state)


def check_state(
    expected: Mapping[str, torch.Tensor],
    state: Mapping[str, torch.Tensor],
    *,
    what: str,
    optional: tuple[str, ...] = (),
) -> None:
    """WeightsError with the list of missing and unexpected keys and of other shapes than `expected`, if there are any.

    Keys that begin or end with one of `optional` may be missing.
    """
    missing = [k for k in expected if k not in state and not (k.startswith(optional) or k.endswith(optional))]
    unexpected = [key for key in state if key not in expected]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    faults = [
        f"{len(found)} {label}: {_shorten(found)}"
        for label, found in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if found
    ]
    if faults:
        raise WeightsError(f"these weights do not fit {what}. " + "; ".join(faults))


def state_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and little-endian bytes of the tensors, in the order of their names."""
    import torch

    digest = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _shorten(names: list[str], limit: int = 10) -> str:
    return ", ".join(names[:limit]) + (f", and {len(names) - limit} more" if len(names) > limit else "")
