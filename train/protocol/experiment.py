"""What is to be trained and tested, settled before any training: features, units, texts, splits and models.

The published protocol: one model per category and score, and the last epoch as the result.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from longtake.errors import LongtakeError, there_are
from longtake.features.store import Store
from longtake.features.tools.audit import Leak
from longtake.features.types import FeatureHeader, TextHeader, recipe_hash
from longtake.manifests.card import Card
from longtake.train.data.batches import CPU, put_on_device
from longtake.train.data.dataset import FeatureSet, Widths
from longtake.train.engine.job import Job, Task
from longtake.train.engine.names import model_name
from longtake.train.errors import DataError, SettingsError
from longtake.train.heads import get_head
from longtake.train.heads.base import Head, Needs, Prototypes
from longtake.train.heads.plugin import Plugin, plugin_for
from longtake.train.protocol.audit import audit
from longtake.train.protocol.options import BASELINE, DEFAULT_HEAD, DEFAULT_HEAD_WITH_TEXTS, NO_VIDEO, Options
from longtake.train.protocol.precision import with_precision
from longtake.train.protocol.settings import RunSettings, settings_kinds
from longtake.train.protocol.splits import Split, splits
from longtake.train.protocol.texts import Texts, attach_texts
from longtake.train.protocol.units import Part, Unit, choose_units, without_features


@dataclass(frozen=True)
class Model:
    """A model to be trained, and what its results are of."""

    job: Job
    unit: Unit
    parts: Sequence[Part]
    tasks: Sequence[Task]
    """Of each part: its own videos, in its own units."""
    fold: int | None
    control: bool
    """Trained on shuffled labels."""

    @property
    def seed(self) -> int:
        return self.job.seed

    def facts(self, unit: Unit) -> dict[str, Any]:
        """What distinguishes its result for a unit, that of one of its parts, in messages and files."""
        return {
            "category": unit.category,
            "score": unit.scale.name,
            "seed": self.seed,
            "fold": self.fold,
            "control": self.control,
        }

    @property
    def name(self) -> str:
        """Of its files."""
        return model_name(self.unit.category, self.unit.scale.name, self.seed, self.fold, self.control)


@dataclass(frozen=True)
class Experiment:
    """A store read once, and every model that the options ask for."""

    data: FeatureSet
    card: Card | None
    dataset: str
    head: str
    plugin: Plugin | None
    units: tuple[Unit, ...]
    """One per model, apart from seeds, folds and controls."""
    texts: Texts
    options: Options
    parts: tuple[Part, ...] = ()
    """Of a unified experiment: what its one model is tested on. Empty otherwise."""
    without_features: tuple[str, ...] = ()
    """Videos that would train or test a model, had the store features of them."""
    device: torch.device = CPU
    """Of heads and batches; `data` is there too where its memory has room."""
    fewest_test: int = 2
    """Test videos of a split; one fold of a larger experiment may have one."""

    @property
    def random_weights(self) -> bool:
        return random_weights(self.data, self.texts)

    @property
    def tested(self) -> tuple[Unit, ...]:
        """The units that have a result each: of a unified experiment, those of its parts."""
        return tuple(part.unit for part in self.parts) or self.units

    @cached_property
    def data_id(self) -> str:
        """Hash of everything that models learn from: features, labels, texts, scales and windows."""
        units = self.units + tuple(part.unit for part in self.parts)
        learnt = [(unit.category, unit.scale, unit.window) for unit in units]
        texts = [(one.header.recipe_id, one.texts, one.groups) for one in self.texts.sets]
        known: tuple[object, ...] = self.data.data_id(), learnt, texts, sorted(self.texts.terms.items())
        if any(one.groups is not None for unit in self.units for one in self.needs(unit)):
            known += (sorted((name, tuple(values)) for name, values in self.data.groups.items()),)
        return recipe_hash(repr(known))

    @cached_property
    def run_id(self) -> str:
        """Hash of everything that decides what a model becomes, except its seed, its fold and the machine."""
        options = self.options
        how: tuple[object, ...] = self.head, options.plugin, options.folds, options.evaluate_every
        if options.group:  # Appended, so that runs without groups keep their ids.
            how += options.group, tuple(self.data.groups[options.group])
        return recipe_hash(repr((self.data_id, how, [(unit.category, unit.settings) for unit in self.units])))

    @cached_property
    def splits(self) -> dict[Unit, list[Split]]:
        """Of every tested unit. Raises `DataError` or `SettingsError` where its videos cannot be split."""
        cut = self.options.folds, self.options.group, self.fewest_test
        return {unit: list(splits(self.data, unit.category, unit.scale.name, *cut)) for unit in self.tested}

    @property
    def within(self) -> str:
        """The group inside which videos are ranked as well; empty for none."""
        return self.options.within or group_to_rank_in(self.data.groups)

    @cached_property
    def audit(self) -> list[Leak]:
        """What training and test videos share."""
        return audit(self.data, list(self.splits.values()))

    @cached_property
    def models(self) -> tuple[Model, ...]:
        """Every model, in the order of the table. Raises as `splits` does."""
        return tuple(model for unit in self.units for model in self._models_of(unit))

    def _models_of(self, unit: Unit) -> Iterator[Model]:
        parts = self.parts or (Part(self.dataset, unit.category, unit),)
        rounds = [self.splits[part.unit] for part in parts]
        _require_same_rounds(parts, rounds)
        options = self.options
        head_class = get_head(self.head) if self.plugin is None else None
        for of_parts in zip(*rounds):
            tasks = [task_of(self.data, part.unit, split, self.device) for part, split in zip(parts, of_parts)]
            train_rows, test_rows = (
                np.concatenate([getattr(task, of) for task in tasks]) for of in ("train_rows", "test_rows")
            )
            joined = replace(tasks[0], scale=unit.scale, window=unit.window, train_rows=train_rows, test_rows=test_rows)
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                for control in (False, True) if options.control else (False,):
                    task, builder = replace(joined, shuffle_labels=control), self.head_builder(unit)
                    of_head = head_class, unit.settings.head
                    job = Job(task, builder, unit.settings.train, seed, *of_head, options.evaluate_every)
                    yield Model(job, unit, parts, tasks, of_parts[0].fold, control)

    @property
    def num_epochs(self) -> int:
        """Of all models, controls included."""
        return sum(model.job.settings.epochs for model in self.models)

    def needs(self, unit: Unit) -> tuple[Needs, Needs]:
        """Of the head, and of the plug-in before it."""
        return needs_of_settings(self.head, self.plugin, unit.settings)

    def head_builder(self, unit: Unit) -> Callable[[], Head]:
        """Builds the unit's head in its first state, here or in another process."""
        return partial(_build_head, self.head, self.plugin, self.data.widths, unit.settings, self.texts)

    @property
    def baselines(self) -> tuple[str, ...]:
        """Heads that are fitted in addition, for every result: ridge and, where videos have groups, what can be said without the video."""
        heads = (BASELINE, *([NO_VIDEO] if self.data.groups else [])) if self.options.floor else ()
        return tuple(head for head in heads if head != self.head)

    def baseline_builder(self, head: str) -> Callable[[], Head]:
        return partial(build, head, self.data.widths, get_head(head).Settings(), self.texts.prototypes)


