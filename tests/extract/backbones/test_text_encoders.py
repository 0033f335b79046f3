"""Texts to features with random weights; no test needs a download."""

from __future__ import annotations

import logging
import re
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from longtake.extract.backbones import weights
from longtake.extract.backbones.spec import TextEncoderSpec
from longtake.extract.backbones.text_encoders import ENCODERS, _build, encode_texts
from longtake.extract.backbones.weights import Weights, resolve
from longtake.extract.errors import ExtractError, WeightsError
from longtake.features.types import TextHeader
from longtake.files import file_sha256

TEXTS = ["a video of a rhythmic gymnastics with poor performance", "ball", "a spin", "Ball"]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An encoder of a few hundred kilobytes, which also replaces the real ones for one test."""
    import open_clip

    config = open_clip.get_model_config("ViT-B-16-quickgelu")
    config["embed_dim"] = 32
    config["vision_cfg"].update(layers=1, width=64)
    config["text_cfg"].update(layers=1, width=32, heads=2)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "longtake-tiny", config)
    for name in ("tiny", "clip", "vifi-clip"):
        monkeypatch.setitem(ENCODERS, name, TextEncoderSpec(name, "longtake-tiny", 32, 77, "clip_vit_b16_openai"))
    return "tiny"


@pytest.fixture(scope="module")
def encoded() -> tuple[np.ndarray, TextHeader]:
    return encode_texts(TEXTS, weights="random:3")


def test_features_and_recipe(encoded) -> None:
    features, recipe = encoded[0], asdict(encoded[1])
    assert features.shape == (4, 512) and features.dtype == np.float32
    assert np.isfinite(features).all()
    assert len(recipe.pop("weights_sha256")) == 64
    assert re.fullmatch(r"open_clip \S+, ViT-B-16-quickgelu", recipe.pop("library"))
    assert recipe == {
        "encoder": "clip", "weights": "random:3", "weights_random": True, "dim": 512, "origin": "encoded"
    }  # fmt: skip


def test_rows_are_in_order_not_normalised_and_ignore_case(encoded) -> None:
    features, _ = encoded
    np.testing.assert_allclose(features[1], features[3], rtol=1e-4, atol=1e-5)  # "ball" and "Ball"
    assert not np.allclose(features[0], features[1], atol=1e-2)
    assert (np.abs(np.linalg.norm(features, axis=1) - 1) > 0.5).all(), "features must not be normalised"


def test_the_seed_decides_and_the_global_generator_is_unchanged(tiny: str, caplog) -> None:
    first, recipe = encode_texts(TEXTS, encoder=tiny, weights="random:3")
    torch.manual_seed(99)
    expected = torch.rand(1)
    torch.manual_seed(99)
    with caplog.at_level(logging.WARNING):
        again, same_recipe = encode_texts(TEXTS, encoder=tiny, weights="random:3")
    assert torch.equal(torch.rand(1), expected)
    assert not caplog.records
    np.testing.assert_array_equal(again, first)
    assert same_recipe == recipe
    other, other_recipe = encode_texts(TEXTS, encoder=tiny, weights="random:4")
    assert not np.allclose(other, first, atol=1e-2)
    assert other_recipe.weights_sha256 != recipe.weights_sha256


def test_weights_from_a_file(tiny: str, tmp_path: Path) -> None:
    spec = ENCODERS[tiny]
    state = _build(spec, resolve("random:3", spec)).state_dict()
    path = tmp_path / "own.bin"
    safetensors.torch.save_file({**state, "context_length": torch.tensor(77)}, path)
    features, recipe = encode_texts(TEXTS, encoder=tiny, weights=str(path))
    np.testing.assert_array_equal(features, encode_texts(TEXTS, encoder=tiny, weights="random:3")[0])
    assert (recipe.weights, recipe.weights_random) == ("own.bin", False)
    assert recipe.weights_sha256 == file_sha256(path)
    del state["ln_final.weight"]
    safetensors.torch.save_file(state, path)
    with pytest.raises(WeightsError, match="1 missing: ln_final.weight"):
        encode_texts(TEXTS, encoder=tiny, weights=str(path))


def test_long_texts_are_listed_before_any_download() -> None:
    fits = " ".join(["ball"] * 75)
    with pytest.raises(ExtractError) as caught:
        encode_texts(["short", fits, fits + " ball", "ribbon " * 90])
    message = str(caught.value)
    assert "2 of 4 texts" in message and "text 2 (78 tokens): 'ball" in message and "text 3 (92 tokens)" in message
    assert not isinstance(caught.value, WeightsError)


def test_no_network_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAKE_MIRROR", "http://no-such-host.invalid")
    with pytest.raises(WeightsError, match="could not download the weights clip_vit_b16_openai.*--weights random"):
        encode_texts(["ball"])
    monkeypatch.setenv("LONGTAKE_OFFLINE", "1")
    with pytest.raises(WeightsError, match="LONGTAKE_OFFLINE"):
        encode_texts(["ball"])


def test_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ExtractError, match=r"need the package open_clip: python -m pip install 'longtake\[extract\]'"):
        encode_texts(["a jump"])


def test_wrong_arguments_are_refused() -> None:
    for texts, settings, message in (
        (["a"], {"encoder": "bert"}, "no text encoder is called 'bert'"),
        ([], {}, "one text or more"),
        ("ball", {}, "one text or more"),
    ):
        with pytest.raises(ExtractError, match=message):
            encode_texts(texts, **settings)


def test_encoders_agree_with_open_clip() -> None:
    import open_clip

    for name, spec in ENCODERS.items():
        assert weights.TABLE[spec.default_weights].backbone == name == spec.name
        if spec.library != "open_clip":
            continue
        config = open_clip.get_model_config(spec.model)
        assert spec.dim == config["embed_dim"]
        assert spec.context_length == config["text_cfg"]["context_length"]


def test_vifi_clip_takes_its_token_embeddings_from_clip(tiny, tmp_path, monkeypatch) -> None:
    """Its files hold both towers without the token embeddings, which are OpenAI's."""
    from longtake.extract.backbones import text_encoders as text

    clip = _build(ENCODERS["clip"], Weights("random:3", None, None, 3))
    state = {key: value.clone() for key, value in clip.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "clip.safetensors")
    tuned = {"prompt_learner.complete_text_embeddings": torch.zeros(4, 77, 32)}
    for key, value in state.items():
        if key.startswith("visual."):
            tuned["image_encoder." + key.removeprefix("visual.")] = value
        elif key == "logit_scale":
            tuned[key] = value
        elif key != "token_embedding.weight":
            tuned["text_encoder." + key] = value
    torch.save({"model": tuned}, tmp_path / "vifi.pth")
    openai = Weights("clip", tmp_path / "clip.safetensors", "0" * 64)
    monkeypatch.setattr(
        text, "resolve", lambda argument, spec, on_progress=None: openai if argument is None else _own(argument)
    )
    features, recipe = encode_texts(["a jump"], encoder="vifi-clip", weights=str(tmp_path / "vifi.pth"))
    expected, _ = encode_texts(["a jump"], encoder="clip", weights=str(tmp_path / "clip.safetensors"))
    np.testing.assert_array_equal(features, expected)
    assert recipe.encoder == "vifi-clip"


def _own(path: str):
    return Weights(Path(path).name, Path(path), "1" * 64)
