"""The folder of a run: its lock, config.json, metrics.json, predictions.csv, README.md and checkpoints."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from jinja2 import Environment

from longtake.errors import LongtakeWarning
from longtake.files import write_whole
from longtake.manifests.pretrained import licence_of
from longtake.safe_text import Whole, in_markdown
from longtake.terminal import finite
from longtake.train.data.dataset import FeatureSet
from longtake.train.engine.checkpoint import save_checkpoint
from longtake.train.engine.head_config import HeadConfig, ScoredPart
from longtake.train.engine.names import CHECKPOINTS
from longtake.train.engine.resume import FOLDER as RESUME
from longtake.train.errors import DataError, SettingsError, TrainError
from longtake.train.metrics import Metrics
from longtake.train.protocol.experiment import Experiment, random_weights
from longtake.train.protocol.intervals import drawn_group
from longtake.train.protocol.options import BASELINE, NO_VIDEO, Options, are_pooled
from longtake.train.protocol.run import Result
from longtake.train.protocol.summary import Row, summarise
from longtake.train.protocol.texts import Texts
from longtake.train.protocol.units import Unit
from longtake.train.runs.records import CONFIG, METRICS, read_config, read_values, unfinished
from longtake.train.runs.tables import RANDOM_NOTE, format_table, notes, undefined_note, write_predictions

BEST_ON_TEST = "best_on_test (as published; optimistic)"
CARD = Path(__file__).with_name("card.md")
LOCK = ".lock"
"""Lock file of a run's folder, held as long as a process trains in it. The system releases it when that process ends in any way,
where the file system supports locks."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Raises `TrainError` where another process trains in the folder, such as a job that a scheduler believes to be dead: each would undo
    what the other does."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise TrainError(
            f"another process trains in {folder} now: wait until it has ended, or choose another --out. If that process is gone, delete "
            f"the lock file {folder / LOCK}"
        ) from error
    except NotImplementedError:
        pass  # A file system without locks.
    try:
        yield
    finally:
        lock.release()


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("longtake", "torch", "numpy", "h5py")}


def head_config(
    head: str, data: FeatureSet, dataset: str, unit: Unit, texts: Texts, seed: int = 0, fold: int | None = None, **others: Any
) -> HeadConfig:  # fmt: skip
    """Of a head that learnt a unit from the data and texts. `others` are fields of unified heads, folds and plug-ins."""
    second, settings = data.second_header, unit.settings
    return HeadConfig(
        head=head,
        dim=data.header.dim,
        head_settings=asdict(settings.head),
        train_settings=settings.train,
        dataset=dataset,
        category=unit.category,
        score=unit.scale,
        window=unit.window,
        seed=seed,
        fold=fold,
        feature_header=data.header.to_json(),
        recipe_id=data.header.recipe_id,
        audio_header=second.to_json() if second else None,
        text_recipe_id=texts.of_head.header.recipe_id if texts.of_head else None,
        plugin_settings=asdict(settings.plugin) if settings.plugin else {},
        terms={category: list(index) for category, index in texts.terms.items()},
        random_weights=random_weights(data, texts),
        versions=versions(),
        stream_headers={name: table.header.to_json() for name, table in data.streams.items()},
        **{"parts": (), "plugin": None, **others},
    )


