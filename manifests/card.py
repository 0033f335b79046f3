"""A dataset's card: everything about it that is not a row of its table. One TOML file each, no Python."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import get_args, get_origin, get_type_hints

from longtake.errors import ManifestError, UnknownDataset, there_are
from longtake.manifests.prompts import PromptSet, read_prompts

FOLDER = Path(__file__).parent
FOLDERS_VARIABLE = "LONGTAKE_MANIFESTS"
"""Folders with cards and tables of the user's own, searched before the built-in ones."""

LARGEST = 1e12
"""No number of a card is larger; also what nan and infinity are not."""
ONE_MODEL_PER = (("category", "score"), ("score",))


@dataclass(frozen=True)
class ScoreType:
    name: str
    title: str
    minimum: float
    maximum: float
    """Judges' units. Targets are scaled by this range, so it is the divisor that papers state."""
    unit: str = "points"
    judges: tuple[str, ...] = ()
    """Scores that it is made of, one for each judge or element: their sum, where the sport has no other rule."""
    drop: int = 0
    """How many of the highest, and as many of the lowest, do not count."""
    times: str = ""
    """Score that multiplies the sum, such as the difficulty."""


@dataclass(frozen=True)
class ClipDefaults:
    """The clip rule that suits the dataset; None leaves it to the backbone."""

    length: int | None = None
    stride: int | None = None
    fps: float | None = None
    tail: str | None = None


@dataclass(frozen=True)
class Protocol:
    """How results on the dataset are published."""

    one_model_per: tuple[str, ...] = ONE_MODEL_PER[0]
    notes: str = ""


@dataclass(frozen=True)
class LabelFile:
    """The columns of the authors' label files, so that their reader need not know the dataset."""

    columns: tuple[str, ...] = ()
    """`video_id`, `category`, `score_<name>`; anything else is skipped."""
    category: str = ""
    """`before first _` takes the category from the id; a category's name gives it to every row."""
    divided_by: dict[str, str] = field(default_factory=dict)
    """Score -> column that it is divided by, where authors publish a score multiplied by a factor."""
    fps: float = 0.0
    """Frames a second, where authors count times in frames."""


