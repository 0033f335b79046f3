"""From a prompt set's text features to the queries of a head: which texts are grades, which are scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from longtake.features.types import TextFeatures
from longtake.manifests.card import Card
from longtake.manifests.prompts import STAGES, VIDEOS, CategoryTexts
from longtake.train.errors import DataError, SettingsError, require_at_least, require_one_of
from longtake.train.heads.base import GRADES, SCORES, Prototypes

FROM_TEXT, INTERPOLATED = "text", "interpolated"


@dataclass(frozen=True)
class PrototypeSettings:
    text: str = "qgvl"
    """Prompt set of the store, as NAME or NAME@RECIPE."""
    grade_group: str = "grades"
    grades: int = 0
    """How many grade texts, taken evenly from the group, ends included; 0 takes all. QGVL tries 2 to 6."""
    score_group: str = "scores"
    score_texts: str = FROM_TEXT
    """`text` takes the score group; `interpolated` draws scores between the grades, for prompt sets without score texts."""
    scores: int = 101
    """How many score prototypes: all of the group, or every second, fourth, ... of it; QGVL tries 11, 21, 51, 101."""

    def __post_init__(self) -> None:
        require_one_of("score_texts", self.score_texts, (FROM_TEXT, INTERPOLATED))
        require_at_least(self, scores=2)
        if self.grades < 0 or self.grades == 1:
            raise SettingsError(f"grades must be 2 or more, or 0 for all, got {self.grades}")


def interpolate(grades: np.ndarray, num_scores: int) -> np.ndarray:
    """Score prototypes on the straight lines between neighbouring grades, `(num_scores, dim)`.

    Score n of N is at position `n / (N - 1)` on the scale on which grade k of K is at `k / (K - 1)`, which are the
    values that QGVL gives to both (its equations 7-8). Lengths are interpolated as well, so that prototypes between two
    texts are as long as the texts are.
    """
    position = np.linspace(0, len(grades) - 1, num_scores)
    lower = np.minimum(position.astype(int), len(grades) - 2)
    share = (position - lower)[:, None]
    mixed = (1 - share) * grades[lower] + share * grades[lower + 1]
    lengths = np.linalg.norm(grades, axis=1)
    wanted = (1 - share[:, 0]) * lengths[lower] + share[:, 0] * lengths[lower + 1]
    return (mixed * (wanted / np.linalg.norm(mixed, axis=1))[:, None]).astype(np.float32)


def build_prototypes(text: TextFeatures, settings: PrototypeSettings, wanted: Sequence[str]) -> Prototypes:
    """The groups that a head wants. Raises `DataError` when the prompt set lacks one."""
    texts: dict[str, np.ndarray] = {}
    for name in wanted:
        if name == GRADES:
            texts[name] = _grades(text, settings)
        elif name != SCORES:
            texts[name] = _group(text, name, "choose a prompt set that has it with --text")
    if SCORES in wanted:
        texts[SCORES] = _scores(text, settings, texts[GRADES])
    return Prototypes(texts, text.header.weights_random)


def terms_of(
    card: Card | None, text: TextFeatures, groups: Sequence[str], categories: Iterable[str]
) -> dict[str, tuple[int, ...]]:
    """Category -> the places, each in its group, of the texts that are its own: of `groups`, in their order. Empty where the card has none.

    Raises `DataError` for a category whose texts the store lacks.
    """
    prompts = card.prompts.get(text.name) if card else None
    wanted = sorted({category for category in categories if category})
    own = prompts.composed_for(wanted).categories if prompts else {}
    place = {(group, one): index for group in groups for index, one in enumerate(_texts_of(text, group))}
    terms, missing = {}, []
    for category in wanted if own else ():
        known = own.get(category)
        texts = [(group, one) for group in groups for one in _own(known, group)] if known else []
        if texts and all(one in place for one in texts):
            terms[category] = tuple(place[one] for one in texts)
        elif texts or known is None:
            missing.append(category)
    if missing:
        raise DataError(
            f"prompt set {text.name} has no texts for the categories {', '.join(missing[:10])}: encode them with extract text, into the "
            f"store that has these videos"
        )
    return terms


def _texts_of(text: TextFeatures, group: str) -> list[str]:
    return [one for one, own in zip(text.texts, text.groups) if own == group]


def _own(texts: CategoryTexts, group: str) -> tuple[str, ...]:
    return {STAGES: texts.stages, VIDEOS: (texts.video,) if texts.video else (), GRADES: texts.grades}.get(group, ())


def _group(text: TextFeatures, name: str, advice: str) -> np.ndarray:
    have = dict.fromkeys(text.groups)
    if name not in have:
        raise DataError(f"prompt set {text.name} has no group {name!r} (it has {', '.join(have)}); {advice}")
    return text.group(name).astype(np.float32)


def _grades(text: TextFeatures, settings: PrototypeSettings) -> np.ndarray:
    grades = _group(text, settings.grade_group, "choose one with --set grade_group=GROUP")
    wanted = settings.grades or len(grades)
    if wanted > len(grades):
        raise DataError(f"prompt set {text.name} has {len(grades)} texts in {settings.grade_group!r}, not {wanted}")
    return grades[np.round(np.linspace(0, len(grades) - 1, wanted)).astype(int)]


def _scores(text: TextFeatures, settings: PrototypeSettings, grades: np.ndarray) -> np.ndarray:
    if settings.score_texts == INTERPOLATED:
        return interpolate(grades, settings.scores)
    scores = _group(
        text,
        settings.score_group,
        "choose one with --set score_group=GROUP, or draw score prototypes between the grades with "
        "--set score_texts=interpolated",
    )
    step, rest = divmod(len(scores) - 1, settings.scores - 1)
    if rest or not step:
        raise DataError(
            f"{settings.scores} scores cannot be taken evenly out of the {len(scores)} score texts of {text.name}; "
            f"--set scores=N needs {len(scores) - 1} to be a multiple of N - 1"
        )
    return scores[::step]
