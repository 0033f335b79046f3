"""The prompt sets of a card: texts that are listed, counted by a template, or composed for each category."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from longtake.checks import read_value
from longtake.errors import ManifestError
from longtake.manifests.terminology import in_one_sentence, stages_of

MOST_TEXTS = 10_000
"""Limit for one prompt group: stores from untrusted sources hold cards too."""

STAGES, VIDEOS, GRADES = "stages", "videos", "grades"
"""Names of the groups that hold texts of categories."""


@dataclass(frozen=True)
class CategoryTexts:
    """The texts of one category's videos (MVLA, section 3.3): either stages and a video, or grades."""

    stages: tuple[str, ...] = ()
    """What happens in each stage, in order."""
    video: str = ""
    """What the whole video shows."""
    grades: tuple[str, ...] = ()
    """The action at each quality, from worst to best, for data without stages."""


@dataclass(frozen=True)
class PromptSet:
    """Texts in named groups. Order matters: text features are stored in it."""

    name: str
    source: str
    groups: dict[str, tuple[str, ...]]
    categories: dict[str, CategoryTexts] = field(default_factory=dict)
    """Category -> its texts. Empty: all texts are for all categories."""
    terminology: str = ""
    """Name of the terminology that category names follow. Where the card lists no categories, texts are composed once they are known."""
    template: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(text for texts in self.groups.values() for text in texts)

    def composed_for(self, categories: Iterable[str]) -> PromptSet:
        """With texts composed for these categories, where the card lists no categories; otherwise unchanged. Raises `ManifestError` for a
        category that the terminology does not know."""
        if self.groups or not self.terminology:
            return self
        own = {category: _in_words(self.terminology, self.template, category) for category in categories}
        return replace(self, groups=_groups(own), categories=own)


@dataclass(frozen=True)
class CountedTexts:
    """One text for each number from `first` to `last`, in which it replaces `{value}`."""

    template: str
    first: int
    last: int
    step: int = 1

    def __post_init__(self) -> None:
        if self.step == 0:
            raise ManifestError("step must not be 0")
        if (count := (self.last - self.first) // self.step + 1) > MOST_TEXTS:
            raise ManifestError(f"{count} texts, at most {MOST_TEXTS} are allowed")

    @property
    def texts(self) -> tuple[str, ...]:
        numbers = range(self.first, self.last + 1, self.step)
        return tuple(self.template.replace("{value}", str(number)) for number in numbers)


@dataclass(frozen=True)
class PromptEntry:
    """A prompt set as a card writes it: with its groups, or composed for every category, by `terminology` or from `grades`."""

    name: str
    source: str = ""
    groups: dict[str, tuple[str, ...] | CountedTexts] = field(default_factory=dict)
    categories: dict[str, CategoryTexts] = field(default_factory=dict)
    terminology: str = ""
    template: str = ""
    """The text around a composed one, which replaces `{text}`."""
    grades: tuple[str, ...] = ()

    def compose(self, categories: Iterable[str]) -> PromptSet:
        """The prompt set of a card with these categories. Raises `ManifestError`."""
        own = self.categories or self._composed(categories)
        if not (self.groups or own or self.terminology):
            raise ManifestError("has no groups")
        given = {name: texts if isinstance(texts, tuple) else texts.texts for name, texts in self.groups.items()}
        groups = _groups(own) | given
        if len({(len(one.stages), bool(one.video), len(one.grades)) for one in own.values()}) > 1:
            raise ManifestError("categories have different numbers of texts")
        known = {text for texts in groups.values() for text in texts}
        for text in (text for one in own.values() for text in (*one.stages, *filter(None, [one.video]), *one.grades)):
            if text not in known:
                raise ManifestError(f"a category has the text {text!r:.80}, which is in no group")
        return PromptSet(self.name, self.source, groups, own, self.terminology, self.template)

    def _composed(self, categories: Iterable[str]) -> dict[str, CategoryTexts]:
        if not (self.terminology or self.grades):
            return {}
        if "{text}" not in self.template:
            raise ManifestError(f"template {self.template!r} has no {{text}}")
        if self.terminology:
            return {category: _in_words(self.terminology, self.template, category) for category in categories}
        own = {}
        for category in categories:
            texts = (self.template.replace("{text}", f"{grade} {category.lower()}") for grade in self.grades)
            own[category] = CategoryTexts(grades=tuple(texts))
        return own


def read_prompts(values: object, categories: tuple[str, ...], faults: list[str]) -> dict[str, PromptSet]:
    """The `prompts` of a card with these categories. What is wrong with them is added to `faults`."""
    before = len(faults)
    entries = read_value(dict[str, PromptEntry], values, "prompts", faults)
    if len(faults) > before:
        return {}
    sets = {}
    for name, entry in entries.items():
        try:
            sets[name] = entry.compose(categories)
        except ManifestError as error:
            faults.append(f"prompts.{name}: {error}")
    return sets


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