def group_to_rank_in(names: Collection[str]) -> str:
    """That of `Options.within` where none is named: who is ranked against each other is who competes in one event."""
    return "event" if "event" in names else next(iter(names)) if len(names) == 1 else ""


def random_weights(data: FeatureSet, texts: Texts) -> bool:
    """Whether some of the features or texts are from random weights, so that results say nothing about a method."""
    headers: list[FeatureHeader | TextHeader] = [table.header for table in data.tables]
    return any(header.weights_random for header in [*headers, *(text.header for text in texts.sets)])


def build(head: str, widths: Widths, settings: object, prototypes: Prototypes | None) -> Head:
    """Raises `SettingsError` in place of what torch raises for sizes that do not fit each other."""
    try:
        return get_head(head)(widths.dim, settings, prototypes, widths.second_dim, widths.stream_dims)
    except LongtakeError:
        raise
    except (ValueError, TypeError, RuntimeError, AssertionError, ArithmeticError) as error:
        raise SettingsError(f"head {head} cannot be built with these settings: {error}") from error


def _build_head(head: str, plugin: Plugin | None, widths: Widths, settings: RunSettings, texts: Texts) -> Head:
    built = build(head, widths, settings.head, texts.prototypes)
    if plugin is None or texts.of_plugin is None:
        return built
    groups = {group: torch.as_tensor(texts.of_plugin.group(group)) for group in plugin.groups}
    return plugin.kind(built, widths.dim, groups, widths.second_dim, settings.plugin)


def task_of(data: FeatureSet, unit: Unit, split: Split, device: torch.device) -> Task:
    label_range = float(np.ptp(data.scores[unit.scale.name][split.rows]))
    return Task(data, unit.scale, split.train_rows, split.test_rows, unit.window, label_range, device=device)


