"""Linear kernels between videos, `(videos, videos)` each: what experiments are made of, computed once and kept in a folder.

None of them has seen a score. The clips of all videos give mean, deviation, principal components and landmarks, as an unlabelled test video would in
practice not; only the finder of elements, which learns from their known order, is fitted in the training folds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from longtake.train.heads.base import Batch
from longtake.train.heads.element_kernel import ElementKernel, ElementKernelSettings
from longtake.train.heads.kernel import JITTER, LEAST_CLIP_SPREAD, KernelSettings, nearness, shares, variation
from longtake.train.heads.ridge import clip_statistics, safe_spread
from studies.videos import Cut, Videos

Grams = dict[str, np.ndarray]
PARTS = ("kernel", "pooled", "pairs", "taught")
LANDMARKS = 4096
LEAST_EIGENVALUE = 1e-3
JUMPS = ElementKernelSettings(
    elements=",".join(f"element{number}" for number in range(1, 8)), element_clips="3,4,3,9,8,10,22", look_at="1,2,3"
)


class Standardised:
    """Clips of mean 0 and deviation 1."""

    def __init__(self, videos: Videos) -> None:
        clips = torch.cat([torch.from_numpy(one) for one in videos.clips])
        self.centre, self.spread = clips.mean(0), safe_spread(clips, LEAST_CLIP_SPREAD, torch.max)
        self.lengths = [len(one) for one in videos.clips]
        self.clips = (clips - self.centre) / self.spread
        values, vectors = torch.linalg.eigh((self.clips.T @ self.clips).double() / len(clips))
        self.values, self.vectors = values.flip(0), vectors.flip(1)

    @property
    def videos(self) -> tuple[torch.Tensor, ...]:
        return self.clips.split(self.lengths)

    def components(self, count: int, power: float = 0.0) -> list[torch.Tensor]:
        """Principal components; `power` 0.5 whitens."""
        project = self.vectors[:, :count] * self.values[:count].clamp_min(1e-8) ** -power
        return list((self.clips @ project.float()).double().split(self.lengths))


class Landmarks:
    """Means of a Gaussian kernel between clips, from some of them (Nystroem)."""

    def __init__(self, videos: list[torch.Tensor], bandwidth: float, count: int = LANDMARKS) -> None:
        self.videos, clips = videos, torch.cat(videos)
        self.scale = bandwidth / (2 * clips.shape[1])
        chosen = torch.linspace(0, len(clips) - 1, count, dtype=torch.float64).round().long()
        self.marks = clips[chosen]
        own = self.similarity(self.marks).double()
        self.root = torch.linalg.cholesky(own + JITTER * torch.eye(count, dtype=own.dtype))

    def similarity(self, clips: torch.Tensor) -> torch.Tensor:
        squares = (clips**2).sum(1)[:, None] + (self.marks**2).sum(1)[None]
        return torch.addmm(squares, clips, self.marks.T, alpha=-2).clamp_min_(0).mul_(-self.scale).exp_()

    def means(self, weights: Callable[[int], torch.Tensor]) -> Iterator[torch.Tensor]:
        """Of each video, `(columns, landmarks)`; `weights` of a row gives `(clips, columns)`."""
        for row, video in enumerate(self.videos):
            yield weights(row).float().T @ self.similarity(video)

    def embed(self, means: torch.Tensor) -> torch.Tensor:
        """`(..., landmarks)` -> float64 whose dot products are the kernel's means."""
        flat = torch.linalg.solve_triangular(self.root.T, means.flatten(0, -2).double(), upper=True, left=False)
        return flat.view(means.shape)


def dots(features: torch.Tensor) -> np.ndarray:
    flat = features.flatten(1).double()
    return (flat @ flat.T).numpy()


def scaled(features: torch.Tensor, least: float = 1e-2) -> torch.Tensor:
    return features / safe_spread(features, least)