@dataclass(frozen=True)
class Card:
    name: str
    title: str
    authors: str
    citation: str
    source: str
    licence: str
    splits: tuple[str, ...]
    categories: tuple[str, ...]
    scores: dict[str, ScoreType]
    default_scores: tuple[str, ...]
    """Trained when none is named."""
    window_clips: int
    """Clips per training video, as published; 0 when nobody says."""
    where_videos: str
    where_labels: str
    simulated: bool = False
    clips: ClipDefaults = field(default_factory=ClipDefaults)
    protocol: Protocol = field(default_factory=Protocol)
    labels: LabelFile = field(default_factory=LabelFile)
    prompts: dict[str, PromptSet] = field(default_factory=dict)

    def to_json(self) -> str:
        """Lossless; a store carries it."""
        return json.dumps(asdict(self), ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> Card:
        try:
            values = json.loads(text)
        except RecursionError as error:
            raise ManifestError("the card in the store is nested too deep to be one") from error
        except ValueError as error:
            raise ManifestError(f"the card in the store is damaged: {error}") from error
        return _card(values, "the card in the store")


def load_card(path: Path) -> Card:
    """Raises `ManifestError` with every fault of the card."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ManifestError(f"cannot read the card {path}: {error}") from error
    return _card(values, str(path))


def _card(values: dict, where: str) -> Card:
    known = {f.name: f for f in fields(Card)}
    if not isinstance(values, dict):
        raise ManifestError(f"{where} is not a valid card: it must be a table of entries, got {values!r:.80}")
    kinds = {"splits": list, "categories": list, "default_scores": list, "scores": dict, "clips": dict}
    kinds |= {"protocol": dict, "labels": dict, "prompts": dict, "window_clips": int}
    for name, kind in kinds.items():
        if not isinstance(values.get(name, kind()), kind):
            raise ManifestError(
                f"{where} is not a valid card: {name!r} must be a {kind.__name__}, got {values[name]!r:.80}"
            )
    faults = [f"unknown entry {name!r}" for name in values if name not in known]
    required = (
        "name",
        "title",
        "authors",
        "citation",
        "source",
        "licence",
        "splits",
        "scores",
        "where_videos",
        "where_labels",
    )
    faults += [f"{name!r} is missing" for name in required if name not in values]
    made: dict[str, object] = {}
    for name in required[:6] + required[8:]:
        if name in values and not isinstance(values[name], str):
            faults.append(f"{name!r} must be text, got {values[name]!r}")
        made[name] = values.get(name, "")
    for name in ("splits", "categories", "default_scores"):
        made[name] = tuple(values.get(name, ()))
        faults += [
            f"{name} holds {entry!r:.80}, which is not text" for entry in made[name] if not isinstance(entry, str)
        ]
    made["window_clips"] = values.get("window_clips", 0)
    if not 0 <= made["window_clips"] <= LARGEST:
        faults.append("window_clips must be a number of clips, or 0")
    made["simulated"] = bool(values.get("simulated", False))
    scores = {}
    for name, entry in values.get("scores", {}).items():
        score = _part(
            ScoreType, {**entry, "name": name} if isinstance(entry, dict) else entry, f"scores.{name}", faults
        )
        if score is not None:
            scores[name] = score
            if not score.minimum < score.maximum:
                faults.append(f"scores.{name}: minimum {score.minimum:g} is not below maximum {score.maximum:g}")
    made["scores"] = scores
    faults += [fault for score in scores.values() for fault in _rule_faults(score, scores)]
    faults += [
        f"default_scores names {n!r}, which is no score"
        for n in made["default_scores"]
        if isinstance(n, str) and n not in scores
    ]
    for name, kind in (("clips", ClipDefaults), ("protocol", Protocol), ("labels", LabelFile)):
        part = _part(kind, values.get(name, {}), name, faults)
        if part is not None:
            made[name] = part
    if "protocol" in made and made["protocol"].one_model_per not in ONE_MODEL_PER:
        faults.append(f"protocol: one_model_per must be {' or '.join(str(list(v)) for v in ONE_MODEL_PER)}")
    made["prompts"] = read_prompts(values.get("prompts", {}), made["categories"], faults)
    if faults:
        raise ManifestError(f"{where} is not a valid card:\n  " + "\n  ".join(faults))
    return Card(**made)


def _part(kind: type, values: dict, where: str, faults: list[str]):
    if not isinstance(values, dict):
        faults.append(f"{where} must be a table, got {values!r:.80}")
        return None
    tuples = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    try:
        part = kind(**{**values, **tuples})
    except TypeError as error:
        faults.append(f"{where}: {str(error).replace('.__init__()', '')}")
        return None
    kinds = get_type_hints(kind)
    wrong = [name for name, value in vars(part).items() if not _is_of(value, kinds[name])]
    faults += [f"{where}: {name} must be {_KINDS[kinds[name]]}, got {getattr(part, name)!r:.80}" for name in wrong]
    return None if wrong else part


_KINDS = {
    str: "text",
    int: "a whole number",
    float: "a finite number",
    int | None: "a whole number",
    float | None: "a finite number",
    str | None: "text",
    tuple[str, ...]: "a list of texts",
    dict[str, str]: "a table of texts",
}
"""What the fields of a card's parts are, in words."""


def _is_of(value: object, kind: object) -> bool:
    if isinstance(kind, UnionType):
        return any(_is_of(value, one) for one in get_args(kind))
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(isinstance(one, str) for one in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(isinstance(one, str) for one in (*value, *value.values()))
    return isinstance(value, kind)


def _rule_faults(score: ScoreType, scores: dict[str, ScoreType]) -> list[str]:
    """What is wrong with the rule by which judges make a score."""
    where = f"scores.{score.name}"
    named = [*score.judges, *([score.times] if score.times else [])]
    faults = [f"{where} is made of {name!r}, which is no score" for name in named if name not in scores]
    if score.drop < 0 or (score.drop and 2 * score.drop >= len(score.judges)):
        faults.append(f"{where}: of {len(score.judges)} judges, drop {score.drop} at both ends leaves none")
    if score.times and not score.judges:
        faults.append(f"{where}: times multiplies what judges give, and judges names none")
    return faults


def card_folders() -> list[Path]:
    own = [Path(folder) for folder in os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep) if folder]
    return [*own, FOLDER]


def _paths() -> dict[str, Path]:
    return {path.stem: path for folder in reversed(card_folders()) for path in sorted(folder.glob("*.toml"))}


def dataset_names() -> list[str]:
    return sorted(_paths())


def list_cards() -> dict[str, Card | ManifestError]:
    """Every dataset's card by its name; where a card is not valid, what is wrong with it."""
    found: dict[str, Card | ManifestError] = {}
    for name in dataset_names():
        try:
            found[name] = find_card(name)
        except ManifestError as error:
            found[name] = error
    return found


def card_path(name: str) -> Path:
    """Raises `UnknownDataset` with the nearest name and all that exist."""
    paths = _paths()
    if name not in paths:
        raise UnknownDataset(
            f"no dataset is called {name!r}{there_are(name, sorted(paths))}. "
            f"For videos of your own, give a CSV with --manifest FILE"
        )
    return paths[name]


def find_card(name: str) -> Card:
    """Raises `UnknownDataset`, or `ManifestError` for a card that is not valid."""
    return _own_name(card_path(name))


def _own_name(path: Path) -> Card:
    card = load_card(path)
    if card.name != path.stem:
        raise ManifestError(
            f"{path} says that its name is {card.name!r}: a card has the name of its file, {path.stem!r}"
        )
    return card
