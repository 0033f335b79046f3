"""Published checkpoints: from their key names to those of our heads.

Each head's `KEY_MAP` says which published key, or prefix of keys ending in a dot, is which of ours.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from safetensors.torch import load_file

from longtake.errors import there_are
from longtake.features.imports.growth import SPARE_BYTES
from longtake.features.store import Store
from longtake.train.data.dataset import FeatureSet
from longtake.train.data.exemplars import ExemplarPool
from longtake.train.engine.checkpoint import TEXTS, save_checkpoint
from longtake.train.engine.names import CHECKPOINTS
from longtake.train.errors import CheckpointError, DataError, SettingsError
from longtake.train.heads import get_head
from longtake.train.heads.blocks.contrast import FROM_STORE
from longtake.train.protocol.experiment import build
from longtake.train.protocol.options import parse_streams
from longtake.train.protocol.settings import build_settings, card_settings, settings_kinds
from longtake.train.protocol.texts import attach_texts
from longtake.train.protocol.units import Unit, score_scale
from longtake.train.runs.folder import head_config
from longtake.train.runs.records import CONFIG

BEFORE_HEADS = frozenset({"base_model", "backbone", "i3d"})
"""What published code calls the network that makes the features, whose weights some checkpoints have next to the head's."""
AROUND_HEADS = frozenset({"module", "model", "net", "head", "regressor"})
"""Names of the whole head in checkpoints that have other networks next to it, and of wrappers around it."""
COMPILED = "_orig_mod"
"""What torch.compile adds to the names of weights."""
NOT_READ = (
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    "numpy.dtype",
    "numpy.ndarray",
    "argparse.Namespace",
)


class NotRead:
    """In the place of what published code saves next to weights: results as numbers of numpy, and options."""

    def __new__(cls, *_: object) -> NotRead:
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None:
        pass


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of an untrusted checkpoint: torch, safetensors or .npz, recognised by their bytes; no code of the file is executed."""
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        if _holds_arrays(path):
            with np.load(path, allow_pickle=False) as arrays:
                return _of_the_head({name: torch.from_numpy(arrays[name]) for name in arrays.files})
        with path.open("rb") as file:
            head = file.read(9)
        if head[8:9] == b"{":
            return _of_the_head(load_file(path))
        with torch.serialization.safe_globals([(NotRead, name) for name in NOT_READ]):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # an untrusted file can be wrong in any way
        # torch's own message about a pickle advises to execute what is in it.
        code = isinstance(error, UnpicklingError | LookupError | EOFError | AttributeError | TypeError)
        said = next(iter(str(error).splitlines()), type(error).__name__)
        reason = "it is none at all, or holds what only code could load" if code else said
        raise CheckpointError(f"{path} is not a file of plain tensors: {reason}") from error
    for wrapper in ("state_dict", "model", "net"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if isinstance(state, dict) and not any(isinstance(value, torch.Tensor) for value in state.values()):
        # Some keep the parts of a network in dictionaries of their own, next to numbers and the state of the optimizer.
        parts = {name: part for name, part in state.items() if isinstance(name, str) and _is_state(part)}
        alone = len(parts.keys() - BEFORE_HEADS) == 1
        state = {
            key if alone and name not in BEFORE_HEADS else f"{name}.{key}": value
            for name, part in parts.items()
            for key, value in part.items()
        }
    if isinstance(state, dict) and any(isinstance(value, torch.Tensor) for value in state.values()):
        # Results and options between the weights.
        state = {
            name: value for name, value in state.items() if not isinstance(value, str | int | float | None | NotRead)
        }
    if not _is_state(state):
        raise CheckpointError(f"{path} does not hold a state dict")
    # A tensor may repeat one number without end.
    _require_size(path, sum(value.numel() * value.element_size() for value in state.values()))
    return _of_the_head(state)


def _require_size(path: Path, num_bytes: int) -> None:
    if num_bytes > (limit := 8 * path.stat().st_size + SPARE_BYTES):
        raise CheckpointError(
            f"{path} unpacks to {num_bytes} bytes, more than {limit}, which is 8 times its size and {SPARE_BYTES >> 20} MiB"
        )


def _of_the_head(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Without the network that made the features, and without what all names begin with that says nothing."""
    names = {name: [part for part in name.split(".") if part != COMPILED] or [name] for name in state}
    names = {
        name: [part for part in parts[:2] if part != "module"] + parts[2:] or parts for name, parts in names.items()
    }
    names = {name: parts for name, parts in names.items() if parts[0] not in BEFORE_HEADS} or names
    while {parts[0] for parts in names.values()} <= AROUND_HEADS and len({parts[0] for parts in names.values()}) == 1:
        if not all(parts[1:] for parts in names.values()):
            break
        names = {name: parts[1:] for name, parts in names.items()}
    made = {".".join(parts): state[name] for name, parts in names.items()}
    # Two weights of one name: none of them is left out.
    return made if len(made) == len(names) else dict(state)


def _is_state(value: object) -> bool:
    """Whether it is a dictionary of tensors by name, and not empty."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(name, str) and isinstance(one, torch.Tensor) for name, one in value.items())
    )


def _holds_arrays(path: Path) -> bool:
    """Whether it is numpy's `.npz`; torch's files are zip archives as well. Raises `CheckpointError` for one that unpacks to much more."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        _require_size(path, sum(info.file_size for info in archive.infolist()))
        return any(name.endswith(".npy") for name in archive.namelist())


