"""The folder of a run: its table, `metrics.json`, `predictions.csv` and checkpoints."""

from __future__ import annotations

import csv
import json
import math
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment
from tabulate import tabulate

from longtake.errors import LongtakeWarning
from longtake.features.tools.card import Whole, one_line
from longtake.files import write_whole
from longtake.manifests.pretrained import licence_of
from longtake.terminal import finite
from longtake.train.engine.checkpoint import CHECKPOINTS, HeadConfig, save_checkpoint
from longtake.train.engine.resume import FOLDER as RESUME
from longtake.train.errors import SettingsError
from longtake.train.metrics import Metrics
from longtake.train.protocol.experiment import Experiment
from longtake.train.protocol.options import BASELINE
from longtake.train.protocol.run import Result
from longtake.train.protocol.summary import Row, summarise, unfinished

if TYPE_CHECKING:
    from longtake.train.runs.predict import Prediction

BEST_ON_TEST = "best_on_test (as published; optimistic)"
RANDOM_NOTE = "Made from RANDOM backbone or text weights: these numbers say nothing about a method's quality."
CARD = Path(__file__).with_name("card.md")
CONFIG = "config.json"
"""Of a run of `train heads`; a folder of imported checkpoints has none."""


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("longtake", "torch", "numpy", "h5py")}


def head_config(experiment: Experiment, result: Result) -> HeadConfig:
    unit, settings = result.model.unit, result.model.unit.settings
    return HeadConfig(
        head=experiment.head,
        dim=experiment.data.header.dim,
        head_settings=asdict(settings.head),
        train_settings=asdict(settings.train),
        dataset=experiment.dataset,
        category=unit.category,
        score=asdict(unit.scale),
        parts=[
            {"dataset": part.dataset, "category": part.category, "score": asdict(part.unit.scale)}
            for part in experiment.parts
        ],
        window=unit.window,
        seed=result.seed,
        fold=result.fold,
        folds=experiment.options.folds,
        feature_header=experiment.data.header.to_json(),
        recipe_id=experiment.data.header.recipe_id,
        audio_header=experiment.data.second_header.to_json() if experiment.data.second_header else None,
        text_recipe_id=experiment.texts.of_head.header.recipe_id if experiment.texts.of_head else None,
        plugin=experiment.options.plugin,
        plugin_settings=asdict(settings.plugin) if settings.plugin else {},
        terms={category: list(index) for category, index in experiment.texts.terms.items()},
        random_weights=experiment.random_weights,
        versions=versions(),
    )


class RunFolder:
    """The folder of one run. Each result is written when it is there, so an interrupted run keeps what it has."""

    def __init__(self, folder: Path, experiment: Experiment, resume: bool = False) -> None:
        self.folder, self.experiment = folder, experiment
        self.results: list[Result] = []
        self.num_models = len(experiment.models)
        options = {**asdict(experiment.options), "overrides": dict(experiment.options.overrides)}
        settings = {unit.category or "all": asdict(unit.settings) for unit in experiment.units}
        config = {
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

    def _require_mine(self, config: dict) -> dict | None:
        """The configuration that is there already. The same run may be made anew or resumed, on another machine as well, since it writes
        the same files. Another's checkpoints would stay beside them, and have a say in every prediction."""
        path = self.folder / CONFIG
        try:
            there = json.loads(path.read_text())
            there = there if isinstance(there, dict) and isinstance(there.get("options"), dict) else None
        except FileNotFoundError:
            if any((self.folder / CHECKPOINTS).glob("*.safetensors")):
                raise SettingsError(
                    f"{self.folder} holds checkpoints of no run of `train heads`, such as imported ones: give a folder of its own with "
                    f"--out, or delete that one"
                ) from None
            return None
        except (OSError, ValueError):
            there = None
        if there is None:
            raise SettingsError(
                f"{path} cannot be read, so that nobody knows what run this is: take another --out, or delete the folder"
            )
        different = _differences(there, json.loads(json.dumps(finite(config))))
        if different:
            raise SettingsError(
                f"{self.folder} holds another run ({', '.join(different)}): give a folder of its own with --out, or delete that one"
            )
        return there

    def _write_json(self, name: str, value: object) -> None:
        write_whole(self.folder / name, json.dumps(finite(value), indent=2) + "\n")

    def add(self, result: Result) -> Result:
        """Write it; what comes back has no head, which is on disk now and would fill the memory of a long run. A model that was kept is
        written about with the next one, or by `close`."""
        first = result.part in (self.experiment.parts or (result.part,))[:1]
        if first and not (result.control or result.kept):
            config = head_config(self.experiment, result)
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
        metrics = self.metrics()
        self._write_json("metrics.json", metrics)
        self._write_predictions()
        self._write_card(metrics)

    def _write_card(self, metrics: dict[str, object]) -> None:
        template = Environment(
            trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, finalize=one_line
        ).from_string(CARD.read_text(encoding="utf-8"))
        rows = [
            replace(row, category=one_line(row.category), score=one_line(row.score)) for row in summarise(self.results)
        ]
        page = template.render(
            metrics=metrics,
            config=json.loads((self.folder / CONFIG).read_text(encoding="utf-8")),
            table=Whole(format_table(rows, "github")),
            models=sum(not result.control for result in self.results),
            unfinished=unfinished(metrics),
            random_note=RANDOM_NOTE,
        )
        write_whole(self.folder / "README.md", page)

    def metrics(self) -> dict[str, object]:
        return {
            "head": self.experiment.head,
            "dataset": self.experiment.dataset,
            "result": "last epoch",
            "random_weights": self.experiment.random_weights,
            "num_models": self.num_models,
            # A unified model has a result for each of its parts.
            "num_done": len(self.results) // max(len(self.experiment.parts), 1),
            "table": [asdict(row) for row in summarise(self.results)],
            "models": [_model(result) for result in self.results],
        }

    def _write_predictions(self) -> None:
        data = self.experiment.data
        text = StringIO()
        writer = csv.writer(text)
        writer.writerow(["video_id", "category", "score", "seed", "fold", "control", "true", "predicted"])
        for result in self.results:
            name = result.unit.scale.name
            fold = "" if result.fold is None else result.fold
            for row, predicted in zip(result.task.test_rows, result.fitted.predicted):
                true = data.scores[name][row]
                writer.writerow(
                    [data.video_ids[row], data.categories[row], name, result.seed, fold, int(result.control),
                     f"{true:g}", f"{predicted:.6f}"]
                )  # fmt: skip
        write_whole(self.folder / "predictions.csv", text.getvalue())


# What tells a run from others. Most are part of `run_id`, and are here for the message that names them.
_SAME = ("head", "dataset", "settings", "recipe_id", "data_id", "run_id")
_ANYWHERE = ("device", "parallel", "overrides")
"""Options of which a run may have others when it goes on; overrides are part of its settings."""


def _earlier_versions(there: dict, now: dict[str, str]) -> list[dict[str, str]]:
    """Of the packages that computed what a resumed run has kept, where they were others: a warning says so, and the run's page."""
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


def _differences(one: dict, other: dict) -> list[str]:
    """Names of what makes two configurations those of different runs. Of a number for everything, only when nothing else says it."""
    names = [name for name in _SAME if one.get(name) != other.get(name)]
    options = one["options"].keys() | other["options"].keys()
    names += sorted(
        name for name in options if name not in _ANYWHERE and one["options"].get(name) != other["options"].get(name)
    )
    return [name for name in names if name != "run_id"] or names


def write_scores(path: Path, predictions: Sequence[Prediction]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "category", "score", "predicted", "deviation", "heads"])
        for one in predictions:
            deviation = "" if math.isnan(one.deviation) else f"{one.deviation:.6f}"
            writer.writerow([one.video_id, one.category, one.score, f"{one.predicted:.6f}", deviation, one.num_heads])


