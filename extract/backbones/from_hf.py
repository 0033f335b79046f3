"""`hf/REPO[@REVISION]` and `hf/FOLDER`: models of pictures, videos and sound of transformers, with the input that their processors state.

The architecture that the configuration names is loaded whole, and every missing, unexpected or re-initialised weight is an error: no part of a
network is random unless all of it was asked to be. Code of a repository is never run.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.extract.backbones import hf_outputs, hub
from longtake.extract.backbones.dry_run import feature_dim
from longtake.extract.backbones.families import refused, stored_name
from longtake.extract.backbones.hf_processors import frame_rule, sound_rule
from longtake.extract.backbones.hf_quiet import quiet
from longtake.extract.backbones.spec import BackboneSpec, Network
from longtake.extract.backbones.weights import Weights
from longtake.extract.errors import ExtractError, WeightsError
from longtake.extract.preprocessing import ClipRule, FrameRule
from longtake.features.types import canonical_json

if TYPE_CHECKING:
    import torch

    from longtake.extract.backbones.download import Progress

VIDEO_TYPES = ("videomae", "vivit", "timesformer", "vjepa2", "xclip")
RANDOM_TYPES = {"vit_mae": "its encoder hides random patches"}
NOT_NUMBERS = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures", "id2label", "label2id")
"""Entries of a configuration that do not decide features."""
EXTRACTORS = ("preprocessor_config.json", "processor_config.json")
"""Where feature extractors of sound are stated, before and since transformers 5."""


def names() -> list[str]:
    return []


def spec(name: str) -> BackboneSpec:
    """Of the model in a folder or repository. `ExtractError` for one that cannot be a backbone, `WeightsError` for one that cannot be fetched."""
    source, folder = _locate(name)
    config, make = _architecture(source, folder)
    kind = _modality(source, config, make)
    base: dict[str, Any] = {
        "name": stored_name(f"hf/{folder.name}" if "@" not in source else source),
        "title": f"transformers {type(config).__name__.removesuffix('Config')}, {folder.name if '@' not in source else name}",
        "modality": kind,
        "default_weights": source,
        "citation": f"transformers, {config.model_type}",
        "source": source,
    }  # fmt: skip
    facts: list[tuple[str, object]] = [("configuration", _digest(folder / "config.json"))]
    if kind == "audio":
        rule, extractor = sound_rule(source, folder)
        facts.append(("feature_extractor", _digest(*(folder / name for name in EXTRACTORS))))
        # The shape of an extractor's output follows from a second of silence.
        dim = hf_outputs.sound_dim(source, make, extractor, config)
        return BackboneSpec(
            **base, dim=dim, frames=rule, clips=ClipRule(32, 32, "centre", fps=None), batch_size=4, facts=tuple(facts)
        )
    frames = frame_rule(source, folder, is_video=kind == "video")
    length = hf_outputs.clip_length(config) if kind == "video" else 1
    shape = (1, 3, length, frames.height, frames.width)
    return BackboneSpec(
        **base, dim=feature_dim(source, make, hf_outputs.features_of(kind, config), shape), frames=frames,
        clips=ClipRule(length, length, "pad", fps=None), batch_size=2 if kind == "video" else 16,
        only_length=length if kind == "video" else 0, facts=tuple(facts),
    )  # fmt: skip


def build(spec: BackboneSpec) -> Network:
    """The network without weights."""
    source, folder = _locate(spec.source.partition("/")[2])
    config, make = _architecture(source, folder)

    def load(state: dict[str, torch.Tensor]) -> Any:
        return _load(spec, config, make, state)

    if not isinstance(spec.frames, FrameRule):
        features = hf_outputs.sound_features(sound_rule(source, folder)[1], config)
        return Network(lambda num_classes: make(), features=features, load=load)
    return Network(
        lambda num_classes: make(),
        features=hf_outputs.features_of(spec.modality, config),
        tokens=None if config.model_type == "xclip" else hf_outputs.tokens_of(spec.modality, config),
        load=load,
    )


def published(spec: BackboneSpec, on_progress: Progress | None) -> Weights:
    """The weights of the repository at the commit of the spec, or those in the folder."""
    repo, at, commit = spec.source.partition("/")[2].partition("@")
    if at:
        return hub.weights(spec.source, repo, commit)
    return hub.weights_in(Path(repo), f"hf/{Path(repo).name}")


def _locate(name: str) -> tuple[str, Path]:
    """`REPO[@REVISION]` or `FOLDER` -> the source, `hf/REPO@COMMIT` or `hf/FOLDER`, and the folder with its configuration."""
    folder = Path(os.path.expanduser(name))
    if name.startswith(("/", ".", "~")) or folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ExtractError(
                f"--backbone hf/{name}: there is no config.json in {folder}, which every model of transformers has"
            )
        return f"hf/{folder.resolve()}", folder.resolve()
    repo, _, revision = name.partition("@")
    repo = repo.replace(":", "/")  # as stores write it
    folder = hub.snapshot(f"hf/{repo}", repo, revision or None, hub.CONFIGURATION)
    if not (folder / "config.json").is_file():
        raise ExtractError(f"--backbone hf/{repo}: the repository has no config.json, so it is none of transformers")
    return f"hf/{repo}@{folder.name}", folder


def _architecture(source: str, folder: Path) -> tuple[Any, Callable[[], Any]]:
    """The configuration, and a function that builds the architecture that it names."""
    import transformers

    try:
        stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        with quiet():
            config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (ValueError, OSError, KeyError, TypeError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise refused(
            source, f"transformers {transformers.__version__} does not read its configuration: {reason}"
        ) from error
    if isinstance(stated, dict) and "auto_map" in stated and not hasattr(transformers, type(config).__name__):
        raise refused(source, "it needs code of its own, which is never run")
    architectures = config.architectures or []
    kind = getattr(transformers, architectures[0], None) if architectures else None
    if kind is None:
        named = (
            f"its architecture {architectures[0]} is not in transformers"
            if architectures
            else "its configuration names no architecture"
        )
        raise refused(source, f"{named} {transformers.__version__}" if architectures else named)
    # Fused kernels of attention round otherwise; without them, features do not depend on what a machine offers.
    config._attn_implementation = "eager" if config.model_type in hf_outputs.EAGER_ONLY else "sdpa"

    def make() -> Any:
        try:
            return kind(config)
        except ValueError:  # no other attention is there
            config._attn_implementation = "eager"
            return kind(config)

    return config, make


def _modality(source: str, config: Any, make: Callable[[], Any]) -> str:
    from transformers.models.auto.modeling_auto import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES

    if config.model_type in RANDOM_TYPES:
        raise refused(source, RANDOM_TYPES[config.model_type])
    if config.model_type in VIDEO_TYPES:
        return "video"
    if config.model_type in MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES or config.model_type == "clap":
        return "audio"
    import torch

    with torch.device("meta"):
        network = make()
    if hasattr(network, "get_image_features") or network.main_input_name == "pixel_values":
        return "image"
    raise refused(source, f"a {config.model_type} reads {network.main_input_name}, neither pictures, videos nor sound")


def _load(spec: BackboneSpec, config: Any, make: Callable[[], Any], state: dict[str, torch.Tensor]) -> Any:
    """The network with these weights, renamed by the library where it renames; all of them, and nothing else. In float32, also where the
    configuration says half: the recipe states the precision."""
    import torch

    with quiet():
        try:
            network, info = type(make_on_meta(make)).from_pretrained(
                None,
                config=config,
                state_dict=dict(state),
                output_loading_info=True,
                trust_remote_code=False,
                torch_dtype=torch.float32,
            )
        except RuntimeError as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            raise WeightsError(f"these weights do not fit {spec.title}. {reason}") from error
    faults = []
    for label, key in (
        ("missing", "missing_keys"),
        ("unexpected", "unexpected_keys"),
        ("of another shape", "mismatched_keys"),
    ):
        found = sorted(entry if isinstance(entry, str) else str(entry[0]) for entry in info.get(key) or ())
        if found:
            more = f", and {len(found) - 10} more" if len(found) > 10 else ""
            faults.append(f"{len(found)} {label}: {', '.join(found[:10])}{more}")
    if faults:
        raise WeightsError(f"these weights do not fit {spec.title}. " + "; ".join(faults))
    return network


def make_on_meta(make: Callable[[], Any]) -> Any:
    """Without memory for weights."""
    import torch

    with torch.device("meta"):
        return make()


def _digest(*files: Path) -> str:
    """Of configurations as the repository states them, without what does not decide numbers. What a version of transformers adds to them is left
    out, so that a recipe is the same by all versions."""
    stated = [_numbers(json.loads(path.read_text(encoding="utf-8"))) for path in files if path.is_file()]
    return hashlib.sha256(canonical_json({"files": stated}).encode()).hexdigest()[:16]


def _numbers(stated: Any) -> Any:
    if isinstance(stated, dict):
        return {name: _numbers(value) for name, value in stated.items() if name not in NOT_NUMBERS}
    return [_numbers(value) for value in stated] if isinstance(stated, list) else stated