def kernel_grams(name: str, videos: list[torch.Tensor], bandwidth: float, powers: bool) -> Grams:
    """The two kernels of the head `kernel`: `name.quarter1` to 4, `name.near`, and `name.whole`; with `powers`, the same of powers of the means."""
    settings, marks = KernelSettings(), Landmarks(videos, bandwidth)

    def weights(row: int) -> torch.Tensor:
        count = len(videos[row])
        return torch.cat([shares(count, settings.segments), nearness(count, settings.time_width)], 1)

    means = torch.stack(list(marks.means(weights)))
    embedded = marks.embed(means)
    count = settings.segments
    found = {f"{name}.quarter{part + 1}": dots(embedded[:, part]) for part in range(count)}
    found |= {f"{name}.near": dots(embedded[:, count:]), f"{name}.whole": dots(embedded[:, :count].mean(1))}
    if powers:
        for power in (0.25, 0.5):
            found[f"{name}.power{power}"] = dots(means[:, :count].double().clamp_min(1e-12) ** power)
        found[f"{name}.log"] = dots((means[:, :count].double() + 1e-4).log())
        flat = embedded[:, :count].flatten(1)
        flat = flat - flat.mean(0)
        found[f"{name}.signed"] = dots(flat.sign() * flat.abs().sqrt())
    return found


def pooled_grams(data: Standardised) -> Grams:
    found = {
        "variation": dots(scaled(torch.stack([variation(one) for one in data.videos]))),
        "statistics": dots(scaled(torch.stack([clip_statistics(one) for one in data.videos]))),
        "mean": dots(torch.stack([one.mean(0) for one in data.videos])),
        "length": dots(torch.tensor(data.lengths, dtype=torch.float64)[:, None] / 10),
    }
    for count in (16, 32, 64):
        for power in (0.0, 0.25, 0.5):
            videos = data.components(count, power)
            for name, features in second_order(videos).items():
                found[f"second.{name}.{count}.{power}"] = dots(features)
    return found


