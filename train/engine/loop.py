"""The training loop: `fit_together`, for one model or for several in the same steps. All other functions here are called from it.

Training is deterministic for a seed, machine and number of threads, also when it is interrupted and resumed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from longtake.allocator import large_arrays_kept
from longtake.train.data.batches import BatchMaker, put_on_device
from longtake.train.data.exemplars import ExemplarPool
from longtake.train.data.windows import WHOLE
from longtake.train.engine.job import Job, Task
from longtake.train.engine.losses import batch_loss
from longtake.train.engine.predict import predict_stages, with_stages
from longtake.train.engine.settings import CONSTANT, STEP, TrainSettings
from longtake.train.engine.stacked import Stack
from longtake.train.engine.state import Epoch, Fitted, TrainingState
from longtake.train.errors import DataError, TrainError
from longtake.train.heads.base import Batch, Head
from longtake.train.metrics import Metrics, measure, spearman


def fit(job: Job, on_epoch: Callable[[Epoch], None] = lambda epoch: None) -> Fitted:
    """Train one model. Raises `TrainError` when the loss is no longer finite."""
    (fitted,) = fit_together([job], lambda place, epoch: on_epoch(epoch))
    return fitted


@large_arrays_kept()
def fit_together(jobs: Sequence[Job], on_epoch: Callable[[int, Epoch], None]) -> list[Fitted]:
    """Train one model, or the models of one of `stacked.stacks`, whose settings are equal. `on_epoch` gets the place of the job.

    Raises `TrainError` when a loss is no longer finite.
    """
    settings, evaluate_every = jobs[0].settings, jobs[0].evaluate_every
    models = [_start(job) for job in jobs]
    if models[0].head.closed_form:
        return [_fit_closed_form(model) for model in models]
    for model in models:
        _hold_out(model)
        _add_exemplars(model)
    trained = (
        _OneModel(models[0].head, settings) if len(models) == 1 else Stack([model.head for model in models], settings)
    )
    optimizer = optimizer_of(trained.parameters, settings)
    # A stack has one optimizer for all its models, so that none of them can be resumed alone: it starts from the first epoch.
    resume_point = jobs[0].resume_point if len(jobs) == 1 else None
    if resume_point:
        models[0].state = resume_point.restore(models[0].head, optimizer, models[0].rng, settings.epochs)

    for index in range(models[0].state.epochs, settings.epochs):
        is_last = index == settings.epochs - 1
        lr = learning_rate(settings, index)
        began = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = lr
        losses: list[torch.Tensor] = []
        sums: dict[str, torch.Tensor] = {}
        for batches in zip(*map(_train_batches, models), strict=True):
            loss, terms = trained.losses(batches)
            optimizer.zero_grad(set_to_none=True)
            # The loss of each model depends on its own weights alone, so the gradient of the sum is that of each.
            loss.sum().backward()
            if settings.clip_gradient:
                trained.clip_gradients(settings.clip_gradient)
            optimizer.step()
            losses.append(loss.detach())
            sums = {name: sums.get(name, 0.0) + value for name, value in terms.items()}
        means = _by_model(torch.stack(losses).mean(0))
        terms_by_model = {name: _by_model(total) for name, total in sums.items()}
        seconds = (time.perf_counter() - began) / len(models)

        for place, model in enumerate(models):
            _require_finite(means[place], "the loss", index, lr)
            model.state = replace(
                model.state, epochs=index + 1, training_seconds=model.state.training_seconds + seconds
            )
            test = None
            if is_last or (index + 1) % evaluate_every == 0:
                test = _test(model)
                # The last steps may have diverged after the loss was taken.
                _require_finite(model.predicted.sum(), "the sum of the test videos' scores", index, lr)
                model.state = _choose(model, test)
            mean_terms = {name: totals[place] / len(losses) for name, totals in terms_by_model.items()}
            on_epoch(place, Epoch(index + 1, means[place], mean_terms, lr, test))
        if resume_point and not is_last:
            resume_point.save_when_due(models[0].head, optimizer, models[0].rng, models[0].state)

    return [_fitted(model, settings.epochs, evaluate_every) for model in models]


@dataclass
class _Model:
    """One model in training."""

    head: Head
    task: Task
    """Its training rows are those that the head learns from."""
    maker: BatchMaker
    targets01: np.ndarray
    """float64, `(training rows,)`."""
    settings: TrainSettings
    rng: np.random.Generator
    """It draws batches."""
    held_out: np.ndarray
    """int, rows of training videos that choose an epoch instead."""
    state: TrainingState
    predicted: np.ndarray
    """float64, `(test rows,)`, in judges' units, after the last test."""
    test: Metrics | None = None
    exemplars: ExemplarPool | None = None


