"""Show the likeliest classes of a few clips by the backbone's own classifier: a quick check of weights and preprocessing."""

from __future__ import annotations

import numpy as np
import torch

from longtake.extract.clips import Clip
from longtake.extract.plan.settle import Extractor
from longtake.terminal import echo

CLIPS_OF_A_VIDEO, VIDEOS, TOP = 2, 3, 5


class TopClasses:
    """Prints the likeliest classes of the first clips of the first videos, for each backbone that has a classifier."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, str], int] = {}
        self._silent: set[str] = set()

    def __call__(self, extractor: Extractor, clips: list[tuple[str, Clip]], inputs: np.ndarray) -> None:
        name = extractor.spec.name
        if name in self._silent:
            return
        wanted = [i for i, (video_id, _) in enumerate(clips) if self._wants(name, video_id)]
        if not wanted:
            return
        logits = extractor.backbone.classify(torch.from_numpy(inputs))
        if logits is None:
            self._silent.add(name)
            echo(f"{name}: these weights have no classifier, so there are no classes to show", err=True)
            return
        for index in wanted:
            video_id, clip = clips[index]
            shares = logits[index].softmax(-1)
            best = ", ".join(
                f"{class_name(extractor.spec.num_classes, len(shares), int(i))} {float(shares[i]):.2f}"
                for i in shares.topk(min(TOP, len(shares))).indices
            )
            echo(f"{name}, {video_id}, {clip.start_seconds:.1f}-{clip.end_seconds:.1f} s: {best}", err=True)

    def _wants(self, name: str, video_id: str) -> bool:
        videos = [video for backbone, video in self._shown if backbone == name]
        if video_id not in videos and len(videos) == VIDEOS:
            return False
        count = self._shown[name, video_id] = self._shown.get((name, video_id), 0) + 1
        return count <= CLIPS_OF_A_VIDEO


def class_name(published: int, found: int, index: int) -> str:
    """Name by torchvision's lists of Kinetics-400 and ImageNet, whose order all published weights share; else a number."""
    from torchvision.models import ResNet50_Weights
    from torchvision.models.video import Swin3D_T_Weights

    tables = {400: Swin3D_T_Weights.KINETICS400_V1, 1000: ResNet50_Weights.IMAGENET1K_V1}
    if found != published or found not in tables:
        return f"class {index}"
    return str(tables[found].meta["categories"][index])
