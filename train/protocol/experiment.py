"""The published protocol: one model per category and score, the last epoch as the result, Fisher's z for averages.

Beside each result stand what keeps it honest: the ridge floor, the figure that picking the epoch on the test set would have
given, and on request a control trained on shuffled labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from longtake.errors import LongtakeError, there_are
from longtake.features.store import Store
from longtake.features.types import TextFeatures, recipe_hash
from longtake.manifests.card import Card
from longtake.manifests.prompts import STAGES
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.data.prompts import PrototypeSettings, build_prototypes, terms_of
from longtake.train.engine.checkpoint import CHECKPOINTS, model_name
from longtake.train.engine.loop import Epoch, Fitted, Job, Task, fit, num_held_out
from longtake.train.engine.parallel import NONE, require_way, train_all
from longtake.train.engine.resume import FOLDER as RESUME
from longtake.train.engine.resume import Saved
from longtake.train.engine.settings import PUBLISHED, RunSettings, TrainSettings, build_settings, card_settings
from longtake.train.errors import DataError, SettingsError
from longtake.train.heads import get_head
from longtake.train.heads.base import Needs, Prototypes
from longtake.train.heads.plugin import Plugin, plugin_for
from longtake.train.metrics import Metrics, measure

FLOOR = "ridge"
OWN_FOLD = "fold"
"""How the splits of a dataset with folds of its own are named: `fold1`, `fold2`, ..."""


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
    """Of `longtake.train.heads.plugin.PLUGINS`, put before the head."""
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
    preset: str = PUBLISHED
    first_seed: int = 0
    parallel: str = NONE
    """One of `longtake.train.engine.parallel.WAYS`: which models are trained at the same time."""
    unified: bool = False
    """One model for several datasets: the settings are those for a dataset of no paper."""


@dataclass(frozen=True)
class Unit:
    """What one model is trained for: a category, a score, and the settings for them."""

    category: str
    scale: ScoreScale
    settings: RunSettings
    window: int


@dataclass(frozen=True)
class Part:
    """A category and score of one dataset, tested on its own and in its own units. A unified model has several."""

    dataset: str
    category: str
    """As the dataset names it: units of a unified model have the dataset's name before it."""
    unit: Unit


@dataclass(frozen=True)
class Result:
    """One trained model and its test; of a unified model, its test on one part."""

    model: Unit
    part: Part
    seed: int
    fold: int | None
    control: bool
    task: Task
    fitted: Fitted
    floor: Metrics | None
    kept: bool = False
    """It was finished before the run was resumed."""

    @property
    def unit(self) -> Unit:
        return self.part.unit


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
    """The prompt set whose texts the plug-in takes."""
    options: Options
    terms: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Category -> which texts are its own; empty where all texts are everybody's."""
    parts: tuple[Part, ...] = ()
    """Of a unified experiment: what its one model is tested on. Empty otherwise."""
    without_features: tuple[str, ...] = ()
    """Videos that would train or test a model, had the store features of them."""

    @property
    def random_weights(self) -> bool:
        headers = (self.data.header, self.data.second_header)
        texts = [text.header for text in (self.text, self.plugin_text) if text]
        return any(header.weights_random for header in (*headers, *texts) if header)

    @cached_property
    def data_id(self) -> str:
        """Of everything that models learn from: another one where features, labels, texts, scales or windows are."""
        units = self.units + tuple(part.unit for part in self.parts)
        learnt = [(unit.category, unit.scale, unit.window) for unit in units]
        texts = [(one.header.recipe_id, one.texts, one.groups) for one in (self.text, self.plugin_text) if one]
        return recipe_hash(repr((self.data.data_id(), learnt, texts, sorted(self.terms.items()))))

    @cached_property
    def run_id(self) -> str:
        """Of everything that decides what a model of it becomes, but its seed, its fold and the machine."""
        options = self.options
        how = self.head, options.plugin, options.folds, options.evaluate_every
        return recipe_hash(repr((self.data_id, how, [(unit.category, unit.settings) for unit in self.units])))

    @property
    def num_models(self) -> int:
        """Controls left aside."""
        return sum(not plan.control for plan in _plan(self))

    @property
    def num_epochs(self) -> int:
        """Of all models, controls among them."""
        return sum(plan.job.settings.epochs for plan in _plan(self))

    def build_head(self, unit: Unit, head: str | None = None) -> torch.nn.Module:
        settings = unit.settings.head if head is None else get_head(head).Settings()
        audio_dim = self.data.second_header.dim if self.data.second_header else 0
        built = build(head or self.head, self.data.header.dim, settings, self.prototypes, audio_dim)
        if self.plugin_text is None or head is not None:
            return built
        plugin = plugin_for(self.options.plugin, {self.plugin_text.name: set(self.plugin_text.groups)})
        texts = {group: self.plugin_text.group(group) for group in plugin.groups}
        return plugin.build(built, self.data.header.dim, texts, audio_dim, unit.settings.plugin)