def _model(result: Result) -> dict[str, object]:
    return {
        "category": result.unit.category,
        "score": result.unit.scale.name,
        "seed": result.seed,
        "fold": result.fold,
        "control": result.control,
        "test": asdict(result.fitted.test),
        BEST_ON_TEST: _chosen(result.fitted.best_on_test),
        "validation_selected": _chosen(result.fitted.validation_selected),
        BASELINE: asdict(result.baseline) if result.baseline else None,
        "seconds_per_epoch": result.fitted.seconds_per_epoch,
    }


def _chosen(choice: tuple[int, Metrics] | None) -> dict[str, object] | None:
    return {"epoch": choice[0], **asdict(choice[1])} if choice else None


def format_table(rows: Sequence[Row], form: str = "simple") -> str:
    """The table that `train heads` prints, in a format of tabulate; columns without a number are left out."""
    columns = {
        "category": [row.category for row in rows],
        "score": [row.score for row in rows],
        "train/test": [f"{row.num_train}/{row.num_test}" for row in rows],
        "Spearman": [_with_deviation(row) for row in rows],
        "MSE": [_number(row.mse, 2) for row in rows],
        "R-l2 x100": [_number(row.relative_l2, 2) for row in rows],
        "AIoU\n@0.5": [_number(row.aiou_50) for row in rows],
        "AIoU\n@0.75": [_number(row.aiou_75) for row in rows],
        "mean of seeds\nSpearman": [_number(row.ensemble_spearman) for row in rows],
        "mean of seeds\nMSE": [_number(row.ensemble_mse, 2) for row in rows],
        f"{BASELINE} floor\nSpearman": [_number(row.floor_spearman) for row in rows],
        f"{BASELINE} floor\nMSE": [_number(row.floor_mse, 2) for row in rows],
        "shuffled labels\nSpearman": [_number(row.control_spearman) for row in rows],
        "validation-\nselected": [_number(row.validation_selected) for row in rows],
        "best_on_test\n(as published;\noptimistic)": [_number(row.best_on_test) for row in rows],
    }
    # Only a terminal needs narrow columns.
    shown = {
        n if form == "simple" else n.replace("-\n", "-").replace("\n", " "): v for n, v in columns.items() if any(v)
    }
    return tabulate(
        shown,
        headers="keys",
        disable_numparse=True,
        tablefmt=form,
    )


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else ""


def _with_deviation(row: Row) -> str:
    deviation = _number(row.spearman_deviation)
    return _number(row.spearman) + (f" ± {deviation}" if deviation else "")
