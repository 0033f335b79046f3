"""Names of their own for models of transformers: each is a line, an alias of `hf/REPO` with its source and licence.

Numbers and preprocessing are those of the repository, at a commit that the recipe names; so these backbones need the repository, even with
random weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from longtake.extract.backbones.families import family_spec
from longtake.extract.backbones.spec import BackboneSpec


@dataclass(frozen=True)
class Alias:
    """A model of transformers with a name of its own."""

    repo: str
    title: str
    modality: str
    licence: str
    """As the repository states it."""
    citation: str


ALIASES: dict[str, Alias] = {
    "videomae": Alias("MCG-NJU/videomae-base", "VideoMAE-B", "video", "CC-BY-NC-4.0", "Tong et al., NeurIPS 2022, arXiv:2203.12602"),
    "videomae-k400": Alias("MCG-NJU/videomae-base-finetuned-kinetics", "VideoMAE-B, fine-tuned on Kinetics-400", "video", "CC-BY-NC-4.0",
                           "Tong et al., NeurIPS 2022, arXiv:2203.12602"),
    "vivit": Alias("google/vivit-b-16x2-kinetics400", "ViViT-B/16x2", "video", "MIT", "Arnab et al., ICCV 2021, arXiv:2103.15691"),
    "vjepa2": Alias("facebook/vjepa2-vitl-fpc64-256", "V-JEPA 2 ViT-L", "video", "MIT", "Assran et al., 2025, arXiv:2506.09985"),
    "xclip": Alias("microsoft/xclip-base-patch32", "X-CLIP-B/32", "video", "MIT", "Ni et al., ECCV 2022, arXiv:2208.02816"),
    "siglip2": Alias("google/siglip2-base-patch16-224", "SigLIP 2 B/16 (frames)", "image", "Apache-2.0", "Tschannen et al., 2025, arXiv:2502.14786"),
    "dinov2": Alias("facebook/dinov2-base", "DINOv2 ViT-B/14 (frames)", "image", "Apache-2.0", "Oquab et al., TMLR 2024, arXiv:2304.07193"),
    "dinov3": Alias("facebook/dinov3-vitb16-pretrain-lvd1689m", "DINOv3 ViT-B/16 (frames)", "image", "DINOv3 License, to be accepted first",
                    "Siméoni et al., 2025, arXiv:2508.10104"),
    "clap": Alias("laion/clap-htsat-unfused", "CLAP (sound)", "audio", "Apache-2.0", "Wu et al., ICASSP 2023, arXiv:2211.06687"),
    "whisper": Alias("openai/whisper-base", "Whisper base, its encoder (sound)", "audio", "Apache-2.0", "Radford et al., ICML 2023, arXiv:2212.04356"),
    "hubert": Alias("facebook/hubert-base-ls960", "HuBERT base (sound)", "audio", "Apache-2.0", "Hsu et al., 2021, arXiv:2106.07447"),
    "wavlm": Alias("microsoft/wavlm-base-plus", "WavLM base+ (sound)", "audio", "CC-BY-SA-3.0", "Chen et al., 2022, arXiv:2110.13900"),
    "music2vec": Alias("m-a-p/music2vec-v1", "music2vec (sound)", "audio", "CC-BY-NC-4.0", "Li et al., 2022, arXiv:2212.02508"),
}  # fmt: skip
"""Name -> the repository. Networks whose repositories need code of their own, such as MERT and InternVideo 2, are not among them."""


def alias_spec(name: str) -> BackboneSpec:
    """The spec of a name of `ALIASES`, from its repository. `WeightsError` if that cannot be reached."""
    alias = ALIASES[name]
    return replace(family_spec(f"hf/{alias.repo}"), name=name, title=alias.title, citation=alias.citation)
