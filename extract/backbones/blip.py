"""BLIP (Li et al., ICML 2022): the tower of pictures on frames, and the tower of texts, of transformers, with the weights for retrieval.

The features of pictures are the class token after the last LayerNorm, averaged over the frames of a clip; those of texts are the first
token of the last layer. Both have 768 values. The published model compares them after projections to 256.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from longtake.extract.backbones.download import Progress, fetch
from longtake.extract.backbones.openai_clip import CLIP
from longtake.extract.backbones.spec import BackboneSpec, NameRule, Network, TextEncoderSpec
from longtake.extract.backbones.state_dict import check_state, load_state, renamed
from longtake.extract.backbones.weights import Weights, find_entry
from longtake.extract.errors import WeightsError
from longtake.extract.preprocessing import PILLOW_BICUBIC, ClipRule, FrameRule

if TYPE_CHECKING:
    import torch
    from torch import nn

assert isinstance(CLIP.frames, FrameRule)
SPEC = BackboneSpec(
    name="blip",
    title="BLIP ViT-B/16 (frames)",
    modality="image",
    dim=768,
    frames=FrameRule(384, 384, 384, CLIP.frames.mean, CLIP.frames.std, resize=PILLOW_BICUBIC, squash=True),
    clips=ClipRule(length=1, stride=1, tail="pad", fps=None),
    default_weights="blip_itm_base_coco",
    citation="Li et al., BLIP: Bootstrapping Language-Image Pre-training, ICML 2022, arXiv:2201.12086",
    batch_size=4,
    openvino=True,
)
TEXT = TextEncoderSpec("blip", "Salesforce/blip-itm-base-coco", 768, 512, "blip_itm_base_coco", library="transformers")
VOCABULARY = "blip_vocabulary"
NUM_TOKENS = 30_524
_OTHERS: NameRule = (r"^(text_decoder|text_proj|vision_proj|itm_head)\.|embeddings\.position_ids$", None)
"""Parts of published files that neither tower needs."""
PICTURE_NAMES: Sequence[NameRule] = (_OTHERS, (r"^text_encoder\.", None), (r"^vision_model\.", ""))
TEXT_NAMES: Sequence[NameRule] = (_OTHERS, (r"^vision_model\.", None), (r"^text_encoder\.", ""))


def build(spec: BackboneSpec) -> Network:
    """The tower of pictures without weights."""
    from transformers import BlipVisionConfig, BlipVisionModel

    from longtake.extract.backbones.frozen import flatten_frames, mean_over_frames

    # Random weights of the library's own spread, 1e-10, would give all pictures the same features.
    config = BlipVisionConfig(image_size=384, initializer_range=0.02)

    def features(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
        # `pooler_output` would apply the last LayerNorm a second time.
        tokens = network(pixel_values=flatten_frames(pictures)).last_hidden_state
        return mean_over_frames(tokens[:, 0], len(pictures))

    return Network(lambda num_classes: BlipVisionModel(config), features=features, names=PICTURE_NAMES)


def text_tower(weights: Weights) -> nn.Module:
    """The tower of texts in evaluation mode on the CPU. `WeightsError` for weights that do not fit."""
    import torch
    from transformers import BlipTextConfig, BlipTextModel

    config = BlipTextConfig(num_attention_heads=12)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(weights.seed or 0)
        model = BlipTextModel(config, add_pooling_layer=False)
    if weights.path is not None:
        state = renamed(load_state(weights.path), TEXT_NAMES)
        check_state(model.state_dict(), state, what=f"the text encoder {TEXT.name} ({TEXT.model})")
        model.load_state_dict(state)
    return model.eval().requires_grad_(False)


def encode(model: nn.Module, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
    """Token numbers of texts -> float32 `(texts, 768)`, not normalised. Shorter texts are padded and masked."""
    import torch

    longest = max(map(len, tokens))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in tokens])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in tokens])
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
    return found.float()


def tokenize(texts: Sequence[str], on_progress: Progress | None = None) -> list[list[int]]:
    """The token numbers of each text, with the first and the last token. `WeightsError` if the list of word pieces has to be downloaded
    and cannot be, or is damaged."""
    from tokenizers import BertWordPieceTokenizer

    path = fetch(find_entry(VOCABULARY), on_progress)
    try:
        words = path.read_text(encoding="utf-8").split("\n")
    except ValueError as error:
        raise WeightsError(f"{path} is not a list of words in UTF-8") from error
    vocabulary = {word: index for index, word in enumerate(words) if word}
    missing = [word for word in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if word not in vocabulary]
    if missing or len(vocabulary) > NUM_TOKENS:
        raise WeightsError(f"{path} is not BLIP's list of words: {len(vocabulary)} words, without {', '.join(missing)}")
    pieces = BertWordPieceTokenizer(vocabulary, lowercase=True)
    return [found.ids for found in pieces.encode_batch(list(texts))]