def import_published(
    source: Path, head: str, store: Store, *, score: str, category: str, backbone: str | None, audio: str | None,
    streams: tuple[str, ...] = (),
    text: str | None, overrides: Mapping[str, object], out: Path,
) -> tuple[Path, dict[str, object]]:  # fmt: skip
    """Write a run of one checkpoint, or one more of a run that was imported. Returns the checkpoint, and the settings that neither its weights
    nor `overrides` say, with the values that were taken. Raises `CheckpointError` with every key that is missing, unexpected or misshapen, and
    `SettingsError` for a run of another kind."""
    head_class = get_head(head)
    if not head_class.SOURCE.code:
        raise CheckpointError(
            f"no code of {head} was published, so there are no checkpoints to import: train it with `train heads`"
        )
    if head_class.why_no_import:
        raise CheckpointError(f"published checkpoints of {head} cannot be imported: {head_class.why_no_import}")
    if (out / CONFIG).exists():
        raise SettingsError(
            f"{out} holds a run of `train heads`, whose checkpoints an imported one would replace or vote with: take another --out"
        )
    published = load_tensors(source)
    try:
        state, shown = head_class.from_published(published), head_class.settings_in_published(published)
    except (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise CheckpointError(
            f"{source} does not hold the weights of a published {head}, such as {', '.join(sorted(published)[:3])}: their names or shapes are of "
            "another network"
        ) from error
    data = FeatureSet.load(store, backbone, *parse_streams(audio, streams))
    for kind, name, there in (
        ("score", score, set(data.scores)),
        ("category", category, {str(name) for name in data.categories} | {""}),
    ):
        if name not in there:
            raise SettingsError(f"{store.path} has no {kind} {name!r}{there_are(name, sorted(there - {''}))}")
    rows = data.rows(category=category or None, score=score)
    if not len(rows):
        raise DataError(f"{store.path}: no video {f'of {category} ' if category else ''}has the score {score!r}")
    kinds = settings_kinds(head)
    known = {field.name for kind in kinds.values() for field in fields(kind)}
    from_shapes = {name: value for name, value in shown.items() if value is not None}
    if "dropout" in known:
        from_shapes["dropout"] = 0.0
    said = {*from_shapes, *overrides}
    scale = score_scale(store.card, score, data.scores[score][rows])
    facts = card_settings(store.card, scale, head_class.Settings)
    given = dict(overrides)
    overrides = {**facts, **from_shapes, **({"text": text} if text else {}), **overrides}
    settings = build_settings(head, store.dataset, category, overrides, kinds)
    texts = attach_texts(store, data, settings, (head, head_class.needs(settings.head)), None)
    module = build(head, data.widths, settings.head, texts.prototypes)
    pool = None
    if (needs := module.batch_needs).exemplars is not None:
        # The groups of differences and the exemplars follow from training videos; a published checkpoint has neither.
        learnt = data.rows(split="train", category=category or None, score=score)
        if not len(learnt):
            raise DataError(
                f"{store.path}: head {head} compares with training videos, and the store has none with {score!r}"
            )
        data.require_scores(learnt, needs.columns)
        pool = ExemplarPool.of(needs, data, learnt, scale.to01(data.scores[score][learnt]))
        module.learn_groups(pool)
        state |= {name: value for name, value in module.named_buffers() if name.startswith(FROM_STORE)}
    other = {name: (value, from_shapes[name]) for name, value in given.items() if from_shapes.get(name, value) != value}
    _load(module, state, source, other)
    window = settings.train.window or (store.card.window_clips if store.card else 0) or int(data.num_clips.max())
    config = head_config(head, data, store.dataset, Unit(category, scale, settings, window), texts)
    path = out / CHECKPOINTS / f"{config.file_name}.safetensors"
    save_checkpoint(path, module, config, pool.voting() if pool else None)
    assumed = {name: getattr(settings.head, name) for name in head_class.not_in_weights if name not in said}
    return path, assumed


def _load(
    module: torch.nn.Module,
    state: dict[str, torch.Tensor],
    source: Path,
    other: Mapping[str, tuple[object, object]],
) -> None:
    """`other`: settings that were given -> their value, and that which the weights show."""
    wanted = module.state_dict()
    # Published checkpoints do not carry the text features; those of old torch do not count the batches of norms.
    left_out = {name for name in wanted if name.endswith((TEXTS, "num_batches_tracked"))}
    missing = [name for name in wanted if name not in state and name not in left_out]
    unexpected = [name for name in state if name not in wanted]
    misshapen = [
        f"{name} {tuple(state[name].shape)} for {tuple(wanted[name].shape)}"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    if missing or unexpected or misshapen:
        lines = [
            f"  {kind}: {', '.join(names)}"
            for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
            if names
        ]
        lines += [
            f"  --set {name}={asked}, and the weights show {name}={shown}" for name, (asked, shown) in other.items()
        ]
        raise CheckpointError(f"{source} does not fit the head:\n" + "\n".join(lines))
    if broken := [name for name in wanted if name in state and state[name].isnan().any()]:
        raise CheckpointError(f"{source} has weights that are NaN, such as {broken[0]}: its training diverged")
    module.load_state_dict(state, strict=False)