def _start(job: Job) -> _Model:
    """Everything that the seed decides before the first epoch: the first weights, the targets, and the generator of batches."""
    task = job.task
    torch.manual_seed(job.seed)
    rng = np.random.default_rng(job.seed)
    head = job.build_head().to(task.device)
    if head.sees_means and not head.batch_needs.sees_padding and not task.is_cut:
        # The head sees no more than the mean of a video's clips, which is then taken once.
        task = replace(task, data=put_on_device(task.data.means, task.device), window=1)
    needs = head.batch_needs
    targets01 = task.targets01(task.train_rows)
    if task.shuffle_labels:
        order = rng.permutation(len(targets01))
        shuffled = task.data.with_scores_of(task.train_rows, task.train_rows[order], needs.targets)
        task, targets01 = replace(task, data=shuffled), targets01[order]
    maker = BatchMaker(task.data, needs, task.device)
    nothing = np.zeros(0)
    return _Model(head, task, maker, targets01, job.settings, rng, task.train_rows[:0], TrainingState(), nothing)


def _hold_out(model: _Model) -> None:
    """Take a share of the training videos out of training, where the settings ask for it."""
    rows, settings = model.task.train_rows, model.settings
    if settings.validation:
        count = num_held_out(settings, len(rows))
        order = model.rng.permutation(len(rows))
        kept = np.sort(order[count:])
        model.held_out = rows[np.sort(order[:count])]
        model.task, model.targets01 = replace(model.task, train_rows=rows[kept]), model.targets01[kept]


def num_held_out(settings: TrainSettings, num_videos: int) -> int:
    """How many of so many training videos choose an epoch. Raises `DataError` where these are too few to be ranked."""
    count = round(settings.validation * num_videos)
    if settings.validation and count < 2:
        raise DataError(
            f"validation={settings.validation:g} of {num_videos} training videos is {count}, and fewer than 2 cannot choose an epoch: take a "
            f"larger share"
        )
    return count


def _add_exemplars(model: _Model) -> None:
    """Give a head that compares the training videos to compare with."""
    task = model.task
    if model.maker.needs.exemplars is None:
        return
    pool = ExemplarPool.of(model.maker.needs, task.data, task.train_rows, model.targets01)
    model.maker = model.maker.with_pool(pool)
    model.head.learn_groups(pool)
    model.exemplars = pool.voting()