def build(head: str, dim: int, settings: object, prototypes: Prototypes | None, audio_dim: int) -> torch.nn.Module:
    """Raises `SettingsError` in place of what torch raises for sizes that do not fit each other."""
    try:
        return get_head(head)(dim, settings, prototypes, audio_dim)
    except LongtakeError:
        raise
    except (ValueError, TypeError, RuntimeError, AssertionError, ArithmeticError) as error:
        raise SettingsError(f"head {head} cannot be built with these settings: {error}") from error


def prepare(store: Store, options: Options) -> Experiment:
    """Load the features and settle every choice before any training. Raises `DataError` or `SettingsError`."""
    card = store.card
    head = options.head or _default_head(store, options)
    head_class = get_head(head)
    data = FeatureSet.load(store, options.backbone, options.audio).to(choose_device(options.device))
    kinds = {"train": TrainSettings, "head": head_class.Settings, "prototypes": PrototypeSettings}
    plugin = _plugin(store, options, head)
    if plugin is not None:
        kinds["plugin"] = plugin.kind.Settings
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
        dataset = "" if options.unified else store.dataset
        for name in names:
            rows = data.rows(category=category or None, score=name)
            if not len(rows):
                continue
            taught = teaching_rows(data, category=category or None, score=name)
            scale = score_scale(card, name, data.scores[name][taught if len(taught) else rows])
            stated = {**card_settings(card, scale, head_class.Settings), **overrides}
            settings = build_settings(head, dataset, category, stated, kinds, options.preset)
            longest = int(data.num_clips[rows].max())
            window = settings.train.window or min(card.window_clips if card and card.window_clips else longest, longest)
            units.append(Unit(category, scale, settings, window))
    if not units:
        raise DataError(f"{store.path}: no video has the scores {', '.join(names)} in {', '.join(categories)}")
    settings = units[0].settings
    needs = head_class.needs(settings.head)
    of_plugin = plugin.kind.needs(settings.plugin) if plugin else Needs()
    text = prototypes = None
    terms: dict[str, tuple[int, ...]] = {}
    if needs.audio and data.audio is None:
        raise DataError(f"head {head} needs sound: name its features with --audio BACKBONE, or take head pgt")
    if data.frames is not None and not (needs.second_stream or of_plugin.second_stream):
        raise DataError(
            f"head {head} reads a second stream clip for clip, and {data.frames.header.backbone} has other clips than "
            f"{data.header.backbone}: extract both with the same clip rule, or take one that does not, such as sca"
        )
    _require_boundaries(store, data, head, needs.boundaries)
    _require_boundaries(store, data, f"{head} with plug-in {options.plugin}", of_plugin.boundaries)
    if needs.texts:
        chosen = settings.prototypes
        text = store.text(chosen.text)
        prototypes = build_prototypes(text, chosen, needs.texts)
        terms = _terms(store, text, needs, data, head)
    plugin_text = store.text(plugin.prompt_set) if plugin else None
    if plugin_text is not None:
        own = _terms(store, plugin_text, of_plugin, data, f"with plug-in {options.plugin}")
        if terms and own and terms != own:
            raise SettingsError(
                f"head {head} and plug-in {options.plugin} each have texts of their own for a category; take one"
            )
        terms = terms or own
    if terms:
        data = data.with_terms(terms)
    made = Experiment(data, card, store.dataset, head, tuple(units), prototypes, text, plugin_text, options, terms)
    return replace(made, without_features=_without_features(store, data, units))


