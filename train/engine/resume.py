"""A run that was interrupted goes on: what each of its models had reached, in files of the run's folder.

A model in training leaves its weights, its optimiser and the state of every random generator at the end of an epoch, and so
learns after an interruption what it would have learnt without. A finished one leaves what it says of the test videos.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from longtake.files import write_whole
from longtake.train.engine.loop import Fitted, Reached
from longtake.train.errors import CheckpointError
from longtake.train.metrics import Metrics

logger = logging.getLogger(__name__)
FOLDER = "resume"
EVERY_SECONDS = 60.0
"""Of training between two savings: what an interruption can lose, and the epoch in training."""
FORMAT = "longtake-resume-1"
HEAD, OPTIMIZER, GENERATOR = "head/", "optimizer/", "generator/"


class Saved:
    """What one model of a run has reached. `path` has no suffix: a model in training has a file of tensors, a finished one JSON.

    What another run has left there, by its `run_id`, is as if it were not. A finished model has its `checkpoint`, if it is of those
    that have one.
    """

    def __init__(self, path: Path, run_id: str, checkpoint: Path | None) -> None:
        self._training = path.with_name(f"{path.name}.safetensors")
        self._finished = path.with_name(f"{path.name}.json")
        self._run_id, self._checkpoint = run_id, checkpoint
        self._looked = time.monotonic()

    def finished(self, num_videos: int) -> Fitted | None:
        """What a finished model says of so many test videos, without its head, which is on disk. Raises `CheckpointError`."""
        if not self._finished.exists() or (self._checkpoint and not self._checkpoint.exists()):
            return None
        try:
            known = json.loads(self._finished.read_text(encoding="utf-8"))
            if known["run_id"] != self._run_id:
                return None
            predicted = np.array(known["predicted"], dtype=float)
            if predicted.shape != (num_videos,):
                raise ValueError(f"scores of {predicted.shape} videos, {num_videos} expected")
            chosen = {name: _chosen(known[name]) for name in ("best_on_test", "validation_selected")}
            seconds = float(known["seconds_per_epoch"])
            return Fitted(None, predicted, _metrics(known["test"]), seconds_per_epoch=seconds, **chosen)
        except Exception as error:  # a stranger's file can be wrong in any way
            raise _damaged(self._finished, error) from error

    def finish(self, fitted: Fitted) -> None:
        """The model is done, and its checkpoint written."""
        known = {
            "run_id": self._run_id,
            "predicted": fitted.predicted.tolist(),
            "test": asdict(fitted.test),
            "best_on_test": _described(fitted.best_on_test),
            "validation_selected": _described(fitted.validation_selected),
            "seconds_per_epoch": fitted.seconds_per_epoch,
        }
        self._finished.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._finished, json.dumps(known) + "\n")
        self._training.unlink(missing_ok=True)

    def save_when_due(
        self, head: nn.Module, optimizer: torch.optim.Optimizer, rng: np.random.Generator, reached: Reached
    ) -> None:
        """After an epoch: `reached` and everything that the next epoch depends on, once in `EVERY_SECONDS`. A disk that is full is
        told of, and does not end what is being trained."""
        if time.monotonic() - self._looked < EVERY_SECONDS:
            return
        self._looked = time.monotonic()
        states = optimizer.state_dict()["state"]
        tensors = {HEAD + name: tensor for name, tensor in head.state_dict().items()}
        for index, state in states.items():
            tensors |= {f"{OPTIMIZER}{index}/{name}": value for name, value in state.items() if value is not None}
        tensors[GENERATOR + "cpu"] = torch.get_rng_state()
        if next(head.parameters()).is_cuda:
            tensors[GENERATOR + "cuda"] = torch.cuda.get_rng_state(next(head.parameters()).device)
        described = {**asdict(reached), "best": _described(reached.best), "selected": _described(reached.selected)}
        metadata = {"format": FORMAT, "run_id": self._run_id, "reached": json.dumps(described)}
        metadata |= {"states": str(len(states)), "rng": json.dumps(rng.bit_generator.state)}
        try:
            self._training.parent.mkdir(parents=True, exist_ok=True)
            whole = {name: torch.as_tensor(value).cpu().contiguous() for name, value in tensors.items()}
            write_whole(self._training, save(whole, metadata))
        except OSError as error:
            logger.warning("what training has reached cannot be saved, so that --resume would begin earlier: %s", error)

    def restore(
        self, head: nn.Module, optimizer: torch.optim.Optimizer, rng: np.random.Generator, num_epochs: int
    ) -> Reached:
        """Put all three where they were, before the last of so many epochs; the beginning, where nothing was saved. Raises `CheckpointError`."""
        self._looked = time.monotonic()
        if not self._training.exists():
            return Reached()
        try:
            with safe_open(self._training, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"format {metadata.get('format')!r} is not {FORMAT}")
            if metadata["run_id"] != self._run_id:
                return Reached()
            reached = _reached(json.loads(metadata["reached"]), num_epochs)
            states = _states(tensors, optimizer, int(metadata["states"]))
            head.load_state_dict({n.removeprefix(HEAD): v for n, v in tensors.items() if n.startswith(HEAD)})
            optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
            rng.bit_generator.state = json.loads(metadata["rng"])
            torch.set_rng_state(tensors[GENERATOR + "cpu"])
            if GENERATOR + "cuda" in tensors and next(head.parameters()).is_cuda:
                torch.cuda.set_rng_state(tensors[GENERATOR + "cuda"], next(head.parameters()).device)
            return reached
        except Exception as error:  # a stranger's file can be wrong in any way
            raise _damaged(self._training, error) from error


def _states(
    tensors: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer, number: int
) -> dict[int, dict[str, torch.Tensor]]:
    """Of the optimiser, by the index of the parameter; the kernels that use them trust their shapes."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    names = {"momentum_buffer"} if isinstance(optimizer, torch.optim.SGD) else {"step", "exp_avg", "exp_avg_sq"}
    states: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(OPTIMIZER):
            index, name = key.removeprefix(OPTIMIZER).split("/")
            shape = torch.Size() if name == "step" else parameters[int(index)].shape
            if name not in names or value.shape != shape or not value.is_floating_point():
                raise ValueError(f"{key} of shape {tuple(value.shape)} is no part of this optimiser")
            states.setdefault(int(index), {})[name] = value
    if len(states) != number or any(set(state) != names for state in states.values()):
        raise ValueError("parts of the optimiser are missing")
    return states


def _reached(known: dict, num_epochs: int) -> Reached:
    chosen = {name: _chosen(known[name]) for name in ("best", "selected")}
    numbers = {name: float(known[name]) for name in ("best_validation", "training_seconds")}
    epochs = known["epochs"]
    if not isinstance(epochs, int) or not 0 < epochs < num_epochs:
        raise ValueError(f"{epochs!r} of {num_epochs} epochs are done")
    return Reached(epochs, **chosen, **numbers)


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} is not what an interrupted training leaves ({error}): delete it, and its model is trained from the start"
    )


def _described(choice: tuple[int, Metrics] | None) -> list[object] | None:
    return [choice[0], asdict(choice[1])] if choice else None


def _chosen(described: list | None) -> tuple[int, Metrics] | None:
    return (int(described[0]), _metrics(described[1])) if described else None


def _metrics(known: dict) -> Metrics:
    return Metrics(**{name: int(value) if name == "num_videos" else float(value) for name, value in known.items()})
