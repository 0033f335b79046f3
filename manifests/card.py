"""A dataset's card: everything about the dataset that is not a row of its table. One TOML file, no Python."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path

from longtake.checks import LARGEST, read_fields, read_json, refuse
from longtake.errors import ManifestError, UnknownDataset, there_are
from longtake.files import require_regular
from longtake.manifests.prompts import PromptSet, read_prompts

FOLDER = Path(__file__).parent
FOLDERS_VARIABLE = "LONGTAKE_MANIFESTS"
"""Environment variable: folders with the user's cards and tables, searched before the built-in ones."""

LATER = ("doi", "forbids_sharing")
"""Fields of a card that 0.1 did not have."""
ONE_MODEL_PER = (("category", "score"), ("score",))


@dataclass(frozen=True)
class ScoreType:
    name: str
    title: str
    minimum: float
    maximum: float
    """In judges' units. Targets are scaled by this range: it is the divisor that papers state."""
    unit: str = "points"
    judges: tuple[str, ...] = ()
    """The scores of judges or elements that are added up to this one."""
    drop: int = 0
    """How many of the highest, and as many of the lowest, are left out."""
    times: str = ""
    """The score that multiplies the sum, such as the difficulty."""

    def __post_init__(self) -> None:
        if not self.minimum < self.maximum:
            raise ManifestError(f"minimum {self.minimum:g} is not below maximum {self.maximum:g}")


@dataclass(frozen=True)
class ClipDefaults:
    """The clip rule that suits the dataset. None: the backbone's."""

    length: int | None = None
    stride: int | None = None
    fps: float | None = None
    tail: str | None = None


@dataclass(frozen=True)
class Protocol:
    """How results on the dataset are published."""

    one_model_per: tuple[str, ...] = ONE_MODEL_PER[0]
    notes: str = ""

    def __post_init__(self) -> None:
        if self.one_model_per not in ONE_MODEL_PER:
            raise ManifestError(f"one_model_per must be {' or '.join(str(list(names)) for names in ONE_MODEL_PER)}")


@dataclass(frozen=True)
class LabelFile:
    """The columns of the authors' label files."""

    columns: tuple[str, ...] = ()
    """`video_id`, `category`, `score_<name>`; others are skipped."""
    category: str = ""
    """`before first _` takes the category from the video id; otherwise the category of every row."""
    divided_by: dict[str, str] = field(default_factory=dict)
    """Score -> the column to divide it by, where authors publish a multiplied score."""
    fps: float = 0.0
    """Frames per second, where authors give times in frames."""


@dataclass(frozen=True, kw_only=True)
class Card:
    name: str
    title: str
    authors: str
    citation: str
    source: str
    licence: str
    splits: tuple[str, ...]
    categories: tuple[str, ...] = ()
    scores: dict[str, ScoreType]
    default_scores: tuple[str, ...] = ()
    """The scores to train by default."""
    window_clips: int = 0
    """Clips per training video, as published; 0 where nothing is published."""
    where_videos: str
    where_labels: str
    doi: str = ""
    """Of the publication, such as `10.1145/3394171.3413560`."""
    forbids_sharing: str = ""
    """The clause of the licence that forbids to pass on what is made of the dataset; empty if there is none."""
    simulated: bool = False
    clips: ClipDefaults = field(default_factory=ClipDefaults)
    protocol: Protocol = field(default_factory=Protocol)
    labels: LabelFile = field(default_factory=LabelFile)
    prompts: dict[str, PromptSet] = field(default_factory=dict)

    def to_json(self) -> str:
        """Lossless. Stores hold it. Fields that cards of 0.1 do not have are left out where they are empty, so that these cards stay equal."""
        facts = asdict(self)
        return json.dumps(
            {name: value for name, value in facts.items() if value or name not in LATER}, ensure_ascii=True
        )

    @classmethod
    def from_json(cls, text: str) -> Card:
        where = "the card in the store"
        return _card(read_json(text, where, ManifestError), where)


def load_card(path: Path) -> Card:
    """Raises `ManifestError` with every fault of the card."""
    try:
        values = tomllib.loads(require_regular(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ManifestError(f"cannot read the card {path}: {error}") from error
    return _card(values, f"the card {path}")


def _card(values: object, where: str) -> Card:
    faults: list[str] = []
    table = values if isinstance(values, dict) else {}
    made = read_fields(Card, {**table, "prompts": {}} if table else values, "", faults)
    made["prompts"] = read_prompts(table.get("prompts", {}), made.get("categories", ()), faults)
    if not 0 <= made.get("window_clips", 0) <= LARGEST:
        faults.append(f"window_clips must be a number of clips, or 0, got {made['window_clips']}")
    if "scores" in made:
        named = made.get("default_scores", ())
        faults += [
            f"default_scores names {name!r}, which is not a score" for name in named if name not in made["scores"]
        ]
        faults += [fault for score in made["scores"].values() for fault in _rule_faults(score, made["scores"])]
    refuse(faults, where, ManifestError)
    return Card(**made)


def _rule_faults(score: ScoreType, scores: dict[str, ScoreType]) -> list[str]:
    """What is wrong with the rule by which judges make a score."""
    where = f"scores.{score.name}"
    named = [*score.judges, *filter(None, [score.times])]
    faults = [f"{where} is made of {name!r}, which is not a score" for name in named if name not in scores]
    if score.drop < 0 or (score.drop and 2 * score.drop >= len(score.judges)):
        faults.append(f"{where}: of {len(score.judges)} judges, drop {score.drop} at both ends leaves none")
    if score.times and not score.judges:
        faults.append(f"{where}: times multiplies the sum of judges, and judges names none")
    return faults


def card_folders() -> list[Path]:
    own = [Path(folder) for folder in os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep) if folder]
    return [*own, FOLDER]


def _paths() -> dict[str, Path]:
    return {path.stem: path for folder in reversed(card_folders()) for path in sorted(folder.glob("*.toml"))}


def dataset_names() -> list[str]:
    return sorted(_paths())


def list_cards() -> dict[str, Card | ManifestError]:
    """Dataset name -> its card, or the error where the card is not valid."""
    found: dict[str, Card | ManifestError] = {}
    for name in dataset_names():
        try:
            found[name] = find_card(name)
        except ManifestError as error:
            found[name] = error
    return found


def card_path(name: str) -> Path:
    """Raises `UnknownDataset` with the nearest name and the known names."""
    paths = _paths()
    if name not in paths:
        raise UnknownDataset(
            f"unknown dataset {name!r}{there_are(name, sorted(paths))}. "
            f"For your own videos, give a CSV with --manifest FILE"
        )
    return paths[name]


def find_card(name: str) -> Card:
    """Raises `UnknownDataset`, or `ManifestError` for a card that is not valid."""
    path = card_path(name)
    card = load_card(path)
    if card.name != path.stem:
        raise ManifestError(f"{path} has the name {card.name!r}: a card must be named as its file is, {path.stem!r}")
    return card
