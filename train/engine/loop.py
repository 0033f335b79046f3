"""The loop: one head, some training videos, some test videos, a number of epochs. No files, no protocol."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.data.exemplars import Pool
from longtake.train.engine.losses import LossWeights, total_loss
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import DataError, TrainError
from longtake.train.heads.base import Batch
from longtake.train.metrics import Metrics, aiou, boundary_iou, measure, spearman

if TYPE_CHECKING:
    from longtake.train.engine.resume import Saved


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch; `on_epoch` gets it for progress and logs."""

    index: int
    loss: float
    terms: dict[str, float]
    lr: float
    test: Metrics | None


@dataclass(frozen=True)
class Fitted:
    """A trained head and what it says of the test videos."""

    head: nn.Module | None
    """None where it lies on disk."""
    predicted: np.ndarray
    """float64, `(test videos,)`, in judges' units, by the head as it is after the last epoch."""
    test: Metrics
    best_on_test: tuple[int, Metrics] | None
    """Epoch and metrics that the published code would report: chosen with the test labels, hence optimistic. None for a
    head without epochs, and where the last was the only one that was tested."""
    validation_selected: tuple[int, Metrics] | None
    """Epoch that videos held out of training chose, and the test videos' metrics then; None unless it was asked for."""
    seconds_per_epoch: float
    exemplars: Pool | None = None
    """Of a head that compares: the training videos that it compares with when it is used again."""


@dataclass(frozen=True)
class Task:
    """One model's data: which videos teach, which test, and on what scale."""

    data: FeatureSet
    scale: ScoreScale
    train_rows: np.ndarray
    test_rows: np.ndarray
    window: int
    """Clips per training video."""
    label_range: float
    """Highest minus lowest label, for relative L2."""
    shuffle_labels: bool = False
    """The control: training labels are dealt out anew, so that whatever is learnt cannot be skill."""

    def targets01(self, rows: np.ndarray) -> np.ndarray:
        return self.scale.to01(self.data.scores[self.scale.name][rows])


@dataclass(frozen=True)
class Job:
    """One model to be trained: what `fit` is given, and what tells whether others are like it."""

    task: Task
    build_head: Callable[[], nn.Module]
    settings: TrainSettings
    seed: int
    head_class: type | None
    """None where a plug-in stands before the head."""
    head_settings: object
    saved: Saved | None = None
    """Where it leaves what it has reached, and goes on from; None for training that begins anew."""


@dataclass(frozen=True)
class Reached:
    """How far training is, between two epochs."""

    epochs: int = 0
    best: tuple[int, Metrics] | None = None
    selected: tuple[int, Metrics] | None = None
    best_validation: float = -math.inf
    training_seconds: float = 0.0


def fit(
    task: Task,
    build_head: Callable[[], nn.Module],
    settings: TrainSettings,
    *,
    seed: int,
    evaluate_every: int = 1,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    saved: Saved | None = None,
) -> Fitted:
    """Train by the settings; deterministic for a seed, machine and number of threads, also where `saved` lets it go on after an
    interruption.

    Raises `TrainError` when the loss is no longer finite.
    """
    task, head, targets, rng = start(task, build_head, seed)
    if head.closed_form:
        return _fit_closed_form(task, head, targets, settings)
    optimizer = optimizer_of(head.parameters(), settings)
    parts = head, optimizer, rng
    begin = partial(saved.restore, *parts, settings.epochs) if saved else Reached
    keep = partial(saved.save_when_due, *parts) if saved else lambda reached: None
    epochs = epochs_of(task, head, targets, settings, rng, evaluate_every, on_epoch, begin, keep)
    weights = loss_weights(settings)
    taught = None
    while True:
        try:
            epoch = epochs.send(taught)
        except StopIteration as end:
            return end.value
        began = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = epoch.lr
        losses: list[torch.Tensor] = []
        sums: dict[str, torch.Tensor] = {}
        for batch in epoch.batches:
            with autocast(batch.clips.device, settings.precision):
                output = head(batch)
            loss, terms = total_loss(output, batch.target01, weights)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if settings.clip_gradient:
                nn.utils.clip_grad_norm_(head.parameters(), settings.clip_gradient)
            optimizer.step()
            losses.append(loss.detach())
            sums = {name: sums.get(name, 0.0) + value for name, value in terms.items()}
        taught = Taught(torch.stack(losses).mean().item(), sums, len(losses), time.perf_counter() - began)