class RunFolder:
    """Writes each result when it is there, so that an interrupted run keeps what it has."""

    def __init__(self, folder: Path, experiment: Experiment, resume: bool = False) -> None:
        self.folder, self.experiment = folder, experiment
        self.results: list[Result] = []
        options = {**asdict(experiment.options), "overrides": dict(experiment.options.overrides)}
        settings = {unit.category or "all": asdict(unit.settings) for unit in experiment.units}
        config: dict[str, Any] = {
            "head": experiment.head,
            "dataset": experiment.dataset,
            "preset": experiment.options.preset,
            "options": options,
            "settings": settings,
            "features": experiment.data.header.to_dict(),
            "recipe_id": experiment.data.header.recipe_id,
            "data_id": experiment.data_id,
            "run_id": experiment.run_id,
            "text": json.loads(experiment.texts.of_head.header.to_json()) if experiment.texts.of_head else None,
            "random_weights": experiment.random_weights,
            "dataset_title": experiment.card.title if experiment.card else None,
            "dataset_licence": experiment.card.licence if experiment.card else None,
            "dataset_citation": experiment.card.citation if experiment.card else None,
            "weights_licence": licence_of(experiment.data.header.weights),
            "versions": versions(),
        }
        there = self._require_mine(config)
        if not resume and (folder / RESUME).exists():
            shutil.rmtree(folder / RESUME)
        config["earlier_versions"] = _earlier_versions(there, config["versions"]) if resume and there else []
        folder.mkdir(parents=True, exist_ok=True)
        self._write_json(CONFIG, config)

    def _require_mine(self, config: dict[str, Any]) -> dict[str, Any] | None:
        """The configuration in the folder, if any. The same run may be repeated or resumed, on another machine as well, since it writes
        the same files. Checkpoints of another run would remain, and take part in every prediction."""
        path = self.folder / CONFIG
        if not path.exists():
            if any((self.folder / CHECKPOINTS).glob("*.safetensors")):
                raise SettingsError(
                    f"{self.folder} holds checkpoints of no run of `train heads`, such as imported ones: give a folder of its own with "
                    f"--out, or delete that one"
                )
            return None
        try:
            read_config(self.folder)
            there = read_values(path)
        except DataError as error:
            raise SettingsError(
                f"{path} cannot be read, so the run in this folder cannot be identified: choose another --out or delete the folder\n{error}"
            ) from error
        different = _differences(there, json.loads(json.dumps(finite(config))))
        if different:
            raise SettingsError(
                f"{self.folder} holds another run ({', '.join(different)}): give a folder of its own with --out, or delete that one"
            )
        return there

    def _write_json(self, name: str, value: object) -> None:
        write_whole(self.folder / name, json.dumps(finite(value), indent=2) + "\n")

    def add(self, result: Result) -> Result:
        """Write a result and return it without its head, which is on disk now and would fill the memory of a long run. A model that was
        kept is written with the next one, or by `close`."""
        model, experiment = result.model, self.experiment
        first = result.part in (experiment.parts or (result.part,))[:1]
        if first and not model.control and result.fitted.head is not None:
            config = head_config(
                experiment.head, experiment.data, experiment.dataset, model.unit, experiment.texts, model.seed, model.fold,
                folds=len(experiment.splits[result.unit]) if experiment.options.folds else 0,
                plugin=experiment.options.plugin,
                parts=tuple(ScoredPart(part.dataset, part.category, part.unit.scale) for part in experiment.parts),
            )  # fmt: skip
            path = self.folder / CHECKPOINTS / f"{config.file_name}.safetensors"
            save_checkpoint(path, result.fitted.head, config, result.fitted.exemplars)
        result = replace(result, fitted=replace(result.fitted, head=None, exemplars=None))
        self.results.append(result)
        if not result.kept:
            self._write_results()
        return result

    def close(self) -> None:
        if self.results and self.results[-1].kept:
            self._write_results()

    def _write_results(self) -> None:
        rows = summarise(self.results, self.finished, self.group, self.experiment.within, self.pools)
        metrics = self.metrics(rows)
        self._write_json(METRICS, metrics)
        write_predictions(self.folder, self.experiment.data, self.results)
        self._write_card(metrics, rows)

    @property
    def group(self) -> str:
        """Over whose groups intervals are; empty for videos."""
        rows = [result.task.test_rows for result in self.results]
        return drawn_group(self.experiment.data.groups, np.unique(np.concatenate(rows)))

    @property
    def pools(self) -> bool:
        return are_pooled(self.experiment.options.folds)

    @property
    def num_done(self) -> int:
        """A unified model has a result for each of its parts."""
        return len(self.results) // max(len(self.experiment.parts), 1)

    @property
    def finished(self) -> bool:
        """Intervals are computed once, at the end."""
        return self.num_done == len(self.experiment.models)

    def _write_card(self, metrics: dict[str, Any], rows: Sequence[Row]) -> None:
        config = read_config(self.folder)
        environment = Environment(
            trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, finalize=in_markdown
        )
        page = environment.from_string(CARD.read_text(encoding="utf-8")).render(
            metrics=metrics,
            config=config,
            table=Whole(format_table(rows, "github")),
            notes=notes(rows, self.group),
            models=sum(not result.model.control for result in self.results),
            undefined=undefined_note(
                [one.fitted.test.spearman for one in self.results if not one.model.control], self.pools
            ),
            unfinished=unfinished(metrics["num_done"], metrics["num_models"]),
            random_note=RANDOM_NOTE,
        )
        write_whole(self.folder / "README.md", page)

    def metrics(self, rows: Sequence[Row]) -> dict[str, Any]:
        return {
            "head": self.experiment.head,
            "dataset": self.experiment.dataset,
            "result": "last epoch",
            "random_weights": self.experiment.random_weights,
            "num_models": len(self.experiment.models),
            "num_done": self.num_done,
            "intervals_over": self.group or "videos",
            "table": [asdict(row) for row in rows],
            "audit": [leak.to_dict() for leak in self.experiment.audit],
            "models": [_model(result) for result in self.results],
        }


