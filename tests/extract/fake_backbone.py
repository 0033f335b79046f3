"""A backbone without a network: its features are the numbers of the frames it was given. Run as a script, it is `extract`
with this backbone in the table, for tests that have to kill a process."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace

import torch

from longtake.extract import backbones
from longtake.extract.backbones.spec import BackboneSpec, Network
from longtake.extract.pipeline import reader as reading
from longtake.extract.preprocessing import ClipRule, FrameRule
from tests.extract.media import HEIGHT

NAME = "numbers"
SPEC = BackboneSpec(
    name=NAME,
    title="Numbers of the frames (a test's)",
    modality="video",
    dim=4,
    # The whole height, and a middle part of the width: too narrow to read a number, so tests that do set their own rule.
    frames=FrameRule(HEIGHT, HEIGHT, HEIGHT, (0.0,) * 3, (1.0,) * 3),
    clips=ClipRule(4, 4, "pad"),
    default_weights="none",
    citation="none",
    batch_size=3,
)


class Numbers(torch.nn.Module):
    """float32 `(batch, 4)`: mean brightness of the first, second, third and last picture of each clip."""

    seconds_per_batch = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("none", torch.zeros(1))

    def forward(self, clips):
        """Pictures `(batch, length, height, width, 3)`."""
        time.sleep(self.seconds_per_batch)
        return clips.float().mean(dim=(2, 3, 4))[:, [0, 1, 2, -1]]


def build(spec: BackboneSpec) -> Network:
    return Network(
        lambda num_classes: Numbers(),
        features=lambda network, pictures: network.forward(pictures.permute(0, 2, 3, 4, 1)),
    )


def install(seconds_per_batch: float = 0.0, **changes: object) -> None:
    backbones.TABLE[NAME] = f"{__name__}:SPEC"
    Numbers.seconds_per_batch = seconds_per_batch
    globals()["SPEC"] = replace(SPEC, **changes)


def die_over(video_id: str) -> None:
    """Make this process die at that video, as if its decoder had crashed."""
    find_video = reading.find_video

    def find_or_die(row, *arguments):
        if row.video_id == video_id:
            os.kill(os.getpid(), signal.SIGKILL)
        return find_video(row, *arguments)

    reading.find_video = find_or_die


# The second name is what a spawned worker process gives the script that it was spawned from.
if __name__ in ("__main__", "__mp_main__"):
    from tests.extract import fake_backbone  # the importable one, not __main__

    fake_backbone.install(seconds_per_batch=float(sys.argv[1]))
    if __name__ == "__mp_main__":
        die_over("deadly")
    else:
        from longtake.extract.cli import main

        main(sys.argv[2:])
