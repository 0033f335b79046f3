"""The texts of a card, in named sets: as they stand there, counted by a template, or composed for each category."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from longtake.errors import ManifestError
from longtake.manifests.terminology import in_one_sentence, stages_of

MOST_TEXTS = 10_000
"""Of one prompt group. Cards also come in stores from strangers."""

STAGES, VIDEOS, GRADES = "stages", "videos", "grades"
"""Groups of the texts that belong to categories."""


@dataclass(frozen=True)
class CategoryTexts:
    """Which texts are those of one category's videos (MVLA, section 3.3). A set has either stages and a video, or grades."""

    stages: tuple[str, ...] = ()
    """What happens in each stage, in order."""
    video: str = ""
    """What the whole video shows."""
    grades: tuple[str, ...] = ()
    """The action in each quality, from the worst to the best, for data without terms."""


@dataclass(frozen=True)
class PromptSet:
    """Texts in their order, in named groups."""

    name: str
    source: str
    groups: dict[str, tuple[str, ...]]
    categories: dict[str, CategoryTexts] = field(default_factory=dict)
    """Category -> its own among the texts; empty where all texts are everybody's."""
    terminology: str = ""
    """In which categories are written; of a card that names none, texts are composed when the categories are known."""
    template: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(text for texts in self.groups.values() for text in texts)

    def composed_for(self, categories: Iterable[str]) -> PromptSet:
        """With texts for the categories of some videos, where the card names none; otherwise as it is. Raises `ManifestError` for one that
        the terminology does not know."""
        if self.groups or not self.terminology:
            return self
        own = {category: _in_words(self.terminology, self.template, category) for category in categories}
        return replace(self, groups=_groups(own), categories=own)


def read_prompts(values: dict, categories: tuple[str, ...], faults: list[str]) -> dict[str, PromptSet]:
    """The `prompts` of a card whose categories are known; what is wrong is added to `faults`.

    A set has `groups`, or is composed for every category: by `terminology`, or from `grades`; `template` has the place of a text,
    `{text}`.
    """
    sets = {}
    for name, entry in values.items():
        where = f"prompts.{name}"
        if not isinstance(entry, dict):
            faults.append(f"{where} has no groups")
            continue
        try:
            own = _composed(entry, categories)
        except (AttributeError, KeyError, TypeError, ManifestError) as error:
            faults.append(f"{where}: {error}")
            continue
        given = entry.get("groups", {})
        terminology, template = (entry.get(key, "") for key in ("terminology", "template"))
        if not (isinstance(terminology, str) and isinstance(template, str)):
            faults.append(f"{where}: terminology and template must be text")
            continue
        if not isinstance(given, dict) or not (given or own or terminology):
            faults.append(f"{where} has no groups")
            continue
        groups = {}
        for group, texts in (_groups(own) | given).items():
            try:
                groups[group] = _texts(texts)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                faults.append(f"{where}.{group}: takes a list of texts, or a template, first and last ({error!r})")
        if len({(len(one.stages), bool(one.video), len(one.grades)) for one in own.values()}) > 1:
            faults.append(f"{where}: categories have different numbers of texts")
        for text in (text for one in own.values() for text in (*one.stages, *filter(None, [one.video]), *one.grades)):
            if not any(text in texts for texts in groups.values()):
                faults.append(f"{where}: a category has the text {text!r:.80}, which is in no group")
        sets[name] = PromptSet(name, str(entry.get("source", "")), groups, own, terminology, template)
    return sets


def _composed(entry: dict, categories: tuple[str, ...]) -> dict[str, CategoryTexts]:
    stated = entry.get("categories", {})
    if stated:
        made = {}
        for category, texts in stated.items():
            stages, video, grades = texts.get("stages", ()), texts.get("video", ""), texts.get("grades", ())
            made[str(category)] = CategoryTexts(_texts(stages), _texts([video])[0], _texts(grades))
        return made
    template, terminology, grades = (entry.get(key, "") for key in ("template", "terminology", "grades"))
    if (terminology or grades) and "{text}" not in template:
        raise ManifestError(f"template {template!r} has no {{text}}")
    if terminology:
        return {category: _in_words(terminology, template, category) for category in categories}
    texts = {category: [f"{grade} {category.lower()}" for grade in _texts(grades or ())] for category in categories}
    return {
        category: CategoryTexts(grades=tuple(template.replace("{text}", text) for text in own))
        for category, own in texts.items()
        if own
    }


def _in_words(terminology: str, template: str, category: str) -> CategoryTexts:
    stages = stages_of(terminology, category)
    texts = [template.replace("{text}", text) for text in (*stages, in_one_sentence(stages))]
    return CategoryTexts(tuple(texts[:-1]), texts[-1])


def _groups(own: dict[str, CategoryTexts]) -> dict[str, tuple[str, ...]]:
    groups = {
        STAGES: dict.fromkeys(text for one in own.values() for text in one.stages),
        VIDEOS: dict.fromkeys(one.video for one in own.values() if one.video),
        GRADES: dict.fromkeys(text for one in own.values() for text in one.grades),
    }
    return {name: tuple(texts) for name, texts in groups.items() if texts}


def _texts(texts: list | tuple | dict) -> tuple[str, ...]:
    """Of one group: as they stand, or a template in which `{value}` counts from `first` to `last`."""
    if isinstance(texts, dict):
        numbers = range(texts["first"], texts["last"] + 1, texts.get("step", 1))
        if len(numbers) > MOST_TEXTS:
            raise ValueError(f"{len(numbers)} texts, at most {MOST_TEXTS} are allowed")
        return tuple(texts["template"].replace("{value}", str(number)) for number in numbers)
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise TypeError("not a list of texts")
    return tuple(texts)
