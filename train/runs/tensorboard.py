"""TensorBoard logs of a run, where TensorBoard is installed. `epochs.csv` holds the same numbers."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from longtake.train.engine.state import Epoch
from longtake.train.errors import TrainError
from longtake.train.protocol.experiment import Model
from longtake.train.runs.epochs import Curves

FOLDER = "tensorboard"
INSTALL = "pip install 'longtake[tensorboard]'"


def is_installed() -> bool:
    return find_spec("tensorboard") is not None


class TensorBoardLog:
    """Scalars of every epoch, a folder per model; a context. It writes nothing where TensorBoard is not installed."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._installed = folder, is_installed()
        self._writers: dict[str, Any] = {}

    def __enter__(self) -> TensorBoardLog:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()

    def epoch(self, model: Model, epoch: Epoch) -> None:
        if not self._installed:
            return
        # Imported here because it takes a second.
        from torch.utils.tensorboard import SummaryWriter

        writer = self._writers.get(model.name)
        if writer is None:
            # Events of an earlier training of this model are void from this epoch on.
            writer = SummaryWriter(self._folder / FOLDER / model.name, purge_step=epoch.index)
            self._writers[model.name] = writer
        scalars = {"train/loss": epoch.loss, "train/lr": epoch.lr}
        scalars |= {f"train/{term}": value for term, value in epoch.terms.items()}
        if epoch.test is not None:
            scalars |= {"test/spearman": epoch.test.spearman, "test/mse": epoch.test.mse}
        for name, value in scalars.items():
            if value == value:  # an undefined correlation is nan
                writer.add_scalar(name, value, epoch.index)

    def done(self, model: Model) -> None:
        """Close the file and the thread of a model that is trained."""
        writer = self._writers.pop(model.name, None)
        if writer is not None:
            writer.close()


def logged_models(run: Path) -> list[str]:
    """Names of the models that have a log."""
    return sorted(path.name for path in (run / FOLDER).glob("*") if path.is_dir())


def read_log(run: Path, model: str) -> Curves:
    """Raises `TrainError` where TensorBoard is not installed."""
    if not is_installed():
        raise TrainError(f"{run / FOLDER} holds learning curves of version 0.1, which TensorBoard reads: {INSTALL}")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # It warns of what a resumed run has written twice, and leaves it out.
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    events = EventAccumulator(str(run / FOLDER / model), size_guidance={"scalars": 0}).Reload()
    tags = events.Tags()["scalars"]
    return Curves(
        *(
            {point.step: point.value for point in events.Scalars(tag)} if tag in tags else {}
            for tag in ("train/loss", "test/spearman")
        )
    )
