"""Unified training (QGVL, Table V): one model for several datasets, each with its own scale, each tested on its own.

Every dataset gives one score, divided by its own range, so that the model sees 0 to 1 everywhere. The texts are those of the
first store, since one model has one set of grades.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from longtake.errors import there_are
from longtake.features.store import Store
from longtake.train.data.batches import put_on_device
from longtake.train.data.clip_table import ClipTable, join_tables
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.data.fit_in_memory import memory_for_features, named_streams, stored_bytes
from longtake.train.errors import DataError, SettingsError
from longtake.train.protocol.experiment import Experiment, choose_device, prepare
from longtake.train.protocol.options import UNIFIED, Options
from longtake.train.protocol.precision import with_precision
from longtake.train.protocol.units import Part, Unit

PCS_FACTORS = (0.8, 1.0, 1.2, 1.33, 1.6, 1.67, 2.0, 2.67, 3.33)
"""By which skating multiplies a programme component score; one dataset keeps the product, another does not."""


def prepare_unified(stores: Sequence[Store], options: Options) -> Experiment:
    """One experiment of several stores. Raises `DataError` where their features do not mix."""
    names = [store.dataset for store in stores]
    if len(set(names)) < len(names):
        raise DataError(
            f"unified training takes one store per dataset, got {', '.join(names)}; `features merge` joins stores of one"
        )
    for kind, asked, have in (
        ("score", options.scores, {name for store in stores for name in store.labels.score_names}),
        ("category", options.categories, {name for store in stores for name in store.labels.categories}),
    ):
        for name in asked:
            if name not in have:
                raise DataError(f"no store has a {kind} {name!r}{there_are(name, sorted(have - {''}))}")
    # What each fits on a device or in memory by itself, all together may not. Joining copies what is in memory.
    needed = 2 * sum(
        stored_bytes(store, named_streams(store, options.backbone, *options.all_streams)) for store in stores
    )
    memory = needed if needed <= memory_for_features(options.memory) else 0
    singles = [prepare(store, replace(_with_scores(options, store), device="cpu", memory=memory)) for store in stores]
    first = singles[0]
    needs, _ = first.needs(first.units[0])
    if needs.exemplars or needs.columns:
        raise SettingsError(f"head {first.head} needs exemplars or scores of one dataset; unified training has several")
    if first.options.overrides and dict(first.options.overrides).get("validation"):
        raise SettingsError("validation=SHARE chooses one epoch by one dataset's score; unified training has several")
    if first.texts.terms:
        raise SettingsError(
            f"head {first.head} takes each category's own texts, and unified training has those of one store only"
        )
    for store, other in zip(stores[1:], singles[1:]):
        _require_same_recipes(stores[0], first.data, store, other.data)
    parts = tuple(_part(single, unit) for single in singles for unit in single.units)
    _require_own_groups(options.group, singles, parts)
    window = max(part.unit.window for part in parts)
    model = Unit("", ScoreScale(UNIFIED, 0.0, 1.0, True), first.units[0].settings, window)
    device = choose_device(options.device)
    (model,) = with_precision([model], first.head, first.dataset, first.options, device)
    data = join([single.data for single in singles], [single.dataset for single in singles], parts)
    return replace(
        first,
        options=replace(first.options, device=options.device, memory=options.memory),
        data=put_on_device(data, device),
        device=device,
        card=None,
        dataset="+".join(names),
        units=(model,),
        parts=parts,
        without_features=tuple(video_id for single in singles for video_id in single.without_features),
    )


def _with_scores(options: Options, store: Store) -> Options:
    """The dataset's one score: the first of those asked for that it has, or its first."""
    have = list(store.labels.score_names)
    default = [name for name in (store.card.default_scores if store.card else ()) if name in have] or have
    wanted = [name for name in options.scores if name in have] or (default if not options.scores else [])
    if not wanted:
        raise DataError(
            f"{store.path} has none of the scores {', '.join(options.scores)}; it has {', '.join(have) or 'none'}. "
            f"Name one for each store"
        )
    categories = tuple(name for name in options.categories if name in store.labels.categories)
    return replace(options, scores=(wanted[0],), categories=categories, unified=True)


def _require_same_recipes(first_store: Store, first: FeatureSet, store: Store, other: FeatureSet) -> None:
    for mine, theirs in zip([table.header for table in first.tables], [table.header for table in other.tables]):
        if mine.recipe_id != theirs.recipe_id:
            lines = [f"\n  {name}: {a!r} and {b!r}" for name, (a, b) in mine.differences(theirs).items()]
            raise DataError(
                f"{first_store.path} and {store.path} hold features of different recipes, which one head cannot read:{''.join(lines)}"
            )
    if (first.second_stream is None) != (other.second_stream is None):
        raise DataError(
            f"the second stream has the clips of the first in one of {first_store.path} and {store.path} and not in the other"
        )


def _part(single: Experiment, unit: Unit) -> Part:
    """Categories are named with their dataset, so that no two parts share a name."""
    named = replace(unit, category=f"{single.dataset} {unit.category}".strip())
    return Part(single.dataset, unit.category, named)


