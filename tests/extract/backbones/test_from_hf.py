"""Models of transformers by `hf/FOLDER` and `hf/REPO`: the features of the library, whole weights or none, a commit in the recipe."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from longtake.extract.backbones import build, get_spec
from longtake.extract.backbones.state_dict import load_state
from longtake.extract.backbones.weights import resolve
from longtake.extract.errors import ExtractError, WeightsError
from longtake.extract.preprocessing import FrameRule
from tests.extract.backbones.hf_models import KINDS, save
from tests.extract.backbones.parity import clip_of, frames, relative
from tests.processor import needs_bfloat16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module", params=list(KINDS))
def saved(request: pytest.FixtureRequest, folder: Path) -> tuple[str, Path, Any, Any]:
    torch.set_num_threads(1)
    path = folder / request.param
    return request.param, path, *save(request.param, path)


def loaded(path: Path, precision: str = "float32") -> Any:
    spec = get_spec(f"hf/{path}")
    backbone = build(spec, precision=precision)
    weights = resolve(None, spec)
    assert weights.path is not None
    backbone.load_weights(load_state(weights.path))
    return backbone


def inputs(backbone: Any) -> tuple[torch.Tensor, Any]:
    """What the pipeline gives to a backbone, and the pictures or samples that it is made from."""
    spec = backbone.spec
    if isinstance(spec.frames, FrameRule):
        # Pictures that keep their size, so that the two resizes cannot differ.
        side = spec.frames.short_side
        pictures = frames(spec.clips.length, side, side)
        return clip_of(spec, pictures), pictures
    samples = np.sin(np.arange(spec.frames.sample_rate) / 9).astype(np.float32) / 3
    table = np.full((1, spec.frames.num_frames, 1), np.nan, np.float32)
    count = min(len(samples), spec.frames.num_frames)
    table[0, :count, 0] = samples[:count]
    return torch.from_numpy(table), samples[:count]


def library_row(kind: str, backbone: Any, model: Any, processor: Any, source: Any) -> torch.Tensor:
    """By the library's processor and forward alone."""
    if backbone.spec.modality == "audio":
        given = processor(source, sampling_rate=processor.sampling_rate, return_tensors="pt")
    else:
        is_video = backbone.spec.modality == "video"
        given = processor([source] if is_video else source[0], return_tensors="pt")
    with torch.inference_mode():
        return KINDS[kind][1](model, given)


@needs_bfloat16
def test_features_are_those_of_the_library(saved: tuple[str, Path, Any, Any]) -> None:
    kind, path, model, processor = saved
    backbone = loaded(path)
    clip, source = inputs(backbone)
    expected = library_row(kind, backbone, model, processor, source)
    found = backbone.forward(clip)
    assert found.shape == (1, backbone.spec.dim)
    assert relative(found, expected) < 1e-4
    fast = loaded(path, "bfloat16").forward(clip)
    assert 0 < relative(fast, found) < 0.05


def test_random_weights_and_a_recipe_of_their_own(folder: Path) -> None:
    save("vit", folder / "one")
    spec = get_spec(f"hf/{folder}/one")
    assert (spec.name, spec.dim, spec.modality) == ("hf:one", 32, "image")
    backbone = build(spec)
    backbone.init_random(3)
    first = backbone.forward(inputs(backbone)[0])
    backbone.init_random(3)
    assert torch.equal(backbone.forward(inputs(backbone)[0]), first)
    changed = json.loads((folder / "one" / "config.json").read_text())
    (folder / "one" / "config.json").write_text(json.dumps({**changed, "layer_norm_eps": 1e-3}))
    assert get_spec(f"hf/{folder}/one").facts != spec.facts, "a number that no weight shows"


def test_what_a_version_of_transformers_writes_is_no_other_recipe(folder: Path, tmp_path: Path) -> None:
    save("vit", tmp_path / "vit")
    path = tmp_path / "vit" / "config.json"
    facts = get_spec(f"hf/{path.parent}").facts
    stated = json.loads(path.read_text())
    path.write_text(json.dumps(stated | {"transformers_version": "9.9", "id2label": {"0": "a"}}))
    assert get_spec(f"hf/{path.parent}").facts == facts
    path.write_text(json.dumps(stated | {"hidden_act": "relu"}))
    assert get_spec(f"hf/{path.parent}").facts != facts, "a number that no weight shows"


def test_a_network_is_never_random_in_part(folder: Path) -> None:
    path = folder / "part"
    save("videomae", path)
    state = safetensors.torch.load_file(path / "model.safetensors")
    name = next(key for key in state if "layer.1" in key or "layers.1" in key)
    for faulty, message in (
        ({key: value for key, value in state.items() if key != name}, "1 missing: "),
        ({**state, "head.weight": torch.zeros(2)}, "1 unexpected: head.weight"),
        ({**state, name: torch.zeros(7)}, "fit"),
    ):
        backbone = build(get_spec(f"hf/{path}"))
        with pytest.raises(WeightsError, match=message):
            backbone.load_weights(faulty)
        with pytest.raises(WeightsError, match="no weights yet"):
            backbone.forward(inputs(backbone)[0])


def test_what_cannot_be_a_backbone_is_one_message(folder: Path, tmp_path: Path) -> None:
    import transformers

    save("vit", folder / "good")
    bert = transformers.BertModel(
        transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    )
    bert.save_pretrained(tmp_path / "bert")
    stated = json.loads((folder / "good" / "config.json").read_text())

    def variant(name: str, without: str = "", **changes: object) -> Path:
        shutil.copytree(folder / "good", tmp_path / name)
        (tmp_path / name / "config.json").write_text(json.dumps({**stated, **changes}))
        if without:
            (tmp_path / name / without).unlink()
        return tmp_path / name

    for path, message in (
        (tmp_path / "bert", "reads input_ids, neither pictures, videos nor sound"),
        (variant("no-processor", "preprocessor_config.json"), "its preprocessing is missing"),
        (variant("custom", model_type="mine", auto_map={"AutoModel": "mine.Model"}), "does not read its configuration"),
        (variant("unknown", architectures=["MyModel"]), "its architecture MyModel is not in transformers"),
        (variant("nameless", architectures=None), "names no architecture"),
        (variant("masked", model_type="vit_mae", architectures=["ViTMAEModel"]), "hides random patches"),
        (tmp_path, "no config.json"),
    ):
        with pytest.raises(ExtractError, match=message) as caught:
            get_spec(f"hf/{path}")
        assert "\n" not in str(caught.value)
