"""Google's speech embedding (Lin et al., Training Keyword Spotters with Limited and Synthesized Speech Data, ICASSP 2020, arXiv:2002.01322) in
torch, with the weights that the package openwakeword has inside: a sound network whose weights come with pip.

It sees windows of 0.76 s every 0.08 s of 32 mel bands. The features are the mean of its windows: 96 values. A clip shorter than a window ends in
silence. It was trained on speech; of music and noise it says less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from longtake.extract.backbones.spec import BackboneSpec, NameRule, Network
from longtake.extract.preprocessing import ClipRule, SoundRule

if TYPE_CHECKING:
    import torch

SAMPLE_RATE = 16_000
LONGEST_SECONDS = 30

SPEC = BackboneSpec(
    name="speech-embedding",
    title="Google's speech embedding (sound)",
    modality="audio",
    dim=96,
    frames=SoundRule(SAMPLE_RATE, mel_bins=1, num_frames=LONGEST_SECONDS * SAMPLE_RATE, mean=0.0, std=1.0, banks="none"),
    clips=ClipRule(32, 32, "centre", fps=None),
    default_weights="speech_embedding_openwakeword",
    citation="Lin et al., Training Keyword Spotters with Limited and Synthesized Speech Data, ICASSP 2020, arXiv:2002.01322",
)  # fmt: skip

NAMES: Sequence[NameRule] = (
    (r"^const_fold_opt__\d+$", None),
    (r"^model/conv2d/.*/ReadVariableOp:0$", "convs.0.weight"),
    (r"^model/conv2d_19/.*/?ReadVariableOp:0$", "convs.19.weight"),
    (r"^model/conv2d_(\d+)/Conv2D_(weight|bias)s?_fused_bn$", r"convs.\1.\2"),
    (r"^model/batch_normalization/ReadVariableOp:0$", "norm.weight"),
    (r"^model/batch_normalization/ReadVariableOp_1:0$", "norm.bias"),
    (r"^model/batch_normalization/FusedBatchNormV3/ReadVariableOp:0$", "norm.running_mean"),
    (r"^model/batch_normalization/FusedBatchNormV3/ReadVariableOp_1:0$", "norm.running_var"),
)
"""Names of openwakeword's file, whose batch normalisations are folded into the convolutions but for the first."""


def build(spec: BackboneSpec) -> Network:
    """The network without weights."""
    from longtake.extract.backbones.speech_embedding_network import SpeechEmbedding, windows

    def features(network: torch.nn.Module, samples: torch.Tensor) -> torch.Tensor:
        import torch

        # One clip at a time: they differ in length, and the loudest moment of each sets its floor.
        return torch.stack([network(windows(one[~one.isnan()])).float().mean(0) for one in samples[:, :, 0]])

    return Network(lambda num_classes: SpeechEmbedding(), features=features, names=NAMES)
