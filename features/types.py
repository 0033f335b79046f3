"""The contract between `extract` and `train`: what a feature is and everything that decided its numbers.

FORMAT.md says how these types lie on disk. Nothing here touches a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np

from longtake.features.errors import InvalidFeatures, NotInStore
from longtake.manifests.table import check_video_id

FORMAT_VERSION = 1
RECIPE_ID_LENGTH = 16

OK = "ok"
FAILED = "failed"


def canonical_json(value: object) -> str:
    """One spelling per value: sorted keys, no blanks, no NaN. The recipe's hash is taken over it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def recipe_hash(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:RECIPE_ID_LENGTH]


@dataclass(frozen=True)
class FeatureHeader:
    """Everything that decides the numbers of one stream of features. Equal headers, and only they, may be mixed.

    None means that it is not known, which happens with imported features only.
    """

    backbone: str
    modality: str
    """What the network takes: `video`, `audio` or `image`."""
    dim: int
    """Values per clip."""
    weights: str
    """Registered name, file name, or `random:SEED`."""
    weights_sha256: str | None
    weights_random: bool
    """True marks every table, plot and page made from these features."""
    clip_length: int | None
    """Frames per clip, counted at `fps`."""
    clip_stride: int | None
    tail: str | None
    """What happened to frames that did not fill a clip: a policy of extract/clips.py."""
    fps: float | None
    """Sampling rate; None takes every frame of the file."""
    preprocessing: Mapping[str, object] = field(default_factory=dict)
    """Resize, crop, mean, std as the backbone's spec states them."""
    decoder: str | None = None
    """Decoder, its version, and the library that resizes."""
    precision: str | None = "float32"
    origin: str = "extracted"
    """`extracted`, or `imported: LAYOUT` for features made elsewhere."""

    def __post_init__(self) -> None:
        if not self.backbone or "/" in self.backbone or "@" in self.backbone:
            raise InvalidFeatures(f"a backbone needs a name without '/' or '@', got {self.backbone!r}")
        if self.dim < 1:
            raise InvalidFeatures(f"{self.backbone}: dim must be 1 or more, got {self.dim}")
        object.__setattr__(
            self, "preprocessing", MappingProxyType(json.loads(canonical_json(dict(self.preprocessing))))
        )

    def __hash__(self) -> int:
        return hash(self.recipe_id)

    def to_dict(self) -> dict[str, object]:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**values, "preprocessing": dict(self.preprocessing), "format_version": FORMAT_VERSION}

    @classmethod
    def from_json(cls, text: str) -> FeatureHeader:
        values = json.loads(text)
        version = values.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise InvalidFeatures(f"features of format version {version}; this release reads version {FORMAT_VERSION}")
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            raise InvalidFeatures(
                f"a recipe with unknown fields {', '.join(sorted(unknown))}: written by a newer release?"
            )
        return cls(**values)

    def to_json(self) -> str:
        return canonical_json(self.to_dict())

    @cached_property
    def recipe_id(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON."""
        return recipe_hash(self.to_dict())

    def differences(self, other: FeatureHeader) -> dict[str, tuple[object, object]]:
        """Field -> (ours, theirs), for messages that say why two streams may not be mixed."""
        ours, theirs = self.to_dict(), other.to_dict()
        return {name: (ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]}


@dataclass(frozen=True)
class VideoRecord:
    """One video's row beside its features: where they come from, or why there are none."""

    video_id: str
    status: str = OK
    error_stage: str = ""
    """The step that failed: `find`, `decode`, `sound`, `plan`, `model`; `crash` where it took its process down with it."""
    error_type: str = ""
    error_message: str = ""
    source_name: str = ""
    """File name, without its folders."""
    source_sha256: str = ""
    duration_seconds: float = float("nan")
    """Of the picture stream, from its frames."""
    fps: float = float("nan")
    """Average rate of the source."""
    span_start_seconds: float = float("nan")
    """Start of the part of the file that was used; nan for its beginning."""
    span_end_seconds: float = float("nan")
    finished_utc: str = ""
    decoder: str = ""
    """Name of the decoder that read the file; the recipe has its versions. Empty where it was not recorded."""

    def __post_init__(self) -> None:
        check_video_id(self.video_id)
        if self.status not in (OK, FAILED):
            raise InvalidFeatures(f"{self.video_id}: status {self.status!r} is neither {OK!r} nor {FAILED!r}")

    @property
    def span(self) -> tuple[float | None, float | None]:
        ends = (self.span_start_seconds, self.span_end_seconds)
        return tuple(None if np.isnan(value) else value for value in ends)  # type: ignore[return-value]

    def same_source(self, span: tuple[float | None, float | None], source_name: str) -> bool:
        """Whether it is of those seconds, and of a file of that name, where both names are known."""
        return self.span == span and (self.source_name == source_name or "" in (self.source_name, source_name))


@dataclass(frozen=True)
class VideoFeatures:
    """The clips of one video, in time order. A failed video has none."""

    record: VideoRecord
    features: np.ndarray
    """float32 or float16, `(clips, dim)`."""
    start_seconds: np.ndarray
    """float64, `(clips,)`."""
    end_seconds: np.ndarray
    """float64, `(clips,)`; a clip is `[start, end)`."""

    def __post_init__(self) -> None:
        name = self.record.video_id
        if self.features.ndim != 2 or self.features.dtype.kind != "f":
            raise InvalidFeatures(
                f"{name}: features must be floats of shape (clips, dim), got {self.features.dtype} {self.features.shape}"
            )
        num_clips = len(self.features)
        if self.start_seconds.shape != (num_clips,) or self.end_seconds.shape != (num_clips,):
            raise InvalidFeatures(
                f"{name}: {num_clips} clips need as many start and end times, "
                f"got {self.start_seconds.shape} and {self.end_seconds.shape}"
            )
        if self.record.status == OK and num_clips == 0:
            raise InvalidFeatures(f"{name}: no clips, but not marked as failed")
        if not np.isfinite(self.features).all():
            raise InvalidFeatures(f"{name}: features hold NaN or infinity; were the weights right?")
        if (self.end_seconds <= self.start_seconds).any():
            raise InvalidFeatures(f"{name}: a clip ends before it starts")

    @property
    def sha256(self) -> str:
        """Of the features as little-endian bytes in row order."""
        contiguous = np.ascontiguousarray(self.features, dtype=self.features.dtype.newbyteorder("<"))
        return hashlib.sha256(contiguous).hexdigest()

    @classmethod
    def failure(cls, record: VideoRecord, dim: int) -> VideoFeatures:
        return cls(record, np.zeros((0, dim), np.float32), np.zeros(0), np.zeros(0))


@dataclass(frozen=True)
class LabelRow:
    """What is known of one video."""

    split: str
    category: str
    scores: dict[str, float]
    """Those that are there, in judges' units."""
    boundaries: tuple[float, ...] = ()
    """Seconds; see `Labels`."""


@dataclass(frozen=True)
class Labels:
    """The manifest's facts, one row per video: all that a trainer needs beside the features."""

    video_ids: tuple[str, ...]
    splits: tuple[str, ...]
    """Empty text where the manifest gives none."""
    categories: tuple[str, ...]
    score_names: tuple[str, ...]
    scores: np.ndarray
    """float64, `(videos, scores)`, in judges' units; nan where missing."""
    boundaries: np.ndarray | None = None
    """float64, `(videos, boundaries)`: seconds of the file, as those of clips, at which one stage ends and the next begins; ascending, nan
    from where a video has no more. None becomes `(videos, 0)`."""

    def __post_init__(self) -> None:
        shape = (len(self.video_ids), len(self.score_names))
        if self.boundaries is None:
            object.__setattr__(self, "boundaries", np.zeros((shape[0], 0)))
        if self.scores.shape != shape or len(self.splits) != shape[0] or len(self.categories) != shape[0]:
            raise InvalidFeatures(f"labels of {shape[0]} videos and {shape[1]} scores, but scores {self.scores.shape}")
        if len(set(self.video_ids)) != shape[0]:
            raise InvalidFeatures("labels name a video twice")
        if self.boundaries.ndim != 2 or len(self.boundaries) != shape[0]:
            raise InvalidFeatures(f"labels of {shape[0]} videos, but boundaries {self.boundaries.shape}")
        # Each next one is later, or both that and all after it are missing.
        before, after = self.boundaries[:, :-1], self.boundaries[:, 1:]
        if np.isinf(self.boundaries).any() or not ((after > before) | np.isnan(after)).all():
            raise InvalidFeatures("boundaries of stages that do not ascend")

    def __len__(self) -> int:
        return len(self.video_ids)

    def equals(self, other: Labels) -> bool:
        same = self.video_ids, self.splits, self.categories, self.score_names
        return same == (other.video_ids, other.splits, other.categories, other.score_names) and all(
            np.array_equal(ours, theirs, equal_nan=True)
            for ours, theirs in ((self.scores, other.scores), (self.boundaries, other.boundaries))
        )

    def row(self, index: int) -> LabelRow:
        scores = {n: float(s) for n, s in zip(self.score_names, self.scores[index]) if not np.isnan(s)}
        boundaries = tuple(float(b) for b in self.boundaries[index] if not np.isnan(b))
        return LabelRow(self.splits[index], self.categories[index], scores, boundaries)

    def subset(self, indices: list[int]) -> Labels:
        return Labels(
            tuple(self.video_ids[i] for i in indices),
            tuple(self.splits[i] for i in indices),
            tuple(self.categories[i] for i in indices),
            self.score_names,
            self.scores[indices].reshape(len(indices), len(self.score_names)),
            self.boundaries[indices].reshape(len(indices), self.boundaries.shape[1]),
        )


@dataclass(frozen=True)
class TextHeader:
    """Everything that decides the numbers of one set of text features, beside the texts themselves."""

    encoder: str
    dim: int
    weights: str
    weights_sha256: str | None
    weights_random: bool
    origin: str = "encoded"
    library: str | None = None

    def to_json(self) -> str:
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TextHeader:
        return cls(**json.loads(text))

    @property
    def recipe_id(self) -> str:
        return recipe_hash(asdict(self))


@dataclass(frozen=True)
class TextFeatures:
    """The features of one prompt set, in the order of its texts."""

    name: str
    """Of the prompt set, such as `qgvl`."""
    header: TextHeader
    texts: tuple[str, ...]
    groups: tuple[str, ...]
    """Group of each text, such as `grades`; texts of a group stand together."""
    features: np.ndarray
    """float32, `(texts, dim)`, as the encoder gives them, not normalised."""

    def __post_init__(self) -> None:
        expected = (len(self.texts), self.header.dim)
        if self.features.shape != expected or len(self.groups) != expected[0]:
            raise InvalidFeatures(
                f"prompt set {self.name}: {expected[0]} texts of {expected[1]} values expected, "
                f"got features {self.features.shape} and {len(self.groups)} group names"
            )
        if not np.isfinite(self.features).all():
            raise InvalidFeatures(f"prompt set {self.name}: text features hold NaN or infinity")

    def equals(self, other: TextFeatures) -> bool:
        same = self.name, self.header, self.texts, self.groups
        return same == (other.name, other.header, other.texts, other.groups) and np.array_equal(
            self.features, other.features
        )

    def group(self, name: str) -> np.ndarray:
        """Rows of one group, `(texts of the group, dim)`."""
        chosen = [index for index, group in enumerate(self.groups) if group == name]
        if not chosen:
            have = ", ".join(dict.fromkeys(self.groups))
            raise NotInStore(f"prompt set {self.name} has no group {name!r}; it has {have}")
        return self.features[chosen]