def start(
    task: Task, build_head: Callable[[], nn.Module], seed: int
) -> tuple[Task, nn.Module, np.ndarray, np.random.Generator]:
    """All that a seed decides before the first epoch: the head's first weights, the targets of the training rows, and the generator
    that goes on to draw batches."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    head = build_head().to(task.data.device)
    if head.sees_means and not head.batch_needs.sees_padding and not is_cut(task):
        task = replace(task, data=task.data.means, window=1)
    task = replace(task, data=task.data.for_head(head.batch_needs))
    targets = task.targets01(task.train_rows)
    if task.shuffle_labels:
        order = rng.permutation(len(targets))
        dealt = task.data.with_targets_of(task.train_rows, task.train_rows[order])
        task, targets = replace(task, data=dealt), targets[order]
    return task, head, targets, rng


def is_cut(task: Task) -> bool:
    """Whether some video is longer than a window. Where none is, a head that `sees_means` of clips alone needs them taken once."""
    return bool(task.data.num_clips[np.concatenate([task.train_rows, task.test_rows])].max() > task.window)


def loss_weights(settings: TrainSettings) -> LossWeights:
    return LossWeights(
        settings.mse_weight, settings.triplet_weight, settings.ce_weight, settings.triplet, settings.margin,
        settings.label_smoothing,
    )  # fmt: skip


def _fit_closed_form(task: Task, head: nn.Module, targets: np.ndarray, settings: TrainSettings) -> Fitted:
    began = time.perf_counter()
    task.data.require(task.train_rows, task.data.needs.targets)
    head.fit_closed_form(
        task.data.test_batches(
            task.train_rows, targets, window=task.window, test_window="whole", batch_size=settings.batch_size
        )
    )
    predicted, test = _test(task, head, settings)
    if not np.isfinite(predicted).all():
        raise TrainError("the fitted head gives scores that are no numbers; a larger penalty_min may help")
    return Fitted(head, predicted, test, None, None, time.perf_counter() - began)


@dataclass(frozen=True)
class ToTeach:
    """An epoch that is to be trained, at this rate, on these batches."""

    lr: float
    batches: Iterator[Batch]


@dataclass(frozen=True)
class Taught:
    """An epoch that was trained."""

    loss: float
    """The mean over batches."""
    sums: dict[str, torch.Tensor]
    """Term of the loss -> its sum over batches."""
    num_batches: int
    seconds: float


def epochs_of(
    task: Task,
    head: nn.Module,
    targets: np.ndarray,
    settings: TrainSettings,
    rng: np.random.Generator,
    evaluate_every: int,
    on_epoch: Callable[[Epoch], None],
    begin: Callable[[], Reached] = Reached,
    keep: Callable[[Reached], None] = lambda reached: None,
) -> Generator[ToTeach, Taught, Fitted]:
    """All of training by gradient but the steps, which whoever drives this takes: it yields each epoch and is sent what came of it.

    `begin` says where training stands, and is called when head and generator are as they are before the first epoch; `keep` is told
    after every epoch but the last.
    """
    train_rows, targets, held_out = _hold_out(task, targets, settings, rng)
    kept = None
    if task.data.needs.exemplars:
        pool = Pool.of(task.data.needs.exemplars, task.data, train_rows, targets)
        task = replace(task, data=task.data.with_pool(pool))
        head.learn_groups(pool)
        kept = pool.kept()
    reached = begin()
    for index in range(reached.epochs, settings.epochs):
        lr = learning_rate(settings, index)
        head.train()
        taught = yield ToTeach(
            lr,
            task.data.train_batches(
                train_rows,
                targets,
                window=task.window,
                batch_size=settings.batch_size,
                rng=rng,
                sampling=settings.sampling,
            ),
        )
        _require_numbers(taught.loss, "the loss", index, lr)
        reached = replace(reached, epochs=index + 1, training_seconds=reached.training_seconds + taught.seconds)
        is_last = index == settings.epochs - 1
        test = None
        if is_last or (index + 1) % evaluate_every == 0:
            predicted, test = _test(task, head, settings)
            # The last steps may have diverged after the loss was taken.
            _require_numbers(predicted.sum(), "the sum of the test videos' scores", index, lr)
            if reached.best is None or test.spearman > reached.best[1].spearman:
                reached = replace(reached, best=(index + 1, test))
            if len(held_out):
                guessed = predict(task.data, held_out, head, task.scale, settings, task.window)
                validation = spearman(task.data.scores[task.scale.name][held_out], guessed)
                if validation > reached.best_validation:
                    reached = replace(reached, best_validation=validation, selected=(index + 1, test))
        terms = {name: float(value) / taught.num_batches for name, value in taught.sums.items()}
        on_epoch(Epoch(index + 1, taught.loss, terms, lr, test))
        if not is_last:
            keep(reached)
    mean_seconds = reached.training_seconds / settings.epochs
    # Who looks at the last epoch only has chosen none.
    best, selected = (reached.best, reached.selected) if evaluate_every < settings.epochs else (None, None)
    return Fitted(head, predicted, test, best, selected, mean_seconds, kept)


def _require_numbers(value: float, what: str, index: int, lr: float) -> None:
    if not math.isfinite(value):
        raise TrainError(
            f"{what} became {value} in epoch {index + 1} at learning rate {lr:g}: lower it with --set lr=..., "
            f"or bound gradients with --set clip_gradient=1"
        )


def num_held_out(settings: TrainSettings, num_videos: int) -> int:
    """Of so many training videos, how many choose an epoch. Raises `DataError` where these are too few to be ranked."""
    count = round(settings.validation * num_videos)
    if settings.validation and count < 2:
        raise DataError(
            f"validation={settings.validation:g} of {num_videos} training videos is {count}, and fewer than 2 cannot choose an epoch: take a "
            f"larger share"
        )
    return count


def _hold_out(
    task: Task, targets: np.ndarray, settings: TrainSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that teach, their targets, and rows held out to choose an epoch."""
    if not settings.validation:
        return task.train_rows, targets, task.train_rows[:0]
    count = num_held_out(settings, len(task.train_rows))
    order = rng.permutation(len(task.train_rows))
    kept = np.sort(order[count:])
    return task.train_rows[kept], targets[kept], task.train_rows[np.sort(order[:count])]


