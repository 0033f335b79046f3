"""Published checkpoints and published counts: the bridge between other people's key names and our heads.

Each head's `KEY_MAP` says which published key, or prefix of keys ending in a dot, is which of ours.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from longtake.errors import there_are
from longtake.features.store import Store
from longtake.manifests.card import Card
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.data.prompts import build_prototypes
from longtake.train.engine.checkpoint import CHECKPOINTS, TEXTS, HeadConfig, save_checkpoint
from longtake.train.errors import CheckpointError, DataError, SettingsError
from longtake.train.heads import TABLE, get_head
from longtake.train.heads.base import Batch, Prototypes, SecondStream
from longtake.train.heads.staged import GROUPS
from longtake.train.protocol.experiment import build
from longtake.train.protocol.settings import build_settings, card_settings, settings_kinds
from longtake.train.protocol.units import score_scale
from longtake.train.runs.folder import CONFIG, versions


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint from a stranger: torch, safetensors or .npz, told apart by their bytes; no code runs."""
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        if _holds_arrays(path):
            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        with path.open("rb") as file:
            head = file.read(9)
        if head[8:9] == b"{":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a stranger's file can be wrong in any way
        # torch's own words on a pickle advise to run whatever is in it.
        code = isinstance(error, UnpicklingError)
        said = next(iter(str(error).splitlines()), type(error).__name__)
        reason = "it is none at all, or holds what only code could load" if code else said
        raise CheckpointError(f"{path} is not a file of plain tensors: {reason}") from error
    for wrapper in ("state_dict", "model", "net"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise CheckpointError(f"{path} does not hold a state dict")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _holds_arrays(path: Path) -> bool:
    """Whether it is numpy's `.npz`; torch's files are zip archives as well."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(".npy") for name in archive.namelist())


def rename(state: Mapping[str, torch.Tensor], key_map: Mapping[str, str | None]) -> dict[str, torch.Tensor]:
    """Published names to ours; 1x1 convolutions become linear layers. Names that the map lacks stay as they are, and those
    that it maps to None are left out: weights that no path from clips to score meets."""
    renamed = {}
    for name, value in state.items():
        for published, ours in key_map.items():
            if name == published or (published.endswith(".") and name.startswith(published)):
                name = None if ours is None else ours + name[len(published) :]
                break
        if name is None:
            continue
        renamed[name] = value.squeeze(-1) if value.dim() == 3 and value.shape[-1] == 1 else value
    return renamed


def shape_settings(state: Mapping[str, torch.Tensor]) -> dict[str, object]:
    """Settings that show in the shapes of renamed weights."""

    def layers(prefix: str) -> int:
        return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})

    depths = {
        "encoder_layers": ("context.encoder.layers.", "s2ce.encoder.layers."),
        "decoder_layers": ("decoder.layers.",),
        "fusion_layers": ("avcf.decoder.layers.",),
        "grading_layers": ("pgt.decoder.layers.",),
    }
    found: dict[str, object] = {name: sum(map(layers, prefixes)) for name, prefixes in depths.items()} | {
        "dropout": 0.0
    }
    if "prototypes" in state and state["prototypes"].dim() == 2:
        grades, width = state["prototypes"].shape
        found |= {"grades": grades, "width": width}
    if "visual_score.linear.weight" in state and state["visual_score.linear.weight"].dim() == 2:
        found["width"] = state["visual_score.linear.weight"].shape[1]
    return found


def import_published(
    source: Path, head: str, store: Store, *, score: str, category: str, backbone: str | None, audio: str | None,
    text: str | None, overrides: Mapping[str, object], out: Path,
) -> Path:  # fmt: skip
    """Write a run of one checkpoint, or one more of a run that was imported. Raises `CheckpointError` with every key that is missing,
    unexpected or misshapen, and `SettingsError` for a run of another kind."""
    head_class = get_head(head)
    if (out / CONFIG).exists():
        raise SettingsError(
            f"{out} holds a run of `train heads`, whose checkpoints an imported one would replace or vote with: take another --out"
        )
    state = rename(load_tensors(source), head_class.KEY_MAP)
    data = FeatureSet.load(store, backbone, audio)
    if score not in data.scores:
        raise SettingsError(f"{store.path} has no score {score!r}; it has {', '.join(data.scores)}")
    if category and category not in data.categories:
        there = sorted({str(name) for name in data.categories} - {""})
        raise SettingsError(f"{store.path} has no category {category!r}{there_are(category, there)}")
    rows = data.rows(category=category or None, score=score)
    if not len(rows):
        raise DataError(f"{store.path}: no video {f'of {category} ' if category else ''}has the score {score!r}")
    kinds = settings_kinds(head)
    known = {field for kind in kinds.values() for field in kind.__dataclass_fields__}
    # A file without any layer of a decoder lacks them; without those of an encoder it may be one of the papers' variants.
    from_shapes = {
        name: value
        for name, value in shape_settings(state).items()
        if name in known and (value or name == "encoder_layers")
    }
    overrides = {**from_shapes, **({"text": text} if text else {}), **overrides}
    settings = build_settings(head, store.dataset, category, overrides, kinds)
    text_features = prototypes = None
    wanted = head_class.needs(settings.head).texts
    if wanted:
        text_features = store.text(settings.prototypes.text)
        prototypes = build_prototypes(text_features, settings.prototypes, wanted)
    audio_header = data.second_header
    module = build(head, data.header.dim, settings.head, prototypes, audio_header.dim if audio_header else 0)
    _load(module, state, source)
    random = any(header.weights_random for header in (data.header, audio_header) if header)
    random |= bool(prototypes and prototypes.random)
    config = HeadConfig(
        head=head, dim=data.header.dim, head_settings=vars(settings.head), train_settings=vars(settings.train),
        dataset=store.dataset, category=category, score=vars(score_scale(store.card, score, data.scores[score][rows])),
        parts=[],
        window=settings.train.window or (store.card.window_clips if store.card else 0) or int(data.num_clips.max()),
        seed=0, fold=None, feature_header=data.header.to_json(), recipe_id=data.header.recipe_id,
        audio_header=audio_header.to_json() if audio_header else None,
        text_recipe_id=text_features.header.recipe_id if text_features else None,
        plugin=None, plugin_settings={}, terms={}, random_weights=random, versions=versions(),
    )  # fmt: skip
    path = out / CHECKPOINTS / f"{config.file_name}.safetensors"
    save_checkpoint(path, module, config)
    return path


def _load(module: torch.nn.Module, state: dict[str, torch.Tensor], source: Path) -> None:
    wanted = module.state_dict()
    texts = {name for name in wanted if name.endswith(TEXTS)}  # published checkpoints do not carry the text features
    missing = [name for name in wanted if name not in state and name not in texts]
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
        raise CheckpointError(f"{source} does not fit the head:\n" + "\n".join(lines))
    module.load_state_dict(state, strict=False)


AUDIO_DIM, TEXT_DIM = 768, 512
"""Of AST and of CLIP, which the papers use."""
QGVL_TEXTS = {"grades": 4, "scores": 101}
MVLA_FRAMES = 96


def describe_heads(card: Card, dim: int = 1024) -> list[dict[str, object]]:
    """Every head for the shapes of a dataset: trainable parameters, and operations for one video of its window.

    A multiplication with an addition counts as two operations, as torch's counter has it.
    """
    texts = dict(QGVL_TEXTS)
    for prompts in card.prompts.values():
        texts |= {group: len(entries) for group, entries in prompts.groups.items()}
    num_clips = card.window_clips or 68
    batch = Batch(
        torch.zeros(1, num_clips, dim), torch.ones(1, num_clips, dtype=torch.bool), torch.zeros(1), (0,),
        torch.zeros(1, num_clips, AUDIO_DIM),
    )  # fmt: skip
    stated = card.scores[card.default_scores[0] if card.default_scores else next(iter(card.scores))]
    scale = ScoreScale(stated.name, stated.minimum, stated.maximum, True)
    times = torch.arange(num_clips + 1.0)
    batch = replace(batch, seconds=torch.stack([times[:-1], times[1:]], -1)[None])
    # Heads that compare are counted with one exemplar.
    batch = replace(batch, exemplar=batch, voters=torch.zeros(1, 1, dtype=torch.int64))
    rows = []
    for name in TABLE:
        head_class = get_head(name)
        arrays = {group: np.ones((count, TEXT_DIM), np.float32) for group, count in texts.items()}
        about = (head_class.__doc__ or "").strip().splitlines()[0]
        row = {"head": name, "parameters": None, "flops_per_video": None, "about": about}
        rows.append(row)
        settings = head_class.Settings(**card_settings(card, scale, head_class.Settings))
        try:
            needs = head_class.needs(settings)
        except SettingsError as error:
            row["about"] = f"{error}. {about}"
            continue
        missing = [group for group in needs.texts if group not in arrays]
        if missing:
            row["about"] = f"{card.name} has no texts {', '.join(missing)}. {about}"
            continue
        second, given = AUDIO_DIM, batch
        if set(GROUPS) <= set(needs.terms):
            given, second = _with_frames(batch, needs.boundaries), TEXT_DIM
        head = head_class(dim, settings, Prototypes(arrays, random=False), second).eval()
        row["parameters"] = sum(parameter.numel() for parameter in head.parameters())
        # With gradients, because without them torch takes a fused path whose operations its counter does not know.
        with FlopCounterMode(display=False) as counter:
            head(replace(given, scores=torch.ones(1, len(needs.columns))))
        row["flops_per_video"] = counter.get_total_flops()
    return rows


def _with_frames(batch: Batch, num_boundaries: int) -> Batch:
    """Beside the clips, CLIP's features of as many frames as MVLA takes."""
    starts = torch.arange(MVLA_FRAMES, dtype=torch.float32)[None] * batch.mask.shape[1] / MVLA_FRAMES
    seconds = torch.stack([starts, starts + batch.mask.shape[1] / MVLA_FRAMES], -1)
    frames = SecondStream(torch.zeros(1, MVLA_FRAMES, TEXT_DIM), torch.ones(1, MVLA_FRAMES, dtype=torch.bool), seconds)
    return replace(batch, audio=None, second_stream=frames, terms=torch.zeros(1, num_boundaries + 2, dtype=torch.long))
