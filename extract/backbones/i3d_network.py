"""Inception I3D: Inception v1 inflated to three dimensions (Carreira and Zisserman, CVPR 2017, figure 3).

Modules have the names of the published state dicts. Padding follows TensorFlow's 'SAME', in which the trained
weights were made: it depends on the size of the input, and the odd row goes to the far side.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

Size3 = tuple[int, int, int]

# Channels out of the four branches of each Inception block: 1x1 | 1x1 -> 3x3 | 1x1 -> 3x3 | pool -> 1x1.
INCEPTION_BLOCKS: dict[str, tuple[int, int, int, int, int, int]] = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
POOL_BEFORE: dict[str, tuple[Size3, Size3]] = {
    "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}
"""Max pooling (kernel, stride) in front of a block. It has no weights, so it is not among the modules."""

# The converted TensorFlow weights were trained with this epsilon, not with PyTorch's 1e-5.
BATCH_NORM_EPSILON = 1e-3


def same_padding(size: tuple[int, ...], kernel: Size3, stride: Size3) -> tuple[int, int, int, int, int, int]:
    """TensorFlow's 'SAME' for `(time, height, width)`, in the order of `torch.nn.functional.pad` (last axis first)."""

    def both_sides(length: int, window: int, step: int) -> tuple[int, int]:
        num_outputs = -(-length // step)
        total = max(0, (num_outputs - 1) * step + window - length)
        return total // 2, total - total // 2

    time, height, width = (both_sides(*axis) for axis in zip(size, kernel, stride, strict=True))
    return (*width, *height, *time)


def max_pool_same(maps: torch.Tensor, kernel: Size3, stride: Size3) -> torch.Tensor:
    """Max pooling of `(batch, channels, time, height, width)` with 'SAME' padding by zeros.

    Zeros equal the minus infinity of TensorFlow here, as every map that is pooled comes out of a ReLU.
    """
    padding = same_padding(tuple(maps.shape[2:]), kernel, stride)
    if any(padding):
        maps = functional.pad(maps, padding)
    return functional.max_pool3d(maps, kernel, stride)


class Unit3D(nn.Module):
    """Convolution, batch normalisation, ReLU; or, for the classifier, a convolution with a bias alone."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: Size3, stride: Size3 = (1, 1, 1), *, classifier: bool = False
    ):
        super().__init__()
        self.conv3d = nn.Conv3d(in_channels, out_channels, kernel, stride, bias=classifier)
        self.classifier = classifier
        self.bn = None if classifier else nn.BatchNorm3d(out_channels, eps=BATCH_NORM_EPSILON, momentum=0.01)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        padding = same_padding(tuple(maps.shape[2:]), self.conv3d.kernel_size, self.conv3d.stride)
        near, far = padding[0::2], padding[1::2]
        conv = self.conv3d
        if near == far:  # the convolution pads by itself, which saves a copy of the map
            maps = functional.conv3d(maps, conv.weight, conv.bias, conv.stride, padding=tuple(reversed(near)))
        else:
            maps = conv(functional.pad(maps, padding))
        if self.classifier:
            return maps
        return functional.relu(maps if self.bn is None else self.bn(maps), inplace=True)


class InceptionBlock(nn.Module):
    """Four branches side by side, joined along the channels in the order b0, b1, b2, b3."""

    def __init__(self, in_channels: int, widths: tuple[int, int, int, int, int, int]):
        super().__init__()
        point, cube = (1, 1, 1), (3, 3, 3)
        self.b0 = Unit3D(in_channels, widths[0], point)
        self.b1a = Unit3D(in_channels, widths[1], point)
        self.b1b = Unit3D(widths[1], widths[2], cube)
        self.b2a = Unit3D(in_channels, widths[3], point)
        self.b2b = Unit3D(widths[3], widths[4], cube)
        self.b3b = Unit3D(in_channels, widths[5], point)
        self.out_channels = widths[0] + widths[2] + widths[4] + widths[5]

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        pooled = max_pool_same(maps, (3, 3, 3), (1, 1, 1))
        branches = [self.b0(maps), self.b1b(self.b1a(maps)), self.b2b(self.b2a(maps)), self.b3b(pooled)]
        return torch.cat(branches, dim=1)


class InceptionI3d(nn.Module):
    """The network. `in_channels` is 3 for RGB and 2 for optical flow."""

    def __init__(self, num_classes: int = 400, in_channels: int = 3):
        super().__init__()
        self.Conv3d_1a_7x7 = Unit3D(in_channels, 64, (7, 7, 7), (2, 2, 2))
        self.Conv3d_2b_1x1 = Unit3D(64, 64, (1, 1, 1))
        self.Conv3d_2c_3x3 = Unit3D(64, 192, (3, 3, 3))
        channels = 192
        for name, widths in INCEPTION_BLOCKS.items():
            block = InceptionBlock(channels, widths)
            self.add_module(name, block)
            channels = block.out_channels
        self.block_names = tuple(name for name, _ in self.named_children())
        self.logits = Unit3D(channels, num_classes, (1, 1, 1), classifier=True)

    def maps(self, pictures: torch.Tensor) -> torch.Tensor:
        """`(batch, channels, time, height, width)` in [-1, 1] -> `Mixed_5c`, `(batch, 1024, t / 8, h / 32, w / 32)`."""
        maps = pictures
        for name in self.block_names:
            if name in POOL_BEFORE:
                maps = max_pool_same(maps, *POOL_BEFORE[name])
            maps = self.get_submodule(name)(maps)
        return maps

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """`(batch, 1024)` float32: the last map averaged over time and space."""
        return self.maps(pictures).float().mean(dim=(2, 3, 4))

    def window_features(self, pictures: torch.Tensor) -> torch.Tensor:
        """`(batch, 1024)` float32: the mean of windows of 2x7x7 of the last map, as kinetics_i3d_pytorch has it. Equal to `features` for 16 frames
        of 224x224; in longer clips the first and the last map count half. Needs 9 frames of 193 pixels."""
        return functional.avg_pool3d(self.maps(pictures).float(), (2, 7, 7), stride=1).mean(dim=(2, 3, 4))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Class logits `(batch, classes, time)` of windows of 2x7x7 of the last map; needs 9 frames of 193 pixels."""
        pooled = functional.avg_pool3d(self.maps(pictures).float(), (2, 7, 7), stride=1)
        return self.logits(pooled).squeeze(4).squeeze(3)


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """A copy for inference, each batch normalisation multiplied into its convolution: 0.7 of the time on a CPU.

    The features change by about 1e-7 of their norm. Channels are last in memory, as in the pictures.
    """
    folded = copy.deepcopy(network).eval()
    for unit in folded.modules():
        if isinstance(unit, Unit3D) and unit.bn is not None:
            unit.conv3d = fuse_conv_bn_eval(unit.conv3d, unit.bn)
            unit.bn = None
    return folded.to(memory_format=torch.channels_last_3d)


def init_he(network: nn.Module, generator: torch.Generator) -> None:
    """He's normal initialisation by fan-in, batch normalisation as the identity: activations keep their scale."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
