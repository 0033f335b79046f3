"""The published protocol: one model per category and score, the last epoch as the result, Fisher's z for averages.

Beside each result stand what keeps it honest: the ridge floor, the figure that picking the epoch on the test set would have
given, and on request a control trained on shuffled labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from features.store import Store
from features.types import TextFeatures
from manifests.card import Card
from manifests.errors import there_are
from train.dataset import FeatureSet, ScoreScale
from train.errors import DataError, SettingsError
from train.fit import Epoch, Fitted, Task, fit
from train.heads import get_head
from train.heads.plugin import ACTIONS, PROMPTS, WithMAG2
from train.metrics import Metrics, fisher_mean
from train.prototypes import Prototypes, PrototypeSettings, build_prototypes
from train.settings import RunSettings, TrainSettings, build_settings

FLOOR = "ridge"
PLUGINS = ("mag2",)


@dataclass(frozen=True)
class Options:
    """What the user asked of `train heads`."""

    head: str | None = None
    """None takes `gslm` where the store has text features for it, `gdlt` otherwise."""
    backbone: str | None = None
    audio: str | None = None
    """Backbone of the sound, for heads that hear."""
    text: str | None = None
    plugin: str | None = None
    """`mag2` puts MLAVL's action guidance before the head."""
    categories: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    seeds: int = 1
    folds: int = 0
    """Cross-validation inside the training split; 0 trains on it and tests on the test split."""
    floor: bool = True
    control: bool = False
    evaluate_every: int = 1
    device: str = "auto"
    overrides: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True)
class Unit:
    """What one model is trained for: a category, a score, and the settings for them."""

    category: str
    scale: ScoreScale
    settings: RunSettings
    window: int


@dataclass(frozen=True)
class Result:
    """One trained model and its test."""

    unit: Unit
    seed: int
    fold: int | None
    control: bool
    task: Task
    fitted: Fitted
    floor: Metrics | None


@dataclass(frozen=True)
class Experiment:
    """A store read once, and every model that the options ask for."""

    data: FeatureSet
    card: Card | None
    dataset: str
    head: str
    units: tuple[Unit, ...]
    prototypes: Prototypes | None
    text: TextFeatures | None
    plugin_text: TextFeatures | None
    """The prompt set whose actions the plug-in takes."""
    options: Options

    @property
    def random_weights(self) -> bool:
        headers = (self.data.header, self.data.audio_header)
        texts = [text.header for text in (self.text, self.plugin_text) if text]
        return any(header.weights_random for header in (*headers, *texts) if header)

    @property
    def num_models(self) -> int:
        return len(self.units) * self.options.seeds * max(self.options.folds, 1)

    def build_head(self, unit: Unit, head: str | None = None) -> torch.nn.Module:
        head_class = get_head(head or self.head)
        settings = unit.settings.head if head is None else head_class.Settings()
        audio_dim = self.data.audio_header.dim if self.data.audio_header else 0
        built = head_class(self.data.header.dim, settings, self.prototypes, audio_dim)
        if self.plugin_text is None or head is not None:
            return built
        return WithMAG2(built, self.data.header.dim, self.plugin_text.group(ACTIONS))


def prepare(store: Store, options: Options) -> Experiment:
    """Load the features and settle every choice before any training. Raises `DataError` or `SettingsError`."""
    card = store.card
    head = options.head or _default_head(store, options)
    head_class = get_head(head)
    data = FeatureSet.load(store, options.backbone, options.audio).to(choose_device(options.device))
    kinds = {"train": TrainSettings, "head": head_class.Settings, "prototypes": PrototypeSettings}
    overrides = dict(options.overrides)
    if options.text:
        overrides["text"] = options.text
    categories = _choose("category", options.categories, [str(c) for c in dict.fromkeys(data.categories) if c])
    if card and "category" not in card.protocol.one_model_per and not options.categories:
        categories = []
    default_scores = card.default_scores if card else ()
    names = _choose("score", options.scores, list(data.scores), default=list(default_scores))
    if not names:
        raise DataError(f"{store.path} holds no scores: give labels when extracting or importing")
    units = []
    for category in categories or [""]:
        settings = build_settings(head, store.dataset, category, overrides, kinds)
        for name in names:
            rows = data.rows(category=category or None, score=name)
            if not len(rows):
                continue
            taught = data.rows(split="train", category=category or None, score=name)
            scale = score_scale(card, name, data.scores[name][taught if len(taught) else rows])
            longest = int(data.num_clips[rows].max())
            window = settings.train.window or min(card.window_clips if card and card.window_clips else longest, longest)
            units.append(Unit(category, scale, settings, window))
    if not units:
        raise DataError(f"{store.path}: no video has the scores {', '.join(names)} in {', '.join(categories)}")
    text = prototypes = None
    needs = head_class.needs(units[0].settings.head)
    if needs.audio and data.audio is None:
        raise DataError(f"head {head} needs sound: name its features with --audio BACKBONE, or take head pgt")
    if needs.texts:
        chosen = units[0].settings.prototypes
        text = store.text(chosen.text)
        prototypes = build_prototypes(text, chosen, needs.texts)
    plugin_text = _plugin_text(store, options, head)
    return Experiment(data, card, store.dataset, head, tuple(units), prototypes, text, plugin_text, options)