def _without_features(store: Store, data: FeatureSet, units: Sequence[Unit]) -> tuple[str, ...]:
    """Of `train`, `test` and folds, with a score that is learnt; those that lack only a second stream are told of elsewhere."""
    labels, there = store.labels, {*data.video_ids, *data.without_second}
    wanted = {(unit.category, labels.score_names.index(unit.scale.name)) for unit in units}
    return tuple(
        video_id
        for video_id, split, category, scores in zip(labels.video_ids, labels.splits, labels.categories, labels.scores)
        if video_id not in there
        and (split in ("train", "test") or split.startswith(OWN_FOLD))
        and any(own in ("", category) and not np.isnan(scores[column]) for own, column in wanted)
    )


def _require_boundaries(store: Store, data: FeatureSet, head: str, number: int) -> None:
    """Raises `DataError` where a head has nothing to learn its boundaries from."""
    have = 0 if data.boundaries is None else data.boundaries.shape[1]
    if number and have != number:
        raise DataError(
            f"head {head} learns {number} boundaries of stages, and the labels of {store.path} have "
            f"{have or 'none'}: put them into the columns boundary_1_seconds, boundary_2_seconds, ... of the manifest and "
            f"`features relabel` the store, set the number of stages, --set stages=N, or take fixed ones, --set boundaries=fixed "
            f"(of a plug-in: plugin.stages, plugin.boundaries)"
        )


def _plugin(store: Store, options: Options, head: str) -> Plugin | None:
    if options.plugin is None:
        return None
    plugin = plugin_for(options.plugin, {text.name: set(text.groups) for text in store.texts})
    if get_head(head).closed_form:
        raise SettingsError(f"head {head} is not trained by gradient, so there is nothing for a plug-in to learn")
    return plugin


def _terms(
    store: Store, text: TextFeatures, needs: Needs, data: FeatureSet, what: str
) -> dict[str, tuple[int, ...]]:  # fmt: skip
    """Texts of categories, of those that have them; texts of stages must be had."""
    if not needs.terms:
        return {}
    terms = terms_of(store.card, text, needs.terms, data.categories)
    if not terms and STAGES in needs.terms:
        raise DataError(
            f"head {what} reads texts of the stages of each category, and the card in {store.path} has none in its prompt set {text.name}: "
            f"a card names the terminology of its categories, or lists them (docs/extend.md)"
        )
    return terms


def run(
    experiment: Experiment, on_epoch: Callable[[Unit, int, int | None, bool, Epoch], None], folder: Path | None = None
) -> Iterator[Result]:
    """Train and test every model, yielding each as it is done. Models that are finished in the folder of a run come first, and those in
    training go on from what is there (`longtake.train.engine.resume`); stacks begin anew.

    A unified model learns from the training videos of all its parts, and gives a result for each.
    """
    options, planned = experiment.options, _plan(experiment)
    if folder is not None:
        planned = [_with_saved(plan, folder, experiment.run_id) for plan in planned]
    finished = {
        place: plan.job.saved.finished(len(plan.job.task.test_rows))
        for place, plan in enumerate(planned)
        if plan.job.saved
    }
    kept = {place: fitted for place, fitted in finished.items() if fitted}
    waiting = [place for place in range(len(planned)) if place not in kept]
    floors: dict[int, list[Metrics]] = {}

    def told(index: int, epoch: Epoch) -> None:
        plan = planned[waiting[index]]
        on_epoch(plan.model, plan.job.seed, plan.fold, plan.control, epoch)

    jobs = [planned[place].job for place in waiting]
    trained = train_all(jobs, options.parallel, options.evaluate_every, told)
    for place, fitted in chain(kept.items(), ((waiting[index], fitted) for index, fitted in trained)):
        plan = planned[place]
        of_parts = list(_by_part(fitted, plan.tasks)) if experiment.parts else [fitted]
        key = id(plan.tasks)
        if options.floor and experiment.head != FLOOR and key not in floors:
            floors[key] = [_floor(experiment, part, task) for part, task in zip(plan.parts, plan.tasks)]
        for index, (part, task, own) in enumerate(zip(plan.parts, plan.tasks, of_parts)):
            floor = None if plan.control or key not in floors else floors[key][index]
            yield Result(plan.model, part, plan.job.seed, plan.fold, plan.control, task, own, floor, place in kept)
        if plan.job.saved and place not in kept:
            plan.job.saved.finish(fitted)