class _OneModel:
    """The losses and gradients of one model. `Stack` is the same for several."""

    def __init__(self, head: Head, settings: TrainSettings) -> None:
        self.parameters = list(head.parameters())
        self._head, self._settings = head, settings

    def losses(self, batches: Sequence[Batch]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss and terms, scalars."""
        (batch,) = batches
        return batch_loss(self._head, batch, self._settings)

    def clip_gradients(self, largest: float) -> None:
        nn.utils.clip_grad_norm_(self.parameters, largest)


def optimizer_of(parameters: Iterable[torch.Tensor], settings: TrainSettings) -> torch.optim.Optimizer:
    parameters = list(parameters)
    fused = parameters[0].device.type in ("cpu", "cuda")
    common = {"lr": settings.lr, "weight_decay": settings.weight_decay, "fused": fused}
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=settings.momentum, **common)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer](parameters, **common)


def learning_rate(settings: TrainSettings, epoch: int) -> float:
    """Linear warm-up, then as `schedule` says: a cosine goes from `lr` towards `final_lr_ratio * lr`; `epoch` counts from 0."""
    if epoch < settings.warmup_epochs:
        return settings.lr * (epoch + 1) / settings.warmup_epochs
    if settings.schedule == CONSTANT:
        return settings.lr
    if settings.schedule == STEP:
        by_number = epoch // settings.step_epochs if settings.step_epochs else sum(epoch >= at for at in settings.falls)
        return settings.lr * settings.step_factor**by_number
    progress = (epoch - settings.warmup_epochs) / max(settings.epochs - settings.warmup_epochs, 1)
    lowest = settings.final_lr_ratio
    return settings.lr * (lowest + (1 - lowest) * 0.5 * (1 + math.cos(math.pi * progress)))


def _train_batches(model: _Model) -> Iterator[Batch]:
    model.head.train()
    return model.maker.train(
        model.task.train_rows, model.targets01, window=model.task.window, batch_size=model.settings.batch_size,
        rng=model.rng, sampling=model.settings.sampling,
    )  # fmt: skip


def _by_model(values: torch.Tensor) -> list[float]:
    """A scalar of one model, or `(models,)` of a stack."""
    return torch.atleast_1d(values).tolist()


def _require_finite(value: float, what: str, index: int, lr: float) -> None:
    if not math.isfinite(value):
        raise TrainError(
            f"{what} became {value} in epoch {index + 1} at learning rate {lr:g}: lower it with --set lr=..., "
            f"or bound gradients with --set clip_gradient=1"
        )


def _test(model: _Model) -> Metrics:
    """Predict the test videos; the scores are kept as `model.predicted`."""
    task = model.task
    rows = task.test_rows
    model.predicted, boundaries = predict_stages(model.maker, rows, model.head, task.scale, model.settings, task.window)
    measured = measure(task.scores(rows), model.predicted, task.label_range)
    model.test = with_stages(measured, model.maker, rows, boundaries)
    return model.test


def _choose(model: _Model, test: Metrics) -> TrainingState:
    """The state with this epoch as the best on the test videos or on those held out, where it is."""
    state, task, rows = model.state, model.task, model.held_out
    if test.spearman > (-math.inf if state.best is None else state.best[1].spearman):
        state = replace(state, best=(state.epochs, test))
    if len(rows):
        predicted, _ = predict_stages(model.maker, rows, model.head, task.scale, model.settings, task.window)
        validation = spearman(task.scores(rows), predicted)
        if validation > state.best_validation:
            state = replace(state, best_validation=validation, selected=(state.epochs, test))
    return state


def _fitted(model: _Model, epochs: int, evaluate_every: int) -> Fitted:
    assert model.test is not None
    state = model.state
    # Where only the last epoch is tested, none was chosen.
    best, selected = (state.best, state.selected) if evaluate_every < epochs else (None, None)
    seconds = state.training_seconds / epochs
    return Fitted(model.head, model.predicted, model.test, best, selected, seconds, model.exemplars)


def _fit_closed_form(model: _Model) -> Fitted:
    began = time.perf_counter()
    task, settings = model.task, model.settings
    task.data.require_scores(task.train_rows, model.maker.needs.targets)
    model.head.fit_closed_form(
        model.maker.test(
            task.train_rows, model.targets01, window=task.window, test_window=WHOLE, batch_size=settings.batch_size
        )
    )
    test = _test(model)
    if not np.isfinite(model.predicted).all():
        raise TrainError("the fitted head gives scores that are no numbers; a larger penalty_min may help")
    return Fitted(model.head, model.predicted, test, None, None, time.perf_counter() - began)
