"""A run that was interrupted goes on: what each of its models had reached, in files of the run's folder.

A model in training leaves its weights, its optimiser and the state of every random generator at the end of an epoch, and so
learns after an interruption what it would have learnt without. A finished one leaves what it says of the test videos.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from train.errors import CheckpointError
from train.fitting import Fitted, Reached
from train.metrics import Metrics

FOLDER = "resume"
EVERY_SECONDS = 60.0
"""Of training between two savings: what an interruption can lose, and the epoch in training."""
FORMAT = "longtake-resume-1"
HEAD, OPTIMIZER, GENERATOR = "head/", "optimizer/", "generator/"


class Saved:
    """What one model of a run has reached. `path` has no suffix: a model in training has a file of tensors, a finished one JSON."""

    def __init__(self, path: Path) -> None:
        self._training = path.with_name(f"{path.name}.safetensors")
        self._finished = path.with_name(f"{path.name}.json")
        self._looked = time.monotonic()

    def finished(self) -> Fitted | None:
        """What a finished model says, without its head, which is a checkpoint of the run. Raises `CheckpointError`."""
        try:
            known = json.loads(self._finished.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _damaged(self._finished, error) from error
        try:
            chosen = {name: _chosen(known[name]) for name in ("best_on_test", "validation_selected")}
            predicted = np.array(known["predicted"], dtype=float)
            return Fitted(
                None, predicted, Metrics(**known["test"]), seconds_per_epoch=known["seconds_per_epoch"], **chosen
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(self._finished, error) from error

    def finish(self, fitted: Fitted) -> None:
        """The model is done, and its checkpoint written."""
        known = {
            "predicted": fitted.predicted.tolist(),
            "test": asdict(fitted.test),
            "best_on_test": _described(fitted.best_on_test),
            "validation_selected": _described(fitted.validation_selected),
            "seconds_per_epoch": fitted.seconds_per_epoch,
        }
        self._finished.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._finished.with_name(f".{self._finished.name}.tmp")
        temporary.write_text(json.dumps(known) + "\n", encoding="utf-8")
        os.replace(temporary, self._finished)
        self._training.unlink(missing_ok=True)

    def save_when_due(
        self, head: nn.Module, optimizer: torch.optim.Optimizer, rng: np.random.Generator, reached: Reached
    ) -> None:
        """After an epoch: `reached` and everything that the next epoch depends on, once in `EVERY_SECONDS`."""
        if time.monotonic() - self._looked < EVERY_SECONDS:
            return
        tensors = {HEAD + name: tensor for name, tensor in head.state_dict().items()}
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{OPTIMIZER}{index}/{name}": value for name, value in state.items() if value is not None}
        tensors[GENERATOR + "cpu"] = torch.get_rng_state()
        if next(head.parameters()).is_cuda:
            tensors[GENERATOR + "cuda"] = torch.cuda.get_rng_state(next(head.parameters()).device)
        described = {**asdict(reached), "best": _described(reached.best), "selected": _described(reached.selected)}
        metadata = {"format": FORMAT, "reached": json.dumps(described), "rng": json.dumps(rng.bit_generator.state)}
        self._training.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._training.with_name(f".{self._training.name}.tmp")
        save_file(
            {name: torch.as_tensor(value).cpu().contiguous() for name, value in tensors.items()}, temporary, metadata
        )
        os.replace(temporary, self._training)
        self._looked = time.monotonic()

    def restore(self, head: nn.Module, optimizer: torch.optim.Optimizer, rng: np.random.Generator) -> Reached:
        """Put all three where they were; the beginning, where nothing was saved. Raises `CheckpointError`."""
        self._looked = time.monotonic()
        if not self._training.exists():
            return Reached()
        try:
            with safe_open(self._training, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"format {metadata.get('format')!r} is not {FORMAT}")
            known = json.loads(metadata["reached"])
            chosen = {name: _chosen(known[name]) for name in ("best", "selected")}
            states: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(OPTIMIZER):
                    index, name = key.removeprefix(OPTIMIZER).split("/")
                    states.setdefault(int(index), {})[name] = value
            head.load_state_dict({n.removeprefix(HEAD): v for n, v in tensors.items() if n.startswith(HEAD)})
            optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
            rng.bit_generator.state = json.loads(metadata["rng"])
            torch.set_rng_state(tensors[GENERATOR + "cpu"])
            if GENERATOR + "cuda" in tensors and next(head.parameters()).is_cuda:
                torch.cuda.set_rng_state(tensors[GENERATOR + "cuda"], next(head.parameters()).device)
            return Reached(**{**known, **chosen})
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise _damaged(self._training, error) from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} is not what an interrupted training leaves ({error}): delete it, and its model is trained from the start"
    )


def _described(choice: tuple[int, Metrics] | None) -> list[object] | None:
    return [choice[0], asdict(choice[1])] if choice else None


def _chosen(described: list | None) -> tuple[int, Metrics] | None:
    return (described[0], Metrics(**described[1])) if described else None