@dataclass(frozen=True)
class _Planned:
    """A model to be trained, and what its results are of."""

    job: Job
    model: Unit
    parts: Sequence[Part]
    tasks: list[Task]
    fold: int | None
    control: bool

    @property
    def name(self) -> str:
        return model_name(self.model.category, self.model.scale.name, self.job.seed, self.fold, self.control)


def _with_saved(plan: _Planned, folder: Path, run_id: str) -> _Planned:
    checkpoint = None if plan.control else folder / CHECKPOINTS / f"{plan.name}.safetensors"
    return replace(plan, job=replace(plan.job, saved=Saved(folder / RESUME / plan.name, run_id, checkpoint)))


def _plan(experiment: Experiment) -> list[_Planned]:
    """Every model of the experiment, in the order of the table."""
    options, data, head_class = experiment.options, experiment.data, get_head(experiment.head)
    planned: list[_Planned] = []
    for model in experiment.units:
        parts = experiment.parts or (Part(experiment.dataset, model.category, model),)
        rounds = [list(splits(data, part.unit, options.folds)) for part in parts]
        _require_same_rounds(parts, rounds)
        for rounded in zip(*rounds):
            fold = rounded[0][0]
            tasks = [_task(data, part.unit, *rows) for part, (_, *rows) in zip(parts, rounded)]
            joined = replace(
                tasks[0],
                scale=model.scale,
                train_rows=np.concatenate([task.train_rows for task in tasks]),
                test_rows=np.concatenate([task.test_rows for task in tasks]),
                window=model.window,
            )
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                for control in (False, True) if options.control else (False,):
                    job = Job(
                        replace(joined, shuffle_labels=control),
                        partial(experiment.build_head, model),
                        model.settings.train,
                        seed,
                        head_class if options.plugin is None else None,
                        model.settings.head,
                    )
                    planned.append(_Planned(job, model, parts, tasks, fold, control))
    return planned


def _require_same_rounds(parts: Sequence[Part], rounds: Sequence[Sequence[object]]) -> None:
    """Raises `SettingsError` where one model cannot be trained for all parts, since they are tested in different numbers of rounds."""
    if len({len(one) for one in rounds}) > 1:
        told = ", ".join(
            f"{part.unit.category} "
            + (f"{len(one)} folds of its own" if len(one) > 1 else "one split into train and test")
            for part, one in zip(parts, rounds)
        )
        raise SettingsError(
            f"one model for several datasets is trained and tested on all in the same rounds, and these have {told}: cut folds of all with "
            f"--folds N, or train one model for each dataset"
        )


def _floor(experiment: Experiment, part: Part, task: Task) -> Metrics:
    """The floor of a part knows that part's training videos only."""
    return fit(task, partial(experiment.build_head, part.unit, FLOOR), TrainSettings(), seed=0).test


def _by_part(fitted: Fitted, tasks: Sequence[Task]) -> Iterator[Fitted]:
    """A unified model's scores in the units of each part. No epoch is best for all of them, so none is named."""
    ends = np.cumsum([len(task.test_rows) for task in tasks])
    for task, scores01 in zip(tasks, np.split(fitted.predicted, ends[:-1])):
        predicted = task.scale.to_units(scores01)
        test = measure(task.data.scores[task.scale.name][task.test_rows], predicted, task.label_range)
        yield replace(fitted, predicted=predicted, test=test, best_on_test=None, validation_selected=None)


