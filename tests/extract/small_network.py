"""A backbone of one convolution that OpenVINO may run. Importing it does not import torch, as for the backbones of the table.

Run as a script, it is `extract` with this backbone, and says at last which large packages were imported.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from longtake.extract import backbones
from longtake.extract.backbones import i3d
from longtake.extract.backbones.spec import BackboneSpec, Network
from longtake.extract.preprocessing import ClipRule, FrameRule

NAME = "small"
SPEC = replace(
    i3d.RGB, name=NAME, title="One convolution (a test's)", dim=4, frames=FrameRule(32, 32, 32, (127.5,) * 3, (127.5,) * 3),
    clips=ClipRule(4, 4, "pad"), batch_size=3, num_classes=0,
)  # fmt: skip


def build(spec: BackboneSpec) -> Network:
    import torch

    return Network(
        lambda num_classes: torch.nn.Conv3d(3, 4, 3),
        features=lambda network, pictures: network(pictures).relu().mean(dim=(2, 3, 4)),
    )


def install() -> None:
    backbones.TABLE[NAME] = "tests.extract.small_network:SPEC"


if __name__ == "__main__":
    from longtake.extract.cli import main

    install()
    try:
        main(sys.argv[1:])
    finally:
        print("imported", *({"torch", "torchvision", "transformers", "timm", "openvino"} & sys.modules.keys()))
