"""The contract between `extract` and `train`: what a feature is and everything that decided its numbers.

FORMAT.md says how these types are stored. Nothing here touches a file.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np

from longtake.checks import build, read_json
from longtake.features.errors import InvalidFeatures, NotInStore
from longtake.manifests.table import check_video_id

FORMAT_VERSION = 2
"""Of stores."""
HEADER_VERSION = 1
"""Of recipes. It is part of them, so another number would give every recipe another id."""
RECIPE_ID_LENGTH = 16

OK = "ok"
FAILED = "failed"


def canonical_json(value: object) -> str:
    """One spelling per value: sorted keys, no spaces, no NaN. The hash of a recipe is taken over it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def recipe_hash(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:RECIPE_ID_LENGTH]


def underflows(features: np.ndarray, narrow: np.ndarray) -> int:
    """How many values became 0 because a narrower dtype has no number so small: below 6e-8 in float16."""
    return int(np.count_nonzero((narrow == 0) & (features != 0)))


def sha256_of(features: np.ndarray) -> str:
    """SHA-256 of the features as little-endian bytes in row order."""
    contiguous = np.ascontiguousarray(features, dtype=features.dtype.newbyteorder("<"))
    return hashlib.sha256(contiguous.data).hexdigest()


@dataclass(frozen=True)
class FeatureHeader:
    """Everything that decides the numbers of one stream of features. Only features with equal headers may be mixed.

    None means unknown, which only imported features have.
    """

    backbone: str
    modality: str
    """Input of the network: `video`, `audio` or `image`."""
    dim: int
    """Values per clip."""
    weights: str
    """Registered name, file name, or `random:SEED`."""
    weights_sha256: str | None
    weights_random: bool
    """If true, every table, plot and page made from these features says so."""
    clip_length: int | None
    """Frames per clip, counted at `fps`."""
    clip_stride: int | None
    tail: str | None
    """How frames that did not fill a clip were treated: a policy of extract/clips.py."""
    fps: float | None
    """Sampling rate in frames per second; None means every frame of the file."""
    preprocessing: Mapping[str, object] = field(default_factory=dict)
    """Resize, crop, mean and std, as in the backbone's spec."""
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
        frozen = MappingProxyType(json.loads(canonical_json(dict(self.preprocessing))))
        object.__setattr__(self, "preprocessing", frozen)

    def __hash__(self) -> int:
        return hash(self.recipe_id)

    def to_dict(self) -> dict[str, object]:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**values, "preprocessing": dict(self.preprocessing), "format_version": HEADER_VERSION}

    @classmethod
    def from_json(cls, text: str, where: str = "the recipe") -> FeatureHeader:
        """Raises `InvalidFeatures` with every fault; `where` names the text in the message."""
        values = read_json(text, where, InvalidFeatures)
        version = values.pop("format_version", None) if isinstance(values, dict) else HEADER_VERSION
        if version != HEADER_VERSION:
            raise InvalidFeatures(f"features of format version {version}; this release reads version {HEADER_VERSION}")
        return build(cls, values, where, InvalidFeatures)

    def to_json(self) -> str:
        return canonical_json(self.to_dict())

    @cached_property
    def recipe_id(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON."""
        return recipe_hash(self.to_dict())

    @property
    def stream_name(self) -> str:
        """`backbone@recipe_id`, as stores and messages name the stream of these features."""
        return f"{self.backbone}@{self.recipe_id}"

    @property
    def times_known(self) -> bool:
        """Whether the times of clips are those of the video. Imported features whose rule is unknown have a second for each clip instead."""
        rule = self.clip_length, self.clip_stride, self.fps
        return not self.origin.startswith("imported") or None not in rule

    def differences(self, other: FeatureHeader) -> dict[str, tuple[object, object]]:
        """Field -> (ours, theirs), for messages that explain why two streams may not be mixed. Like the recipe id, it takes 25 and 25.0
        for different."""
        ours, theirs = self.to_dict(), other.to_dict()
        return {
            name: (ours[name], theirs[name])
            for name in ours
            if canonical_json(ours[name]) != canonical_json(theirs[name])
        }


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """The row of one video: the source of its features, or why it has none."""

    video_id: str
    status: str = OK
    error_stage: str = ""
    """The step that failed: `find`, `decode`, `sound`, `plan`, `model`, `crash` if the process died, or `store` if it was damaged later."""
    error_type: str = ""
    error_message: str = ""
    source_name: str = ""
    """File name without folders."""
    source_sha256: str = ""
    duration_seconds: float = float("nan")
    """When the last picture ends, in the seconds of the clips, from the frames."""
    fps: float = float("nan")
    """Average frame rate of the source."""
    span_start_seconds: float = float("nan")
    """Start of the part of the file that was used; nan for the start of the file."""
    span_end_seconds: float = float("nan")
    finished_utc: str = ""
    decoder: str = ""
    """Name of the decoder that read the file; the recipe has its version. Empty if not recorded."""
    damaged_frames: float = float("nan")
    """Number of damaged or lost pictures in the part of the file that was used; nan if not recorded."""
    pixel_aspect: float = float("nan")
    """Width of a shown pixel by its height, as the file says; nan if not recorded."""
    transfer: str = ""
    """`PQ` or `HLG` for pictures of high dynamic range, `SDR` for others; empty if not recorded."""

    def __post_init__(self) -> None:
        check_video_id(self.video_id)
        if self.status not in (OK, FAILED):
            raise InvalidFeatures(f"{self.video_id}: status {self.status!r} is neither {OK!r} nor {FAILED!r}")

    @property
    def span(self) -> tuple[float | None, float | None]:
        """Start and end of the part of the file that was used, in seconds; None for the start or end of the file."""
        start, end = self.span_start_seconds, self.span_end_seconds
        return (None if math.isnan(start) else start), (None if math.isnan(end) else end)

    def same_source(self, span: tuple[float | None, float | None], source_name: str) -> bool:
        """Whether the row describes the same seconds of a file of the same name. An unknown name matches any name."""
        return self.span == span and (self.source_name == source_name or "" in (self.source_name, source_name))


@dataclass(frozen=True)
class VideoFeatures:
    """The clips of one video, in time order. A failed video has no clips."""

    record: VideoRecord
    features: np.ndarray
    """float32 or float16, `(clips, dim)`."""
    start_seconds: np.ndarray
    """float64, `(clips,)`."""
    end_seconds: np.ndarray
    """float64, `(clips,)`; a clip covers `[start, end)`."""

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
            raise InvalidFeatures(f"{name}: features contain NaN or infinity; check the weights")
        if not (np.isfinite(self.start_seconds) & np.isfinite(self.end_seconds)).all():
            raise InvalidFeatures(f"{name}: a clip without a time")
        if (self.end_seconds <= self.start_seconds).any():
            raise InvalidFeatures(f"{name}: a clip ends before it starts")

    @property
    def sha256(self) -> str:
        return sha256_of(self.features)

    @classmethod
    def failure(cls, record: VideoRecord, dim: int) -> VideoFeatures:
        return cls(record, np.zeros((0, dim), np.float32), np.zeros(0), np.zeros(0))


@dataclass(frozen=True)
class TextHeader:
    """Everything except the texts that decides the numbers of one set of text features."""

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
    def from_json(cls, text: str, where: str = "the recipe of the texts") -> TextHeader:
        """Raises `InvalidFeatures` with every fault; `where` names the text in the message."""
        return build(cls, read_json(text, where, InvalidFeatures), where, InvalidFeatures)

    @property
    def recipe_id(self) -> str:
        return recipe_hash(asdict(self))


@dataclass(frozen=True)
class TextFeatures:
    """The features of one prompt set, in the order of its texts."""

    name: str
    """Name of the prompt set, such as `qgvl`."""
    header: TextHeader
    texts: tuple[str, ...]
    groups: tuple[str, ...]
    """Group of each text, such as `grades`; the texts of a group are adjacent."""
    features: np.ndarray
    """float32, `(texts, dim)`, as the encoder returns them, not normalised."""

    def __post_init__(self) -> None:
        expected = (len(self.texts), self.header.dim)
        if self.features.shape != expected or len(self.groups) != expected[0]:
            raise InvalidFeatures(
                f"prompt set {self.name}: {expected[0]} texts of {expected[1]} values expected, "
                f"got features {self.features.shape} and {len(self.groups)} group names"
            )
        if not np.isfinite(self.features).all():
            raise InvalidFeatures(f"prompt set {self.name}: text features contain NaN or infinity")

    @property
    def full_name(self) -> str:
        """`name@recipe_id`, as stores and messages name these features."""
        return f"{self.name}@{self.header.recipe_id}"

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
