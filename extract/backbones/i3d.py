"""Inception I3D on RGB and on optical flow: specs, and how the network (extract/backbones/i3d_network.py) is used.

The features are the last map, `Mixed_5c`, averaged over time and space: 1024 values per clip. Carreira and Zisserman,
"Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from longtake.extract.backbones.spec import BackboneSpec, NameRule, Network
from longtake.extract.backbones.state_dict import renamed
from longtake.extract.preprocessing import ClipRule, FrameRule

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

RGB = BackboneSpec(
    name="i3d",
    title="Inception I3D (RGB)",
    modality="video",
    dim=1024,
    # (value - 127.5) / 127.5 puts 8-bit RGB into [-1, 1], the range the weights were trained on.
    frames=FrameRule(short_side=256, crop_height=224, crop_width=224, mean=(127.5,) * 3, std=(127.5,) * 3),
    clips=ClipRule(length=16, stride=16, tail="pad", fps=None),
    default_weights="i3d_rgb_imagenet",
    citation="Carreira and Zisserman, Quo Vadis, Action Recognition? CVPR 2017, arXiv:1705.07750",
    batch_size=8,
    bfloat16_error=0.006,
    openvino=True,
    num_classes=400,
)
FLOW = replace(
    RGB,
    name="i3d-flow",
    title="Inception I3D (optical flow; DIS in place of TV-L1)",
    # Flow is computed between pictures as they are: nothing is subtracted or divided.
    frames=FrameRule(short_side=256, crop_height=224, crop_width=224, mean=(0.0,) * 3, std=(1.0,) * 3),
    default_weights="i3d_flow_imagenet",
    openvino=False,  # OpenCV computes the flow
)

FROM_KINETICS_I3D: Sequence[NameRule] = (
    (r"^conv3d_0c_1x1\.", "logits."),
    (r"^(conv3d|mixed)_(?=\d[a-z])", lambda m: f"{m[1].capitalize()}_"),
    (r"\.batch3d\.", ".bn."),
    (r"\.branch_0\.", ".b0."),
    (r"\.branch_([12])\.([01])\.", lambda m: f".b{m[1]}{'ab'[int(m[2])]}."),
    (r"\.branch_3\.1\.", ".b3b."),
)
"""Names of kinetics_i3d_pytorch, whose files the most used extractors ship as `i3d_rgb.pt` and `i3d_flow.pt`, to those of pytorch-i3d."""

KINETICS_I3D_EPSILON = 1e-5

FLOW_BOUND = 20.0
"""Pixels per frame at which flow is clipped, as for the published weights; then it is divided by the same number."""


def build(spec: BackboneSpec) -> Network:
    """The network without weights. See `longtake.extract.backbones.build` for the settings.

    `precision="bfloat16"` runs weights and maps in bfloat16 and averages in float32; features differ from float32 by
    0.2 to 0.4% (relative, L2), measured on a CPU with two sets of random weights.
    """
    from longtake.extract.backbones.frozen import last_map
    from longtake.extract.backbones.i3d_network import InceptionI3d, fold_batch_norms, init_he

    channels = 3 if spec.name == RGB.name else 2
    as_input: Callable[[torch.Tensor], torch.Tensor] = (lambda pictures: pictures) if channels == 3 else optical_flow
    return Network(
        lambda num_classes: InceptionI3d(num_classes, in_channels=channels),
        features=lambda network, pictures: network.features(as_input(pictures)),
        # The last map of a clip of 16 frames is 2 long; smaller maps are averaged whole.
        logits=lambda network, features: network.logits(features[:, :, None, None, None]).flatten(1),
        classifier="logits.conv3d.weight",
        convert=from_kinetics_i3d,
        tokens=lambda network, pictures, layers: [last_map(network.maps(as_input(pictures)), layers)],
        prepare=fold_batch_norms,
        initialise=init_he,
    )


def from_kinetics_i3d(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of kinetics_i3d_pytorch for our network; others stay as they are.

    The extractors that ship this layout add 1e-5 to the variances, PyTorch's default, where TensorFlow and pytorch-i3d add 1e-3: the features
    of the same weights differ by 0.1%. The difference is put into the variances, so that each layout gives the features published with it.
    """
    from longtake.extract.backbones.i3d_network import BATCH_NORM_EPSILON

    found = renamed(state, FROM_KINETICS_I3D)
    if any(".batch3d." in name for name in state):
        missing = KINETICS_I3D_EPSILON - BATCH_NORM_EPSILON
        found = {name: value + missing if name.endswith(".running_var") else value for name, value in found.items()}
    return found


def optical_flow(pictures: torch.Tensor) -> torch.Tensor:
    """RGB `(batch, 3, length, height, width)` of 0 to 255 -> flow `(batch, 2, length, height, width)` in [-1, 1].

    From each picture to the next, the last one repeated, by OpenCV's Dense Inverse Search (Kroeger et al., ECCV 2016), its medium
    preset. The published weights saw TV-L1, which OpenCV's main package does not have; DIS replaces it, so features
    differ from those of TV-L1.
    """
    import cv2
    import numpy as np
    import torch

    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    frames = pictures.float().permute(0, 2, 3, 4, 1).round().to(torch.uint8).cpu().numpy()
    found = np.zeros((*frames.shape[:-1], 2), np.float32)
    for clip, flows in zip(frames, found):
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in np.ascontiguousarray(clip)]
        for index, (first, second) in enumerate(zip(grey, grey[1:])):
            flows[index] = search.calc(first, second, None)
        if len(grey) > 1:
            flows[-1] = flows[-2]
    flow = torch.from_numpy(found).clamp_(-FLOW_BOUND, FLOW_BOUND).div_(FLOW_BOUND)
    return flow.permute(0, 4, 1, 2, 3).to(pictures)
