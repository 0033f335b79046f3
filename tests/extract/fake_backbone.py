"""A backbone without a network: its features are the numbers of the frames it was given. Run as a script, it is `extract`
with this backbone in the table, for tests that have to kill a process."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace

from longtake.extract import backbones
from longtake.extract.backbones.spec import BackboneSpec
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


class Numbers:
    """float32 `(batch, 4)`: mean brightness of the first, second, third and last picture of each clip."""

    spec = SPEC
    seconds_per_batch = 0.0

    def __init__(self) -> None:
        import torch

        self.device = torch.device("cpu")

    def load_weights(self, state: dict) -> None:
        raise AssertionError("it has none")

    def init_random(self, seed: int) -> None:
        pass

    def state_dict(self) -> dict:
        import torch

        return {"none": torch.zeros(1)}

    def forward(self, clips):
        time.sleep(self.seconds_per_batch)
        return clips.float().mean(dim=(2, 3, 4))[:, [0, 1, 2, -1]]

    def classify(self, clips):
        return None


def build(spec: BackboneSpec, *, precision: str, device: str) -> Numbers:
    return Numbers()


def install(seconds_per_batch: float = 0.0, **changes: object) -> None:
    backbones.TABLE[NAME] = f"{__name__}:SPEC"
    Numbers.seconds_per_batch = seconds_per_batch
    globals()["SPEC"] = replace(SPEC, **changes)
    Numbers.spec = globals()["SPEC"]


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