def _require_same_rounds(parts: Sequence[Part], rounds: Sequence[Sequence[Split]]) -> None:
    """Raises `SettingsError` where one model cannot be trained for all parts, since they are tested in different numbers of rounds."""
    if len({len(one) for one in rounds}) > 1:
        have = ", ".join(
            f"{part.unit.category} "
            + (f"{len(one)} folds of its own" if len(one) > 1 else "one split into train and test")
            for part, one in zip(parts, rounds)
        )
        raise SettingsError(
            f"one model for several datasets is trained and tested on all in the same rounds, and these have {have}: cut folds of all with "
            f"--folds N, or train one model for each dataset"
        )


def prepare(store: Store, options: Options) -> Experiment:
    """Choose the targets, attach the texts, and return the experiment. Nothing is trained. Raises `DataError` or `SettingsError`."""
    head = options.head or _default_head(store, options)
    device = choose_device(options.device)
    data = put_on_device(FeatureSet.load(store, options.backbone, *options.all_streams, options.memory), device)
    if options.within and options.within not in data.groups:
        raise DataError(
            f"--within {options.within}: no video has a group {options.within!r}{there_are(options.within, data.groups)}"
        )
    plugin = _plugin(store, options, head)
    units = choose_units(store, data, options, head, settings_kinds(head, plugin.kind if plugin else None))
    units = with_precision(units, head, store.dataset, options, device)
    settings = units[0].settings
    needs, plugin_needs = needs_of_settings(head, plugin, settings)
    _require_streams(store, data, head, options, needs, plugin_needs)
    of_plugin = (str(options.plugin), plugin, plugin_needs) if plugin else None
    texts = attach_texts(store, data, settings, (head, needs), of_plugin)
    if texts.terms:
        data = data.with_terms(texts.terms)
    missing = without_features(store, data, units)
    return Experiment(
        data, store.card, store.dataset, head, plugin, units, texts, options, without_features=missing, device=device
    )


def needs_of_settings(head: str, plugin: Plugin | None, settings: RunSettings) -> tuple[Needs, Needs]:
    return get_head(head).needs(settings.head), plugin.kind.needs(settings.plugin) if plugin else Needs()


def _default_head(store: Store, options: Options) -> str:
    groups = {group for text in store.texts for group in text.groups}
    return DEFAULT_HEAD_WITH_TEXTS if options.text or {"grades", "scores"} <= groups else DEFAULT_HEAD


def _plugin(store: Store, options: Options, head: str) -> Plugin | None:
    if options.plugin is None:
        return None
    plugin = plugin_for(options.plugin, {text.name: set(text.groups) for text in store.texts})
    if get_head(head).closed_form:
        raise SettingsError(f"head {head} is not trained by gradient, so there is nothing for a plug-in to learn")
    return plugin


def _require_streams(
    store: Store, data: FeatureSet, head: str, options: Options, needs: Needs, plugin_needs: Needs
) -> None:
    """Raises `DataError` where the streams or labels are not those that head and plug-in read."""
    if needs.audio and data.audio is None:
        raise DataError(f"head {head} needs sound: name its features with --audio BACKBONE, or take head pgt")
    for name in needs.streams:
        if name not in data.streams:
            raise DataError(
                f"head {head} reads the streams {', '.join(needs.streams)}: name the features of {name} with --stream {name}=BACKBONE"
            )
    for name in needs.groups or ():
        if name not in data.groups:
            raise DataError(
                f"head {head} reads the group {name!r}, which no video has{there_are(name, sorted(data.groups))}"
            )
    if data.second_stream is not None and not (needs.second_stream or plugin_needs.second_stream):
        raise DataError(
            f"head {head} reads a second stream clip for clip, and {data.second_stream.header.backbone} has other clips than "
            f"{data.header.backbone}: extract both with the same clip rule, or take one that does not, such as sca"
        )
    have = 0 if data.boundaries is None else data.boundaries.shape[1]
    for name, number in ((head, needs.boundaries), (f"{head} with plug-in {options.plugin}", plugin_needs.boundaries)):
        if number and have != number:
            raise DataError(
                f"head {name} learns {number} boundaries of stages, and the labels of {store.path} have "
                f"{have or 'none'}: put them into the columns boundary_1_seconds, boundary_2_seconds, ... of the manifest and "
                f"`features relabel` the store, set the number of stages, --set stages=N, or take fixed ones, --set boundaries=fixed "
                f"(of a plug-in: plugin.stages, plugin.boundaries)"
            )


def choose_device(name: str) -> torch.device:
    """`auto` is a GPU where there is one. Raises `SettingsError` for a device that this machine lacks."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        if reason.startswith("Expected one of"):
            reason = "it is not a kind of device, such as cuda, cuda:1 or mps"
        raise SettingsError(
            f"--device {name}: {reason}. This machine offers cpu" + (" and cuda" if torch.cuda.is_available() else "")
        ) from error
    return device
