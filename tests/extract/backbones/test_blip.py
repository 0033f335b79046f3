"""BLIP's two towers take published weights, and give what transformers' own processor, tokenizer and forward give. Weights are random."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.extract.backbones import blip, build, get_spec
from longtake.extract.backbones.state_dict import state_sha256
from longtake.extract.backbones.text_encoders import encode_texts
from longtake.extract.backbones.weights import Weights
from longtake.extract.decode.scale import Scaler, rgb_frame
from longtake.extract.errors import ExtractError, WeightsError

TEXTS = ["a video of a Figure skating with poor performance", "ball", "élégant, jump!"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "video", "of", "figure", "skat", "##ing", "with", "poor",
         "performance", "ball", "elegant", ",", "jump", "!"]  # fmt: skip


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Towers of two narrow layers, and a short list of words in the place of the download."""
    import transformers

    for name in ("BlipTextConfig", "BlipVisionConfig"):
        config = getattr(transformers, name)
        sizes = {"hidden_size": 24, "num_hidden_layers": 2, "intermediate_size": 48}
        if name == "BlipTextConfig":
            sizes["encoder_hidden_size"] = 24
        monkeypatch.setattr(transformers, name, lambda config=config, sizes=sizes, **given: config(
            **given, **sizes, **({} if "num_attention_heads" in given else {"num_attention_heads": 2})))  # fmt: skip
    words = tmp_path / "words.txt"
    words.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    monkeypatch.setattr(blip, "fetch", lambda entry, on_progress: words)
    return words


def whole_model():
    """The published model, with both towers and their heads."""
    from transformers import BlipConfig, BlipForImageTextRetrieval, BlipTextConfig, BlipVisionConfig

    torch.manual_seed(0)
    text, vision = BlipTextConfig(num_attention_heads=12), BlipVisionConfig(image_size=384, initializer_range=0.02)
    config = BlipConfig(text_config=text.to_dict(), vision_config=vision.to_dict())
    return BlipForImageTextRetrieval(config).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_pictures_are_those_of_the_library(tiny, dtype) -> None:
    from transformers import BlipImageProcessorPil

    model = whole_model().to(dtype)
    backbone = build(replace(get_spec("blip"), dim=24), precision=str(dtype).removeprefix("torch."))
    backbone.load_weights({name: value.float() for name, value in model.state_dict().items()})
    picture = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8).repeat(3, 0).repeat(3, 1)
    pixels = BlipImageProcessorPil()(picture, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        expected = model.vision_model(pixels.to(dtype)).last_hidden_state[:, 0]
    scaled = Scaler().picture(rgb_frame(picture), backbone.spec.frames)
    found = backbone.forward(torch.from_numpy(scaled.copy())[None, None])
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(found, expected.float(), rtol=tolerance, atol=tolerance)


def test_texts_are_those_of_the_library(tiny, tmp_path) -> None:
    from transformers import BertTokenizer

    model = whole_model()
    torch.save(model.state_dict(), tmp_path / "blip.bin")
    features, header = encode_texts(TEXTS, encoder="blip", weights=str(tmp_path / "blip.bin"))
    given = BertTokenizer(str(tiny))(TEXTS, padding=True, return_tensors="pt")
    assert blip.tokenize(TEXTS)[0] == given["input_ids"][0].tolist() == [2, 5, 6, 7, 5, 8, 9, 10, 11, 12, 13, 3]
    with torch.inference_mode():
        out = model.text_encoder(input_ids=given["input_ids"], attention_mask=given["attention_mask"])
    np.testing.assert_allclose(features, out.last_hidden_state[:, 0].numpy(), rtol=1e-4, atol=2e-5)
    assert header.encoder == "blip" and header.weights == "blip.bin"
    assert header.library.startswith("transformers ") and header.library.endswith("Salesforce/blip-itm-base-coco")
    alone, _ = encode_texts(TEXTS[1:2], encoder="blip", weights=str(tmp_path / "blip.bin"))
    np.testing.assert_allclose(alone[0], features[1], rtol=1e-4, atol=2e-5)


def test_the_seed_decides_and_one_text_more_changes_nothing(tiny) -> None:
    first, header = encode_texts(TEXTS, encoder="blip", weights="random:3")
    again, same = encode_texts(TEXTS, encoder="blip", weights="random:3")
    np.testing.assert_array_equal(first, again)
    assert header == same and not np.allclose(first[0], first[1])
    assert not np.allclose(encode_texts(TEXTS, encoder="blip", weights="random:4")[0], first)


def test_long_texts_and_wrong_files_are_refused(tiny, tmp_path) -> None:
    with pytest.raises(ExtractError, match="text 1 \\(602 tokens\\)"):
        encode_texts(["ball", "ball " * 600], encoder="blip", weights="random")
    state = blip.text_tower(Weights("random:0", None, None, 0)).state_dict()
    state.pop("encoder.layer.0.output.dense.bias")
    torch.save(state, tmp_path / "blip.bin")
    with pytest.raises(WeightsError, match="1 missing: encoder.layer.0.output.dense.bias"):
        encode_texts(TEXTS, encoder="blip", weights=str(tmp_path / "blip.bin"))
    tiny.write_text("ball\n")
    with pytest.raises(WeightsError, match="is not BLIP's list of words"):
        encode_texts(TEXTS, encoder="blip", weights="random")


def test_the_list_of_words_is_asked_for_by_name(monkeypatch) -> None:
    monkeypatch.setenv("LONGTAKE_OFFLINE", "1")
    with pytest.raises(WeightsError, match="blip_vocabulary"):
        encode_texts(TEXTS, encoder="blip", weights="random")


@pytest.mark.slow
def test_the_towers_have_the_published_sizes() -> None:
    model = whole_model()
    pictures, texts = build("blip"), blip.text_tower(Weights("random:0", None, None, 0))
    pictures.load_weights(model.state_dict())
    assert state_sha256(pictures.state_dict()) == state_sha256(model.vision_model.state_dict())
    assert set(texts.state_dict()) == set(model.text_encoder.state_dict())
    assert sum(value.numel() for value in texts.parameters()) == sum(p.numel() for p in model.text_encoder.parameters())