def second_order(videos: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Covariances of clips: logarithms of matrices, signed square roots, of clips and of differences of neighbours, and with the next but one."""
    rows: dict[str, list[torch.Tensor]] = {}
    for video in videos:
        about = video - video.mean(0)
        eye = torch.eye(video.shape[1], dtype=video.dtype)
        covariance = about.T @ about / len(about)
        step = video[1:] - video[:-1]
        steps = step.T @ step / len(step)
        later = about[:-2].T @ about[2:] / len(about)
        correlation = covariance / (covariance.diagonal().sqrt()[:, None] * covariance.diagonal().sqrt() + 1e-9)
        for name, matrix in (("log", covariance), ("logsteps", steps)):
            values, vectors = torch.linalg.eigh(matrix + 0.02 * matrix.diagonal().mean() * eye)
            rows.setdefault(name, []).append((vectors * values.log()) @ vectors.T)
        rows.setdefault("root", []).append(covariance.sign() * covariance.abs().sqrt())
        rows.setdefault("plain", []).append(covariance)
        rows.setdefault("correlation", []).append(correlation)
        rows.setdefault("lagged", []).append(later.sign() * later.abs().sqrt())
    return {name: torch.stack(matrices) for name, matrices in rows.items()}


def self_taught(data: Standardised) -> dict[str, list[torch.Tensor]]:
    """Clips seen through linear tasks that need no labels, `(clips, components)` each.

    `slow`: components that change least from clip to clip (Wiskott and Sejnowski, 2002), whitened; `fast`: those that change most. `future`: canonical
    directions between a clip and the next three, the linear case of contrastive prediction. `surprise`: a clip less what its two neighbours on
    each side predict (masked prediction, ridge); `guess`: that prediction. `when`: what tells early from late, by ridge on sines of the time.
    """
    white = data.components(256, 0.5)
    step = torch.cat([one[1:] - one[:-1] for one in white])
    _, order = torch.linalg.eigh(step.T @ step / len(step))
    found = {"slow": [one @ order[:, :64] for one in white], "fast": [one @ order[:, -64:] for one in white]}

    def shifted(video: torch.Tensor, by: int) -> torch.Tensor:
        index = (torch.arange(len(video)) + by).clamp(0, len(video) - 1)
        return video[index]

    ahead = torch.cat([sum(shifted(one, by) for by in (1, 2, 3)) / 3 for one in white])
    left, _, _ = torch.linalg.svd(torch.cat(white).T @ ahead / len(ahead))
    found["future"] = [one @ left[:, :64] for one in white]
    partly = data.components(256, 0.25)
    near = torch.cat([torch.cat([shifted(one, by) for by in (-2, -1, 1, 2)], 1) for one in partly])
    clips = torch.cat(partly)
    solved = torch.linalg.solve(near.T @ near + 1e-2 * len(near) * torch.eye(near.shape[1]).double(), near.T @ clips)
    guess = near @ solved
    found["guess"], found["surprise"] = list(guess.split(data.lengths)), list((clips - guess).split(data.lengths))
    times = torch.cat([(torch.arange(count).double() + 0.5) / count for count in data.lengths])
    waves = torch.stack([f(np.pi * k * times) for k in range(1, 9) for f in (torch.sin, torch.cos)], 1)
    flat = torch.cat(white)
    when, _, _ = torch.linalg.svd(flat.T @ (waves - waves.mean(0)) / len(flat), full_matrices=False)
    found["when"] = [one @ when for one in white]
    spreads = {name: torch.cat(videos).std(0).clamp_min(1e-6) for name, videos in found.items()}
    return {name: [one / spreads[name] for one in videos] for name, videos in found.items()}


def stacked(videos: list[torch.Tensor], span: int) -> list[torch.Tensor]:
    """Each clip with the next ones."""
    return [
        torch.cat([video[(torch.arange(len(video)) + by).clamp_max(len(video) - 1)] for by in range(span)], 1)
        for video in videos
    ]


def base_grams(videos: Videos, part: str) -> Grams:
    """Those of one of `PARTS`."""
    data = Standardised(videos)
    plain = list(data.videos)
    if part == "kernel":
        return kernel_grams("kernel", plain, KernelSettings().bandwidth, powers=True)
    if part == "pooled":
        return pooled_grams(data)
    if part == "pairs":
        return kernel_grams("pairs", stacked(plain, 2), KernelSettings().bandwidth, powers=False)
    found: Grams = {}
    for name, taught in self_taught(data).items():
        found |= kernel_grams(name, [one.float() for one in taught], 1.0, powers=False)
    return found


def jump_gram(videos: Videos, data: Standardised, marks: Landmarks, train: np.ndarray) -> np.ndarray:
    """Of the clips that are probably jumps, by the finder of the head `element-kernel` from the orders of training videos."""
    head = ElementKernel(videos.clips[0].shape[1], JUMPS)
    head.centre.copy_(data.centre)
    head.spread.copy_(data.spread)
    raw = [torch.from_numpy(clips) for clips in videos.clips]
    head.learn_looks(
        [
            Batch(
                raw[row][None], torch.ones(1, len(raw[row]), dtype=torch.bool), torch.zeros(1), (0,),
                scores=torch.tensor([videos.orders[row]], dtype=torch.float32),
            )
            for row in train
        ]
    )  # fmt: skip
    looks = [head.look(clips) for clips in data.videos]
    return dots(marks.embed(torch.stack(list(marks.means(lambda row: looks[row])))))


def jump_grams(videos: Videos, cut: Cut) -> Grams:
    data = Standardised(videos)
    marks = Landmarks(list(data.videos), KernelSettings().bandwidth)
    return {f"jumps{fold}": jump_gram(videos, data, marks, train) for fold, (train, _) in enumerate(cut.rounds())}


def kept(path: Path, compute: Callable[[], Grams]) -> Grams:
    if not path.exists():
        unfinished = path.with_name(f"unfinished-{path.name}")
        np.savez(unfinished, **compute())
        unfinished.replace(path)
    with np.load(path) as saved:
        return {name: saved[name] for name in saved.files}
