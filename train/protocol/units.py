"""What is learnt: a unit for every category and score, its scale and its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from longtake.errors import there_are
from longtake.features.store import Store
from longtake.manifests.card import Card
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.errors import DataError
from longtake.train.protocol.options import Options
from longtake.train.protocol.settings import RunSettings, build_settings, card_settings
from longtake.train.protocol.splits import OWN_FOLD, training_rows


@dataclass(frozen=True)
class Unit:
    """What one model is trained for: a category, a score, and the settings for them."""

    category: str
    """Empty where one model serves all categories."""
    scale: ScoreScale
    settings: RunSettings
    window: int
    """Clips per training video."""

    @property
    def name(self) -> str:
        return f"{self.category} {self.scale.name}".strip()


@dataclass(frozen=True)
class Part:
    """A category and score of one dataset, tested separately and in its own units. A unified model has several."""

    dataset: str
    category: str
    """As the dataset names it: units of a unified model have the dataset's name before it."""
    unit: Unit


def score_scale(card: Card | None, name: str, labels: np.ndarray) -> ScoreScale:
    """The card's range, or that of the training labels, float `(videos,)`, where no card states one. Raises `DataError` for equal labels."""
    if card is not None and name in card.scores:
        stated = card.scores[name]
        return ScoreScale(name, stated.minimum, stated.maximum, True)
    lowest, highest = min(0.0, float(labels.min())), float(labels.max())
    if highest <= lowest:
        raise DataError(f"score {name}: all {len(labels)} videos have the same value {highest:g}; nothing to learn")
    return ScoreScale(name, lowest, highest, False)


def choose_units(
    store: Store, data: FeatureSet, options: Options, head: str, kinds: Mapping[str, type]
) -> tuple[Unit, ...]:
    """A unit for every chosen category and score that some video has. `kinds` as for `build_settings`. Raises `DataError` where there is none."""
    card = store.card
    categories = _choose("category", options.categories, [str(c) for c in dict.fromkeys(data.categories) if c])
    if card and "category" not in card.protocol.one_model_per and not options.categories:
        categories = []
    names = _choose("score", options.scores, list(data.scores), default=list(card.default_scores if card else ()))
    if not names:
        raise DataError(f"{store.path} holds no scores: give labels when extracting or importing")
    overrides = {**dict(options.overrides), **({"text": options.text} if options.text else {})}
    dataset = "" if options.unified else store.dataset
    units = []
    for category in categories or [""]:
        for name in names:
            rows = data.rows(category=category or None, score=name)
            if not len(rows):
                continue
            for_training = training_rows(data, category, name)
            scale = score_scale(card, name, data.scores[name][for_training if len(for_training) else rows])
            stated = {**card_settings(card, scale, kinds["head"]), **overrides}
            settings = build_settings(head, dataset, category, stated, kinds, options.preset)
            longest = int(data.num_clips[rows].max())
            window = settings.train.window or min(card.window_clips if card and card.window_clips else longest, longest)
            units.append(Unit(category, scale, settings, window))
    if not units:
        place = f" in {', '.join(categories)}" if categories else ""
        raise DataError(f"{store.path}: no video has a score {' or '.join(names)}{place}: all cells are empty")
    return tuple(units)


def _choose(kind: str, asked: Sequence[str], have: list[str], default: Sequence[str] = ()) -> list[str]:
    for name in asked:
        if name not in have:
            raise DataError(f"no {kind} {name!r} in the store{there_are(name, have)}")
    return list(asked) or [name for name in default or have if name in have]


def without_features(store: Store, data: FeatureSet, units: Sequence[Unit]) -> tuple[str, ...]:
    """Videos that would train or test a unit, had the store features of them. Those that lack only a second stream are named by
    `FeatureSet.left_out`."""
    labels, there = store.labels, {*data.video_ids, *data.without_second}
    wanted = {(unit.category, labels.score_names.index(unit.scale.name)) for unit in units}
    return tuple(
        video_id
        for video_id, split, category, scores in zip(labels.video_ids, labels.splits, labels.categories, labels.scores)
        if video_id not in there
        and (split in ("train", "test") or split.startswith(OWN_FOLD))
        and any(own in ("", category) and not np.isnan(scores[column]) for own, column in wanted)
    )
