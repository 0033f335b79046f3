"""Several models trained as one: their weights are stacked, and one operation computes for all of them.

A small model spends its time on starting operations, not on numbers. `torch.func` turns a head into an operation over a stack of weights.
Every model keeps its own generator, batches and first weights, so that it learns what it would have learnt alone, up to rounding
and to which values dropout drops.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch.func import functional_call, stack_module_state, vmap

from longtake.train.engine.job import Job
from longtake.train.engine.losses import batch_loss
from longtake.train.engine.settings import TrainSettings
from longtake.train.heads.base import Batch, Head, HeadOutput

MOST_BYTES = 2**28
"""Size of the clips of one step, over all models of a stack."""


def can_stack(job: Job) -> bool:
    """Whether the head can be stacked, on videos such as these; a head with a plug-in never can."""
    head = job.head_class
    if head is None or not head.stacks or job.task.data.second_stream is not None or job.task.data.streams:
        return False
    return head.stacks_padded or bool(job.task.data.num_clips[job.task.train_rows].min() >= job.task.window)


def stacks(jobs: Sequence[Job]) -> list[list[int]]:
    """Indices of the jobs of each stack; a job that resembles no other is a stack of one."""
    groups: dict[Hashable, list[int]] = {}
    for index, job in enumerate(jobs):
        sizes = job.task.window, len(job.task.train_rows), job.task.is_cut
        alike = job.settings, job.head_settings, job.evaluate_every, *sizes
        groups.setdefault(alike if can_stack(job) else index, []).append(index)
    found = []
    for group in groups.values():
        job = jobs[group[0]]
        clips = 1 if job.head_class and job.head_class.sees_means and not job.task.is_cut else job.task.window
        most = max(MOST_BYTES // (4 * job.settings.batch_size * clips * job.task.data.header.dim), 1)
        found += [group[begin : begin + most] for begin in range(0, len(group), most)]
    return found


class Stack:
    """The losses and gradients of several models, whose weights are the parts of one stack."""

    def __init__(self, heads: Sequence[Head], settings: TrainSettings) -> None:
        parameters, self._buffers = stack_module_state(list(heads))
        for place, head in enumerate(heads):
            # Each head sees its part of the stack, so that it can be tested and saved as if it had been trained alone.
            for name, parameter in head.named_parameters():
                parameter.data = parameters[name].data[place]
            for name, buffer in head.named_buffers():
                buffer.data = self._buffers[name].data[place]
        self.parameters = list(parameters.values())
        self._by_name, self._first, self._settings = parameters, heads[0], settings
        self._losses = vmap(self._loss_of_one, randomness="different")

    def losses(self, batches: Sequence[Batch]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss and terms of each model on its own batch, each `(models,)`."""
        return self._losses(self._by_name, self._buffers, _stacked(batches))

    def _loss_of_one(
        self, parameters: dict[str, torch.Tensor], buffers: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        clips = batch["clips"]
        mask = batch.get("mask", torch.ones(clips.shape[:2], dtype=torch.bool, device=clips.device))
        made = Batch(clips, mask, batch["target01"], (), batch.get("audio"))

        def head(batch: Batch) -> HeadOutput:
            return functional_call(self._first, (parameters, buffers), (batch,))

        return batch_loss(head, made, self._settings)

    def clip_gradients(self, largest: float) -> None:
        """As `clip_grad_norm_` does, for every model by itself."""
        grads = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norms = torch.stack([grad.flatten(1).norm(dim=1) for grad in grads]).norm(dim=0)
        shares = (largest / (norms + 1e-6)).clamp_max(1.0)
        for grad in grads:
            grad.mul_(shares.view(-1, *[1] * (grad.dim() - 1)))


def _stacked(batches: Sequence[Batch]) -> dict[str, torch.Tensor]:
    """`(models, batch, ...)`; no mask where there is no padding."""
    found = {name: torch.stack([getattr(batch, name) for batch in batches]) for name in ("clips", "target01", "mask")}
    if bool(found["mask"].all()):
        del found["mask"]
    if batches[0].audio is not None:
        found["audio"] = torch.stack([batch.audio for batch in batches])
    return found