# What distinguishes runs. Most are part of `run_id`, and are here for the message that names them.
_SAME = ("head", "dataset", "settings", "recipe_id", "data_id", "run_id")
_ANYWHERE = ("device", "parallel", "overrides", "within", "memory")
"""Options that may change when a run is resumed; overrides are part of its settings."""


def _earlier_versions(there: Mapping[str, Any], now: Mapping[str, str]) -> list[dict[str, str]]:
    """Versions of the packages that computed what a resumed run has kept, where they differ from today's: a warning names them, and the
    run's page shows them."""
    known, before = there.get("earlier_versions", []), there.get("versions", {})
    changed = [f"{name} {before.get(name)} then, {mine} now" for name, mine in now.items() if before.get(name) != mine]
    if not changed:
        return known
    warnings.warn(
        f"what this run has kept was computed by other versions ({', '.join(changed)}), which may round otherwise",
        LongtakeWarning,
        stacklevel=2,
    )
    return [*known, before]


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names of the entries that make two configurations those of different runs; `run_id` alone only when nothing else differs."""
    names = [name for name in _SAME if one.get(name) != other.get(name)]
    if one.get("run_id") == other.get("run_id"):
        # A later release may have more settings, which do not change the id while they have their defaults.
        names = [name for name in names if name != "settings"]
    # A run of an earlier release lacks options of later ones, which it had at their defaults.
    defaults = json.loads(json.dumps(asdict(Options())))
    mine, theirs = ({**defaults, **known["options"]} for known in (one, other))
    names += sorted(
        name for name in mine.keys() | theirs.keys() if name not in _ANYWHERE and mine.get(name) != theirs.get(name)
    )
    return [name for name in names if name != "run_id"] or names


def _model(result: Result) -> dict[str, object]:
    return {
        **result.model.facts(result.unit),
        "test": asdict(result.fitted.test),
        BEST_ON_TEST: _chosen(result.fitted.best_on_test),
        "validation_selected": _chosen(result.fitted.validation_selected),
        BASELINE: asdict(result.baseline.test) if result.baseline else None,
        NO_VIDEO: asdict(result.baselines[NO_VIDEO].test) if NO_VIDEO in result.baselines else None,
        "seconds_per_epoch": result.fitted.seconds_per_epoch,
    }


def _chosen(choice: tuple[int, Metrics] | None) -> dict[str, object] | None:
    return {"epoch": choice[0], **asdict(choice[1])} if choice else None