def _plugin_text(store: Store, options: Options, head: str) -> TextFeatures | None:
    if options.plugin is None:
        return None
    if options.plugin not in PLUGINS:
        raise SettingsError(f"no plug-in is called {options.plugin!r}{there_are(options.plugin, PLUGINS)}")
    if not hasattr(get_head(head).Settings, "mask"):
        raise SettingsError(f"head {head} is not trained by gradient, so there is nothing for a plug-in to learn")
    return store.text(PROMPTS)


def run(experiment: Experiment, on_epoch: Callable[[Unit, int, int | None, bool, Epoch], None]) -> Iterator[Result]:
    """Train and test model after model, yielding each as it is done, so that an interruption loses one at most."""
    options = experiment.options
    for unit in experiment.units:
        for fold, train_rows, test_rows in splits(experiment.data, unit, options.folds):
            floor = None
            for seed in range(options.seeds):
                for control in (False, True) if options.control else (False,):
                    task = _task(experiment.data, unit, train_rows, test_rows, control)
                    if floor is None and options.floor and experiment.head != FLOOR:
                        floor = fit(task, partial(experiment.build_head, unit, FLOOR), TrainSettings(), seed=0).test
                    fitted = fit(
                        task,
                        partial(experiment.build_head, unit),
                        unit.settings.train,
                        seed=seed,
                        evaluate_every=options.evaluate_every,
                        on_epoch=partial(on_epoch, unit, seed, fold, control),
                    )
                    yield Result(unit, seed, fold, control, task, fitted, None if control else floor)


def splits(data: FeatureSet, unit: Unit, folds: int) -> Iterator[tuple[int | None, np.ndarray, np.ndarray]]:
    """(fold, training rows, test rows): the dataset's split, or folds of its training split.

    Folds are cut from a permutation by numpy's legacy generator with seed 0, as the ridge figures of the docs are.
    """
    of_unit = {"category": unit.category or None, "score": unit.scale.name}
    train_rows = data.rows(split="train", **of_unit)
    where = f"{unit.category} {unit.scale.name}".strip()
    if folds:
        if not len(train_rows):
            train_rows = data.rows(**of_unit)
        if not 2 <= folds <= len(train_rows) // 2:
            raise SettingsError(f"--folds {folds}: {where} has {len(train_rows)} training videos; 2 or more per fold")
        parts = np.array_split(np.random.RandomState(0).permutation(len(train_rows)), folds)
        for fold, held_out in enumerate(parts):
            rest = np.sort(np.concatenate([part for other, part in enumerate(parts) if other != fold]))
            yield fold, train_rows[rest], train_rows[np.sort(held_out)]
        return
    test_rows = data.rows(split="test", **of_unit)
    if len(train_rows) < 2 or len(test_rows) < 2:
        raise DataError(
            f"{where}: {len(train_rows)} training and {len(test_rows)} test videos in the store; a result needs two or "
            f"more of each. For cross-validation inside the training videos: --folds 5"
        )
    yield None, train_rows, test_rows


def _task(data: FeatureSet, unit: Unit, train_rows: np.ndarray, test_rows: np.ndarray, control: bool) -> Task:
    labels = data.scores[unit.scale.name][np.concatenate([train_rows, test_rows])]
    return Task(data, unit.scale, train_rows, test_rows, unit.window, float(np.ptp(labels)), control)


