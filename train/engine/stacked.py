"""Several models trained as one: their weights side by side, one call for what each would have called by itself.

A small model spends its time on starting operations, not on numbers. `torch.func` turns a head into an operation over a stack of weights.
Every model keeps its own generator, batches, first weights and rate, so that it learns what it would have learnt alone, up to
rounding and to which values dropout drops.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence

import torch
from torch.func import functional_call, stack_module_state, vmap

from longtake.train.engine.loop import (
    Epoch,
    Fitted,
    Job,
    Taught,
    autocast,
    epochs_of,
    is_cut,
    loss_weights,
    optimizer_of,
    start,
)  # fmt: skip
from longtake.train.engine.losses import total_loss
from longtake.train.heads.base import Batch

MOST_BYTES = 2**28
"""Of the clips of one step of all models of a stack."""


def can_stack(job: Job) -> bool:
    """Whether the head can be stacked, on videos such as these; a plug-in's never is."""
    head = job.head_class
    if head is None or not head.stacks or job.task.data.frames is not None:
        return False
    return head.stacks_padded or bool(job.task.data.num_clips[job.task.train_rows].min() >= job.task.window)


def stacks(jobs: Sequence[Job]) -> list[list[int]]:
    """Which jobs, by their index, can be one stack; jobs that are like no other stand alone."""
    groups: dict[Hashable, list[int]] = {}
    for index, job in enumerate(jobs):
        alike = job.settings, job.head_settings, job.task.window, len(job.task.train_rows), is_cut(job.task)
        groups.setdefault(alike if can_stack(job) else index, []).append(index)
    found = []
    for group in groups.values():
        job = jobs[group[0]]
        clips = 1 if job.head_class and job.head_class.sees_means and not is_cut(job.task) else job.task.window
        most = max(MOST_BYTES // (4 * job.settings.batch_size * clips * job.task.data.clips.shape[1]), 1)
        found += [group[begin : begin + most] for begin in range(0, len(group), most)]
    return found


def fit_stacked(jobs: Sequence[Job], evaluate_every: int, on_epoch: Callable[[int, Epoch], None]) -> list[Fitted]:
    """What `fit` gives for each job of one of `stacks`. `on_epoch` is told the job's place among them.

    Raises `TrainError` when a loss is no longer finite.
    """
    settings = jobs[0].settings
    begun = [start(job.task, job.build_head, job.seed) for job in jobs]
    heads = [head for _, head, _, _ in begun]
    training = [
        epochs_of(task, head, targets, settings, rng, evaluate_every, lambda epoch, place=place: on_epoch(place, epoch))
        for place, (task, head, targets, rng) in enumerate(begun)
    ]
    parameters, buffers = stack_module_state(heads)
    for place, head in enumerate(heads):
        # Each head looks at its part of the stack, so that it can be tested and kept as if it had been trained alone.
        for name, parameter in head.named_parameters():
            parameter.data = parameters[name].data[place]
        for name, buffer in head.named_buffers():
            buffer.data = buffers[name].data[place]
    optimizer = optimizer_of(parameters.values(), settings)
    weights = loss_weights(settings)

    def losses_of(
        parameters: dict[str, torch.Tensor], buffers: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        clips = batch["clips"]
        mask = batch.get("mask", torch.ones(clips.shape[:2], dtype=torch.bool, device=clips.device))
        made = Batch(clips, mask, batch["target01"], (), batch.get("audio"))
        with autocast(clips.device, settings.precision):
            output = functional_call(heads[0], (parameters, buffers), (made,))
        return total_loss(output, batch["target01"], weights)

    step = vmap(losses_of, randomness="different")
    taught: list[Taught | None] = [None] * len(jobs)
    while True:
        epochs, done = [], []
        for one, before in zip(training, taught):
            try:
                epochs.append(one.send(before))
            except StopIteration as end:
                done.append(end.value)
        if done:
            return done
        began = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = epochs[0].lr
        losses: list[torch.Tensor] = []
        sums: dict[str, torch.Tensor] = {}
        for batches in zip(*(epoch.batches for epoch in epochs), strict=True):
            loss, terms = step(parameters, buffers, _stacked(batches))
            optimizer.zero_grad(set_to_none=True)
            # Each model's loss depends on its own weights alone, so the gradient of the sum is every model's own.
            loss.sum().backward()
            if settings.clip_gradient:
                _clip(parameters, settings.clip_gradient)
            optimizer.step()
            losses.append(loss.detach())
            sums = {name: sums.get(name, 0.0) + value for name, value in terms.items()}
        means = torch.stack(losses).mean(0).tolist()
        by_model = {name: values.tolist() for name, values in sums.items()}
        seconds = (time.perf_counter() - began) / len(jobs)
        taught = [
            Taught(means[place], {name: values[place] for name, values in by_model.items()}, len(losses), seconds)
            for place in range(len(jobs))
        ]


def _stacked(batches: Sequence[Batch]) -> dict[str, torch.Tensor]:
    """`(models, batch, ...)`; no mask where there is no padding."""
    found = {name: torch.stack([getattr(batch, name) for batch in batches]) for name in ("clips", "target01", "mask")}
    if bool(found["mask"].all()):
        del found["mask"]
    if batches[0].audio is not None:
        found["audio"] = torch.stack([batch.audio for batch in batches])
    return found


def _clip(parameters: dict[str, torch.Tensor], largest: float) -> None:
    """`clip_grad_norm_` for every model by itself."""
    grads = [parameter.grad for parameter in parameters.values() if parameter.grad is not None]
    norms = torch.stack([grad.flatten(1).norm(dim=1) for grad in grads]).norm(dim=0)
    shares = (largest / (norms + 1e-6)).clamp_max(1.0)
    for grad in grads:
        grad.mul_(shares.view(-1, *[1] * (grad.dim() - 1)))
