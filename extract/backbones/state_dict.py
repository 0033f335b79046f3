"""State dicts: read from untrusted files without executing code from them, unwrapped, checked against a network, hashed.

Torch is imported only by the functions that handle tensors.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from longtake.errors import LongtakeWarning
from longtake.extract.backbones.onnx_weights import load_onnx
from longtake.extract.backbones.spec import NameRule
from longtake.extract.errors import WeightsError
from longtake.features.imports.growth import SPARE_BYTES

if TYPE_CHECKING:
    import torch

State: TypeAlias = "Mapping[str, torch.Tensor]"
WRAPPERS = ("module.", "_orig_mod.")
DAMAGED_TORCH_FILE = (RuntimeError, ValueError, LookupError, EOFError, TypeError, AssertionError, struct.error)
"""What torch's safe reader raises for truncated or corrupt files, found by trying some thousands of them."""


def load_state(path: Path | str) -> dict[str, torch.Tensor]:
    """Tensors by name, on the CPU, from a safetensors, torch or ONNX file, recognised by the first bytes.

    Wrappers are taken off, see `unwrap_state`. `WeightsError` for a corrupt file, and for one
    that could only be read by executing code from it.
    """
    import safetensors.torch
    import torch

    path = Path(path)
    if path.name.endswith(".index.json"):
        return {name: tensor for shard in _shards(path) for name, tensor in load_state(shard).items()}
    kind = _kind_of_file(path)
    if kind == "onnx":
        return load_onnx(path)
    if kind == "torch" and zipfile.is_zipfile(path):
        _require_size(path)
    try:
        if kind == "safetensors":
            state = safetensors.torch.load_file(path, device="cpu")
        else:
            with warnings.catch_warnings():  # torch warns of pickle protocols and TorchScript, then refuses them itself
                warnings.simplefilter("ignore", UserWarning)
                state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is refused: it holds more than tensors, or is damaged, and reading it could run code of its own. "
            "Save its state dict as safetensors"
        ) from error
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{path} is not a whole safetensors file: {error}") from error
    except DAMAGED_TORCH_FILE as error:
        reason = (str(error).splitlines() or [""])[0]
        raise WeightsError(f"{path} cannot be read as weights: {type(error).__name__} {reason}".rstrip()) from error
    return unwrap_state(state)


def _require_size(path: Path) -> None:
    """torch stores its files without compression; those that were compressed later are read, but none that unpacks to much more."""
    try:
        with zipfile.ZipFile(path) as archive:
            num_bytes = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, *DAMAGED_TORCH_FILE):
        return  # torch refuses it
    if num_bytes > (limit := 8 * path.stat().st_size + SPARE_BYTES):
        raise WeightsError(
            f"{path} is refused: it unpacks to {num_bytes} bytes, more than {limit}, which is 8 times its size and {SPARE_BYTES >> 20} MiB"
        )


def _shards(index: Path) -> list[Path]:
    """The files that an index of safetensors files names; all are next to it."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{index} is no index of weights files: {type(error).__name__}") from error
    outside = [str(name) for name in names if not isinstance(name, str) or Path(name).name != name]
    if outside:
        raise WeightsError(f"{index} names files outside its folder: {_shorten(outside)}")
    return [index.with_name(name) for name in names]


def _kind_of_file(path: Path) -> str:
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}")
    with open(path, "rb") as stream:
        head = stream.read(64)
    if head.startswith((b"PK\x03\x04", b"\x80")):  # zip, and the pickle stream of files from before PyTorch 1.6
        return "torch"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    if head[:1] == b"\x08" and path.suffix == ".onnx":  # the version of the format; protocol buffers have no signature
        return "onnx"
    is_pointer = head.startswith(b"version https://git-lfs")
    found = "is a Git LFS pointer, not the file it points to" if is_pointer else f"begins with {head[:16]!r}"
    raise WeightsError(f"{path} is neither a safetensors nor a torch file: it {found}")


def unwrap_state(state: object) -> dict[str, torch.Tensor]:
    """The bare state dict, without a surrounding checkpoint (`state_dict`, ...), the `module.` of parallel training and the `_orig_mod.` of
    torch.compile.

    Warns where the checkpoint holds a second set of weights under the same names, such as their moving average. `WeightsError` if it holds
    anything but tensors by name.
    """
    import torch

    for wrapper in ("state_dict", "model_state_dict", "model_state", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            _warn_of_second(state, wrapper)
            state = state[wrapper]
    if not isinstance(state, Mapping) or not state:
        raise WeightsError(f"weights must be a state dict, tensors by name; this holds a {type(state).__name__}")
    others = [str(key) for key, value in state.items() if not (isinstance(key, str) and torch.is_tensor(value))]
    if others:
        raise WeightsError(f"weights must be a state dict, tensors by name; these entries are not: {_shorten(others)}")
    return _without_prefixes(state)


def _without_prefixes(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for prefix in WRAPPERS * 2:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return dict(state)


def _warn_of_second(checkpoint: Mapping[str, object], taken: str) -> None:
    names = _tensor_names(checkpoint[taken])
    seconds = [str(key) for key, part in checkpoint.items() if key != taken and names and _tensor_names(part) == names]
    if seconds:
        warnings.warn(
            f"the checkpoint holds the network's weights twice: {taken!r} is taken, not {_shorten(seconds)}. "
            f"For the other ones, save them alone in a file and name that",
            LongtakeWarning,
            stacklevel=3,
        )


def _tensor_names(part: object) -> set[str]:
    import torch

    tensors = part.items() if isinstance(part, Mapping) else ()
    return set(_without_prefixes({str(name): value for name, value in tensors if torch.is_tensor(value)}))


def renamed(state: State, rules: Sequence[NameRule]) -> dict[str, torch.Tensor]:
    """The tensors under new names: every rule is applied to every name, in order."""
    found = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            if replacement is not None:
                name = re.sub(pattern, replacement, name)
            elif re.search(pattern, name):
                break
        else:
            found[name] = tensor
    return found


def split_rows(state: State, joined: str, parts: Sequence[str]) -> dict[str, torch.Tensor]:
    """Cut every tensor with `joined` in its name into equal parts along its first axis, named with one of `parts` in its place: one
    matrix of queries, keys and values becomes three. Rows that do not divide stay as they are, and the check names them."""
    found = {}
    for name, tensor in state.items():
        if joined in name and tensor.ndim and len(tensor) % len(parts) == 0:
            found.update({name.replace(joined, part): rows for part, rows in zip(parts, tensor.chunk(len(parts)))})
        else:
            found[name] = tensor
    return found


def join_rows(state: State, parts: Sequence[str], joined: str) -> dict[str, torch.Tensor]:
    """The inverse of `split_rows`. Parts that are not complete keep their names, and the check names them."""
    import torch

    found = dict(state)
    for name in state:
        names = [name.replace(parts[0], part) for part in parts]
        if parts[0] in name and all(other in state for other in names):
            found[name.replace(parts[0], joined)] = torch.cat([found.pop(other) for other in names])
    return found


def check_state(expected: State, state: State, *, what: str, optional: tuple[str, ...] = ()) -> None:
    """Raise `WeightsError` if keys are missing or unexpected or shapes differ from `expected`, with the list of them.

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


def state_sha256(state: State) -> str:
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