def score_scale(card: Card | None, name: str, labels: np.ndarray) -> ScoreScale:
    """The card's range, or that of the training labels where nobody states one."""
    if card is not None and name in card.scores:
        stated = card.scores[name]
        return ScoreScale(name, stated.minimum, stated.maximum, True)
    lowest, highest = min(0.0, float(labels.min())), float(labels.max())
    if highest <= lowest:
        raise DataError(f"score {name}: all {len(labels)} videos have the same value {highest:g}; nothing to learn")
    return ScoreScale(name, lowest, highest, False)


def choose_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(
            f"--device {name}: {str(error).splitlines()[0]}. This machine offers cpu"
            + (" and cuda" if torch.cuda.is_available() else "")
        ) from error
    return device


def _default_head(store: Store, options: Options) -> str:
    groups = {group for text in store.texts for group in text.groups}
    return "gslm" if options.text or {"grades", "scores"} <= groups else "gdlt"


def _choose(kind: str, asked: Sequence[str], have: list[str], default: list[str] | None = None) -> list[str]:
    unknown = [name for name in asked if name not in have]
    if unknown:
        raise DataError(f"no {kind} {', '.join(map(repr, unknown))} in the store; it has {', '.join(have) or 'none'}")
    return list(asked) or [name for name in default or have if name in have]


@dataclass(frozen=True)
class Row:
    """One line of the table: a category and score, over its seeds and folds."""

    category: str
    score: str
    num_train: int
    num_test: int
    spearman: float
    spearman_deviation: float
    """Over seeds; nan for a single one."""
    mse: float
    relative_l2: float
    best_on_test: float
    validation_selected: float
    """nan unless a validation share was asked for."""
    floor_spearman: float
    floor_mse: float
    control_spearman: float
    seconds_per_epoch: float


AVERAGE = "average"


def summarise(results: Sequence[Result]) -> list[Row]:
    """A row per category and score and, where there are several, their average.

    Correlations are averaged by Fisher's z over folds, then over seeds, then over rows; all else arithmetically.
    """
    rows = []
    for unit in dict.fromkeys(result.unit for result in results):
        mine = [result for result in results if result.unit == unit and not result.control]
        controls = [result for result in results if result.unit == unit and result.control]
        if not mine:
            continue
        by_seed = [
            fisher_mean(r.fitted.test.spearman for r in mine if r.seed == seed) for seed in {r.seed for r in mine}
        ]
        floors = [r.floor for r in mine if r.floor]
        rows.append(
            Row(
                unit.category,
                unit.scale.name,
                round(np.mean([len(r.task.train_rows) for r in mine])),
                round(np.mean([len(r.task.test_rows) for r in mine])),
                fisher_mean(by_seed),
                float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else float("nan"),
                float(np.mean([r.fitted.test.mse for r in mine])),
                float(np.mean([r.fitted.test.relative_l2 for r in mine])),
                fisher_mean(r.fitted.best_on_test[1].spearman for r in mine if r.fitted.best_on_test),
                fisher_mean(r.fitted.validation_selected[1].spearman for r in mine if r.fitted.validation_selected),
                fisher_mean(f.spearman for f in floors),
                float(np.mean([f.mse for f in floors])) if floors else float("nan"),
                fisher_mean(r.fitted.test.spearman for r in controls),
                float(np.mean([r.fitted.seconds_per_epoch for r in mine])),
            )
        )
    if len(rows) > 1:
        rows.append(_average(rows))
    return rows


def _average(rows: Sequence[Row]) -> Row:
    def fisher(name: str) -> float:
        return fisher_mean(getattr(row, name) for row in rows)

    def mean(name: str) -> float:
        return float(np.mean([getattr(row, name) for row in rows]))

    deviation = float(np.sqrt(np.mean([row.spearman_deviation**2 for row in rows])))
    return Row(
        AVERAGE, "", sum(r.num_train for r in rows), sum(r.num_test for r in rows), fisher("spearman"), deviation,
        mean("mse"), mean("relative_l2"), fisher("best_on_test"), fisher("validation_selected"), fisher("floor_spearman"), mean("floor_mse"),
        fisher("control_spearman"), mean("seconds_per_epoch"),
    )  # fmt: skip
