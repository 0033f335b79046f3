"""Resume points: the state of each model of an interrupted run, in files of the run's folder.

A model in training saves its weights, its optimizer and the state of every random generator at the end of an epoch, so that it
learns after an interruption what it would have learnt without. A finished model saves its predictions for the test videos.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from longtake.files import require_regular, write_whole
from longtake.train.engine.sealed import SUM, read_sealed, sum_of_json, write_sealed
from longtake.train.engine.state import ChosenEpoch, Fitted, TrainingState
from longtake.train.errors import CheckpointError
from longtake.train.metrics import Metrics

logger = logging.getLogger(__name__)
FOLDER = "resume"
EVERY_SECONDS = 60.0
"""Of training between two saves: an interruption loses at most so much, and the epoch in training."""
KIND = "longtake-resume"
"""Format 2 has a checksum; 1 had none."""
HEAD, OPTIMIZER, GENERATOR = "head/", "optimizer/", "generator/"


class ResumePoint:
    """Where one model of a run saves its state. `path` has no suffix: the state in training is a file of tensors, the results of a
    finished model are JSON.

    Files of another run, by its `run_id`, are ignored. A model counts as finished only while its `checkpoint` exists, if it has one.
    """

    def __init__(self, path: Path, run_id: str, checkpoint: Path | None) -> None:
        self._training = path.with_name(f"{path.name}.safetensors")
        self._finished = path.with_name(f"{path.name}.json")
        self._run_id, self._checkpoint = run_id, checkpoint
        self._saved = time.monotonic()

    def finished(self, num_videos: int) -> Fitted | None:
        """Results of a finished model for so many test videos, without its head, which is on disk. Raises `CheckpointError`."""
        if not self._finished.exists() or (self._checkpoint and not self._checkpoint.exists()):
            return None
        try:
            known = json.loads(require_regular(self._finished).read_text(encoding="utf-8"))
            if known["run_id"] != self._run_id:
                return None
            if SUM in known and known.pop(SUM) != sum_of_json(known):
                raise ValueError("its checksum is not that of what it holds")
            predicted = np.array(known["predicted"], dtype=float)
            if predicted.shape != (num_videos,):
                raise ValueError(f"scores of {predicted.shape} videos, {num_videos} expected")
            best, selected = _chosen(known["best_on_test"]), _chosen(known["validation_selected"])
            return Fitted(None, predicted, _metrics(known["test"]), best, selected, _number(known["seconds_per_epoch"]))
        except Exception as error:  # an untrusted file can be wrong in any way
            raise _damaged(self._finished, error) from error

    def finish(self, fitted: Fitted) -> None:
        """Save the results of a model whose checkpoint is written."""
        known = {
            "run_id": self._run_id,
            "predicted": fitted.predicted.tolist(),
            "test": asdict(fitted.test),
            "best_on_test": _described(fitted.best_on_test),
            "validation_selected": _described(fitted.validation_selected),
            "seconds_per_epoch": fitted.seconds_per_epoch,
        }
        self._finished.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._finished, json.dumps({**known, SUM: sum_of_json(known)}) + "\n")
        self._training.unlink(missing_ok=True)

    def save_when_due(
        self, head: nn.Module, optimizer: torch.optim.Optimizer, rng: np.random.Generator, state: TrainingState
    ) -> None:
        """After an epoch, once in `EVERY_SECONDS`: save everything that the next epoch depends on. A full disk is a warning and does
        not end the training."""
        if time.monotonic() - self._saved < EVERY_SECONDS:
            return
        self._saved = time.monotonic()
        moments = optimizer.state_dict()["state"]
        tensors = {HEAD + name: tensor for name, tensor in head.state_dict().items()}
        for index, of_parameter in moments.items():
            known = {name: value for name, value in of_parameter.items() if value is not None}
            tensors |= {f"{OPTIMIZER}{index}/{name}": value for name, value in known.items()}
        tensors[GENERATOR + "cpu"] = torch.get_rng_state()
        if next(head.parameters()).is_cuda:
            tensors[GENERATOR + "cuda"] = torch.cuda.get_rng_state(next(head.parameters()).device)
        described = {**asdict(state), "best": _described(state.best), "selected": _described(state.selected)}
        metadata = {"format": f"{KIND}-2", "run_id": self._run_id, "reached": json.dumps(described)}
        metadata |= {"states": str(len(moments)), "rng": json.dumps(rng.bit_generator.state)}
        try:
            self._training.parent.mkdir(parents=True, exist_ok=True)
            whole = {name: torch.as_tensor(value).cpu().contiguous() for name, value in tensors.items()}
            write_sealed(self._training, whole, metadata)
        except OSError as error:
            logger.warning(
                "the state of training cannot be saved, so --resume would start from an earlier epoch: %s", error
            )

    def restore(
        self, head: nn.Module, optimizer: torch.optim.Optimizer, rng: np.random.Generator, num_epochs: int
    ) -> TrainingState:
        """Restore all three, and return the state of training, which is before the last of so many epochs. Where nothing was saved, all
        stay as they are. Raises `CheckpointError`."""
        self._saved = time.monotonic()
        if not self._training.exists():
            return TrainingState()
        try:
            tensors, metadata = read_sealed(self._training, KIND)
            if metadata["run_id"] != self._run_id:
                return TrainingState()
            state = _training_state(json.loads(metadata["reached"]), num_epochs)
            moments = _moments(tensors, optimizer, int(metadata["states"]))
            head.load_state_dict({n.removeprefix(HEAD): v for n, v in tensors.items() if n.startswith(HEAD)})
            optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
            rng.bit_generator.state = json.loads(metadata["rng"])
            torch.set_rng_state(tensors[GENERATOR + "cpu"])
            if GENERATOR + "cuda" in tensors and next(head.parameters()).is_cuda:
                torch.cuda.set_rng_state(tensors[GENERATOR + "cuda"], next(head.parameters()).device)
            return state
        except Exception as error:  # an untrusted file can be wrong in any way
            raise _damaged(self._training, error) from error


def _moments(
    tensors: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer, number: int
) -> dict[int, dict[str, torch.Tensor]]:
    """State of the optimizer by the index of the parameter. Shapes are checked, since the kernels that use them trust them."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    names = {"momentum_buffer"} if isinstance(optimizer, torch.optim.SGD) else {"step", "exp_avg", "exp_avg_sq"}
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(OPTIMIZER):
            index, name = key.removeprefix(OPTIMIZER).split("/")
            shape = torch.Size() if name == "step" else parameters[int(index)].shape
            if name not in names or value.shape != shape or not value.is_floating_point():
                raise ValueError(f"{key} of shape {tuple(value.shape)} does not belong to this optimizer")
            moments.setdefault(int(index), {})[name] = value
    if len(moments) != number or any(set(found) != names for found in moments.values()):
        raise ValueError("parts of the optimizer are missing")
    return moments


def _training_state(known: dict[str, Any], num_epochs: int) -> TrainingState:
    epochs, best, selected = known["epochs"], _chosen(known["best"]), _chosen(known["selected"])
    if not isinstance(epochs, int) or not 0 < epochs < num_epochs:
        raise ValueError(f"{epochs!r} of {num_epochs} epochs are done")
    return TrainingState(epochs, best, selected, _number(known["best_validation"]), _number(known["training_seconds"]))


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged and training cannot resume from it ({error}): delete it to train this model from the start"
    )


def _described(choice: ChosenEpoch | None) -> list[object] | None:
    return [choice[0], asdict(choice[1])] if choice else None


def _chosen(described: list[Any] | None) -> ChosenEpoch | None:
    return (int(described[0]), _metrics(described[1])) if described else None


def _metrics(known: dict[str, float]) -> Metrics:
    """NaN is one of their values, so `longtake.checks` cannot read them."""
    values: dict[str, Any] = {name: int(v) if name == "num_videos" else _number(v) for name, v in known.items()}
    return Metrics(**values)


def _number(value: object) -> float:
    """Raises `ValueError` for text and truth values."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a number")
    return float(value)