def splits(data: FeatureSet, unit: Unit, folds: int) -> Iterator[tuple[int | None, np.ndarray, np.ndarray]]:
    """(fold, training rows, test rows): the dataset's split, its own folds where its splits are named `fold...`, or folds of its
    training split. With folds of its own, `train` teaches in each round, and all else is left alone.

    The last are cut from a permutation by numpy's legacy generator with seed 0, as the ridge figures of the docs are.
    """
    of_unit = {"category": unit.category or None, "score": unit.scale.name}
    train_rows = data.rows(split="train", **of_unit)
    where = f"{unit.category} {unit.scale.name}".strip()
    rows = data.rows(**of_unit)
    own = sorted({name for name in data.splits[rows] if name.startswith(OWN_FOLD)})
    if own and not folds:
        for fold, name in enumerate(own):
            others = np.isin(data.splits[rows], ["train", *(other for other in own if other != name)])
            if others.sum() < 2:
                raise DataError(
                    f"{where}: {others.sum()} videos to learn from beside the split {name!r}, and two or more are needed: name other "
                    f"splits fold1, fold2, ... or train"
                )
            yield fold, rows[others], rows[data.splits[rows] == name]
        return
    if folds:
        train_rows = teaching_rows(data, **of_unit)
        if not 2 <= folds <= len(train_rows) // 2:
            most = f"2 to {len(train_rows) // 2} folds" if len(train_rows) >= 4 else "too few for folds"
            raise SettingsError(f"--folds {folds}: {where} has {len(train_rows)} training videos: {most}")
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


def teaching_rows(data: FeatureSet, *, category: str | None, score: str) -> np.ndarray:
    """The training split; without one, videos of no split or of the dataset's own folds: whoever named another meant to keep it from training."""
    train_rows = data.rows(split="train", category=category, score=score)
    if len(train_rows):
        return train_rows
    rows = data.rows(category=category, score=score)
    return rows[[not name or name.startswith(OWN_FOLD) for name in data.splits[rows]]]


def labelled_rows(data: FeatureSet, unit: Unit, folds: int) -> np.ndarray:
    """The videos that a model of `splits` learns from or is tested on, the same for all folds together: the range of their labels is that of R-l2.
    None, where the store has no such splits."""
    try:
        _, train_rows, test_rows = next(splits(data, unit, folds))
    except (DataError, SettingsError):
        return np.zeros(0, int)
    return np.concatenate([train_rows, test_rows])


def require_splits(experiment: Experiment) -> None:
    """Raises what `run` would, before anything is written."""
    planned = _plan(experiment)
    require_way([plan.job for plan in planned], experiment.options.parallel)
    names: dict[str, _Planned] = {}
    for plan in planned:
        if not get_head(experiment.head).closed_form:
            try:
                num_held_out(plan.job.settings, len(plan.job.task.train_rows))
            except DataError as error:
                raise DataError(f"{plan.name}: {error}") from error
        # Some disks do not tell capitals from others.
        other = names.setdefault(plan.name.casefold(), plan)
        if other is not plan:
            one, two = (f"{p.model.category} {p.model.scale.name}".strip() for p in (other, plan))
            raise DataError(f"{one!r} and {two!r} would have the same checkpoint, {plan.name}: rename one of them")


def _task(data: FeatureSet, unit: Unit, train_rows: np.ndarray, test_rows: np.ndarray) -> Task:
    labels = data.scores[unit.scale.name][np.concatenate([train_rows, test_rows])]
    return Task(data, unit.scale, train_rows, test_rows, unit.window, float(np.ptp(labels)))


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
    for name in asked:
        if name not in have:
            raise DataError(f"no {kind} {name!r} in the store{there_are(name, have)}")
    return list(asked) or [name for name in default or have if name in have]
