"""Texts to features, by the text towers of image-language models. One row per text, as the encoder gives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from longtake.errors import there_are
from longtake.extract.backbones import blip
from longtake.extract.backbones.download import Progress
from longtake.extract.backbones.openai_clip import MODEL, NAMES, as_open_clip
from longtake.extract.backbones.spec import TextEncoderSpec
from longtake.extract.backbones.state_dict import check_state, load_state, renamed, state_sha256
from longtake.extract.backbones.weights import Weights, resolve
from longtake.extract.errors import ExtractError
from longtake.packages import needs

if TYPE_CHECKING:
    import numpy as np
    import open_clip

    from longtake.features.types import TextHeader


ENCODERS: dict[str, TextEncoderSpec] = {
    "clip": TextEncoderSpec("clip", MODEL, 512, 77, "clip_vit_b16_openai"),
    "vifi-clip": TextEncoderSpec("vifi-clip", MODEL, 512, 77, "vifi_clip_k400"),
    "blip": blip.TEXT,
}
TOKENS = "token_embedding.weight"
BATCH_TEXTS = 64


def encode_texts(
    texts: Sequence[str],
    *,
    encoder: str = "clip",
    weights: str | None = None,
    on_progress: Progress | None = None,
) -> tuple[np.ndarray, TextHeader]:
    """Features float32 `(texts, dim)`, not normalised, and everything that decides them.

    `weights` is what `--weights` takes, see `longtake.extract.backbones.weights.resolve`; `on_progress` reports a download. `ExtractError`
    for an unknown encoder and for texts that the encoder would cut; `WeightsError` if the weights are not available.
    """
    if encoder not in ENCODERS:
        raise ExtractError(f"no text encoder is called {encoder!r}{there_are(encoder, ENCODERS)}")
    if isinstance(texts, str) or not texts:
        raise ExtractError("encode_texts takes a sequence of one text or more")
    spec = ENCODERS[encoder]
    with needs(
        lambda name: ExtractError(f"text encoders need the package {name}: python -m pip install 'longtake[extract]'")
    ):
        import torch

        if spec.library == "transformers":
            import transformers
        else:
            import open_clip
    from longtake.features.types import TextHeader

    # Before the download of weights and the network, since this check is quick.
    if spec.library == "transformers":
        words = blip.tokenize(texts, on_progress)
        _check_lengths(texts, [len(row) for row in words], spec)
        chosen = resolve(weights, spec, on_progress=on_progress)
        tower = blip.text_tower(chosen)
        rows = [blip.encode(tower, words[at : at + BATCH_TEXTS]) for at in range(0, len(words), BATCH_TEXTS)]
        library = f"transformers {transformers.__version__}, {spec.model}"
    else:
        tokenizer = open_clip.get_tokenizer(spec.model)
        ends = 2  # the start and the end of the text
        _check_lengths(texts, [len(tokenizer.encode(text)) + ends for text in texts], spec)
        chosen = resolve(weights, spec, on_progress=on_progress)
        tower = _build(spec, chosen)
        tokens = tokenizer(list(texts), context_length=spec.context_length)
        with torch.inference_mode():
            rows = [tower.encode_text(batch, normalize=False).float() for batch in tokens.split(BATCH_TEXTS)]
        library = f"open_clip {open_clip.__version__}, {spec.model}"
    features = torch.cat(rows).numpy()
    header = TextHeader(
        spec.name, features.shape[1], chosen.name, chosen.sha256 or state_sha256(tower.state_dict()), chosen.is_random,
        library=library,
    )  # fmt: skip
    return features, header


def _check_lengths(texts: Sequence[str], lengths: Sequence[int], spec: TextEncoderSpec) -> None:
    too_long = [
        f"text {index} ({num_tokens} tokens): {text!r}"
        for index, (text, num_tokens) in enumerate(zip(texts, lengths))
        if num_tokens > spec.context_length
    ]
    if too_long:
        raise ExtractError(
            f"{spec.name} reads {spec.context_length} tokens and would cut {len(too_long)} of {len(texts)} texts; "
            "shorten:\n" + "\n".join(too_long)
        )


def _build(spec: TextEncoderSpec, weights: Weights) -> open_clip.CLIP:
    """The model in evaluation mode on the CPU. open_clip.create_model would log that it starts from random weights."""
    import open_clip
    import torch

    config = open_clip.get_model_config(spec.model)
    with torch.random.fork_rng(devices=[]):  # open_clip initialises from torch's global generator
        torch.manual_seed(weights.seed or 0)
        model = open_clip.CLIP(**config)
    if weights.path is not None:
        state = as_open_clip(renamed(load_state(weights.path), NAMES))
        if spec.name == "vifi-clip" and TOKENS not in state:
            # ViFi-CLIP keeps OpenAI's token embeddings and leaves them out of its files.
            openai = resolve(None, ENCODERS["clip"]).path
            assert openai is not None, "registered weights are files"
            state[TOKENS] = load_state(openai)[TOKENS]
        check_state(model.state_dict(), state, what=f"the text encoder {spec.name} ({spec.model})")
        model.load_state_dict(state)
    return model.eval().requires_grad_(False)