def join(sets: Sequence[FeatureSet], names: Sequence[str], parts: Sequence[Part]) -> FeatureSet:
    """All videos as one set. Scores that a dataset lacks are nan; `unified` holds each part's score from 0 to 1."""
    of_dataset = dict(zip(names, sets))
    begins = dict(zip(names, np.cumsum([0, *map(len, sets)])))
    total = sum(map(len, sets))
    score_names = dict.fromkeys(part.unit.scale.name for part in parts)
    scores = {name: np.full(total, np.nan) for name in (*score_names, UNIFIED)}
    categories = np.full(total, "", dtype=object)
    for part in parts:
        one, scale = of_dataset[part.dataset], part.unit.scale
        rows = one.rows(category=part.category or None, score=scale.name)
        values, here = one.scores[scale.name][rows], begins[part.dataset] + rows
        categories[here] = part.unit.category
        scores[scale.name][here] = values
        scores[UNIFIED][here] = scale.to01(values)

    def joined(tables: list[ClipTable | None]) -> ClipTable | None:
        there = [table for table in tables if table]
        return join_tables(there) if there else None

    return FeatureSet(
        clips=join_tables([one.clips for one in sets]),
        video_ids=tuple(video_id for one in sets for video_id in one.video_ids),
        splits=np.concatenate([one.splits for one in sets]),
        categories=categories,
        scores=scores,
        audio=joined([one.audio for one in sets]),
        second_stream=joined([one.second_stream for one in sets]),
        streams={name: join_tables([one.streams[name] for one in sets]) for name in sets[0].streams},
        checksums=tuple(checksum for one in sets for checksum in one.checksums),
        contents=tuple(np.concatenate(of_sets) for of_sets in zip(*(one.contents for one in sets))),
        sources=tuple(np.concatenate(of_sets) for of_sets in zip(*(one.sources for one in sets))),
        groups={
            name: np.concatenate([_named_groups(one, dataset, name) for dataset, one in zip(names, sets)])
            for name in dict.fromkeys(name for one in sets for name in one.groups)
        },
        without_second=tuple(video_id for one in sets for video_id in one.without_second),
    )


def _require_own_groups(group: str | None, singles: Sequence[Experiment], parts: Sequence[Part]) -> None:
    """Folds are cut in each part by itself: a group in two parts could be in training and test of one model. Raises `SettingsError`."""
    for single in singles if group else ():
        seen: set[str] = set()
        for category in dict.fromkeys(unit.category for unit in single.units):
            values = single.data.groups.get(group or "", np.array([], object))
            mine = (
                {str(value) for value in values[single.data.rows(category=category or None)] if value}
                if len(values)
                else set()
            )
            if shared := seen & mine:
                raise SettingsError(
                    f"--group {group}: {min(shared)!r} is in several categories of {single.dataset}, and unified training cuts folds in each "
                    f"by itself. Train one model for each category, or leave --group out"
                )
            seen |= mine


def _named_groups(data: FeatureSet, dataset: str, name: str) -> np.ndarray:
    """Groups of two datasets are different ones, also where they have the same text."""
    values = data.groups.get(name, np.full(len(data), "", dtype=object))
    return np.array([f"{dataset} {value}" if value else "" for value in values], dtype=object)


def overlaps(stores: Sequence[Store]) -> list[str]:
    """A warning for each two datasets with videos that may be the same performance, by their scores: two or more in common, equal to a
    hundredth, where one may be a factored PCS."""
    found = []
    for a, b in itertools.combinations(stores, 2):
        mine, theirs = _by_kind(a), _by_kind(b)
        shared = [kind for kind in mine if kind in theirs]
        if len(shared) < 2:
            continue
        x = np.stack([mine[kind] for kind in shared], -1)[:, None]
        y = np.stack([theirs[kind] for kind in shared], -1)[None]
        equal = np.abs(x - y) < 0.005
        # The element score is never factored: one score at least has to be equal without a factor.
        same = np.argwhere(equal.any(-1) & (equal | _factored(x, y)).all(-1))
        num_leaking = sum({a.labels.splits[i], b.labels.splits[j]} == {"train", "test"} for i, j in same)
        if len(same):
            shown = ", ".join(f"{a.labels.video_ids[i]} = {b.labels.video_ids[j]}" for i, j in same[:3])
            found.append(
                f"{len(same)} videos of {a.dataset} and {b.dataset} have the same scores and are likely the same performances "
                f"({shown}, ...); {num_leaking} of them teach in one dataset and test in the other, which flatters the result"
            )
    return found


def _by_kind(store: Store) -> dict[str, np.ndarray]:
    """Score columns by the last word of their name: `short_tes` and `free_tes` are both `tes`, and a video has one."""
    kinds: dict[str, np.ndarray] = {}
    for name, values in zip(store.labels.score_names, store.labels.scores.T):
        kind = name.rsplit("_", 1)[-1]
        kinds[kind] = np.where(np.isnan(kinds[kind]), values, kinds[kind]) if kind in kinds else values
    return kinds


def _factored(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether one is the other times a factor, either way round, within the rounding of published scores."""
    factors = np.array(PCS_FACTORS)
    x, y = x[..., None], y[..., None]
    return ((np.abs(x * factors - y) < 0.006 * factors) | (np.abs(y * factors - x) < 0.006 * factors)).any(-1)