def learning_rate(settings: TrainSettings, epoch: int) -> float:
    """Linear warm-up, then a cosine from `lr` towards `final_lr_ratio * lr`; `epoch` counts from 0."""
    if epoch < settings.warmup_epochs:
        return settings.lr * (epoch + 1) / settings.warmup_epochs
    progress = (epoch - settings.warmup_epochs) / max(settings.epochs - settings.warmup_epochs, 1)
    floor = settings.final_lr_ratio
    return settings.lr * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def optimizer_of(parameters: Iterable[torch.Tensor], settings: TrainSettings) -> torch.optim.Optimizer:
    parameters = list(parameters)
    fused = parameters[0].device.type in ("cpu", "cuda")
    common = {"lr": settings.lr, "weight_decay": settings.weight_decay, "fused": fused}
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=settings.momentum, **common)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer](parameters, **common)


def _test(task: Task, head: nn.Module, settings: TrainSettings) -> tuple[np.ndarray, Metrics]:
    predicted, boundaries = predict_stages(task.data, task.test_rows, head, task.scale, settings, task.window)
    true = task.data.scores[task.scale.name][task.test_rows]
    test = measure(true, predicted, task.label_range)
    return predicted, with_stages(test, task.data, task.test_rows, boundaries)


def with_stages(test: Metrics, data: FeatureSet, rows: np.ndarray, predicted: np.ndarray | None) -> Metrics:
    """The metrics with those of the boundaries of stages, where a head predicts them and labels know them."""
    if predicted is None or data.boundaries is None:
        return test
    ious = boundary_iou(data.boundaries[rows], predicted, data.seconds[data.offsets[rows + 1] - 1, 1])
    return replace(test, aiou_50=aiou(ious, 0.5), aiou_75=aiou(ious, 0.75))


def predict(
    data: FeatureSet, rows: np.ndarray, head: nn.Module, scale: ScoreScale, settings: TrainSettings, window: int
) -> np.ndarray:
    """Scores in judges' units, float64 `(rows,)`. The head is in evaluation mode, so no score depends on its batch."""
    return predict_stages(data, rows, head, scale, settings, window)[0]


@torch.no_grad()
def predict_stages(
    data: FeatureSet, rows: np.ndarray, head: nn.Module, scale: ScoreScale, settings: TrainSettings, window: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Scores as `predict` gives them, and the boundaries of stages, float64 `(rows, boundaries)` seconds, of a head that predicts them."""
    head.eval()
    place = {row: index for index, row in enumerate(rows.tolist())}
    scores01 = np.zeros(len(rows))
    boundaries: np.ndarray | None = None
    batches = data.test_batches(
        rows, np.zeros(len(rows)), window=window, test_window=settings.test_window, batch_size=settings.batch_size
    )
    for batch in batches:
        with autocast(batch.clips.device, settings.precision):
            output = head(batch)
        here = [place[row] for row in batch.rows]
        scores01[here] = output.score01.double().cpu().numpy()
        if output.boundaries is not None:
            boundaries = np.zeros((len(rows), output.boundaries.shape[1])) if boundaries is None else boundaries
            boundaries[here] = output.boundaries.double().cpu().numpy()
    return scale.to_units(scores01), boundaries


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Matrix products of the head in bfloat16, where the settings say so; losses and scores stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
