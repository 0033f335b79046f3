"""The interface of a head: what it is given (`Batch`, `Prototypes`), what it says that it needs (`Needs`), what it returns
(`HeadOutput`), and what it can do beyond that, stated as attributes of `Head`.

A head knows nothing of files, datasets or score ranges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import nn

from longtake.errors import there_are
from longtake.train.errors import DataError, SettingsError, require_at_least
from longtake.train.heads.published import rename

ANY, CATEGORY = "any", "category"
SCORE_PREFIX = "score_"
"""How a setting names the manifest column of a score."""
GRADES, SCORES = "grades", "scores"
"""Groups of texts that prompt sets share."""


@dataclass(frozen=True)
class ExemplarRule:
    """Which training videos a video is compared with."""

    match: str
    """Manifest column in which both agree: `category`, or a `score_<name>` such as `score_difficulty`; `any` takes all training videos."""
    voters: int
    """Number of exemplars of a tested video. In training there is one, drawn at random for each batch."""

    def __post_init__(self) -> None:
        if self.match not in (ANY, CATEGORY) and not self.match.startswith(SCORE_PREFIX):
            raise SettingsError(
                f"exemplars takes {ANY}, {CATEGORY} or a column {SCORE_PREFIX}<name>, got {self.match!r}"
                f"{there_are(self.match, (ANY, CATEGORY))}"
            )
        require_at_least(self, voters=1)

    @property
    def score(self) -> str | None:
        """Name of the score in which videos agree; None where `match` names no score."""
        return None if self.match in (ANY, CATEGORY) else self.match.removeprefix(SCORE_PREFIX)


@dataclass(frozen=True)
class Needs:
    """What a head must be given in addition to clips, and whether it reads these."""

    texts: tuple[str, ...] = ()
    """Groups of a prompt set, such as `grades`; their features become buffers `<group>_texts` of the head."""
    audio: bool = False
    """Features of the sound, one row a clip."""
    streams: tuple[str, ...] = ()
    """Further streams that have the clips of the first, by the names that `--stream NAME=BACKBONE` gives them, such as `flow`: they
    are in `Batch.streams`, and their widths in `Head.stream_dims`."""
    second_stream: bool = False
    """It can read a second stream that has a clock of its own; other heads refuse one."""
    boundaries: int = 0
    """Number of stage boundaries that it learns from the labels."""
    terms: tuple[str, ...] = ()
    """Groups of which a video has texts of its own, by its category, where the prompt set has such (`Batch.terms`); in this order."""
    scores: tuple[str, ...] = ()
    """Scores that are known of every video before it is judged, such as its difficulty."""
    targets: tuple[str, ...] = ()
    """Further scores that the head learns, such as those of the judges; known for training videos only."""
    exemplars: ExemplarRule | None = None
    """Training videos, with their scores, to compare each video with."""
    groups: tuple[str, ...] | None = None
    """Kinds of groups of the labels, such as `skater`, whose numbers `Batch.groups` has; empty: all. None: it sees none, as no head should
    that is to judge what it sees."""
    sees_padding: bool = False
    """It reads the zeros after a video's last clip as clips, as published code does (`mask=false`)."""
    alone: bool = False
    """Videos of a batch change each other's scores, so each is tested in a batch of its own."""
    clips: bool = True
    """False of a head that reads no features: `Batch.clips` has zeros for it, and `Batch.mask` says how many clips there are."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of `Batch.scores`, in order."""
        return self.scores + self.targets


@dataclass(frozen=True)
class Prototypes:
    """Raw, un-normalised text features, by the group that a head asks for."""

    texts: Mapping[str, np.ndarray]
    """Group -> float32 `(texts, dim)`. Of QGVL: `grades` from poor to excellent, `scores` from the lowest to the highest."""
    random: bool
    """The text encoder had random weights."""


@dataclass(frozen=True)
class SecondStream:
    """Features in a clock of their own over the time of a batch's clips, padded at the end to a common number; called frames."""

    features: torch.Tensor
    """float32, `(batch, frames, dim)`; padding is zero."""
    mask: torch.Tensor
    """bool, `(batch, frames)`; True where there is a frame."""
    seconds: torch.Tensor
    """float32, `(batch, frames, 2)`: start and end of each, in the clock of the clips; zero in the padding."""


@dataclass(frozen=True)
class Batch:
    """Some videos, padded at the end to a common number of clips."""

    clips: torch.Tensor
    """float32, `(batch, clips, dim)`; padding is zero."""
    mask: torch.Tensor
    """bool, `(batch, clips)`; True where there is a clip."""
    target01: torch.Tensor
    """float32, `(batch,)`; the score on the scale 0 to 1."""
    rows: tuple[int, ...]
    """Rows of the dataset, in the order of the batch."""
    audio: torch.Tensor | None = None
    """float32, `(batch, clips, audio_dim)`; the sound of the same clips."""
    streams: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Name -> float32, `(batch, clips, dim of the stream)`; padding is zero."""
    seconds: torch.Tensor | None = None
    """float32, `(batch, clips, 2)`: start and end of each clip; zero in the padding."""
    second_stream: SecondStream | None = None
    boundaries: torch.Tensor | None = None
    """float32, `(batch, boundaries)` seconds; nan where a video has none. None where no video has."""
    terms: torch.Tensor | None = None
    """int64, `(batch, stages + 1)`: index of the prompt set's text for each of the video's stages, and for the whole video; -1 where
    its category has none."""
    scores: torch.Tensor | None = None
    """float32, `(batch, columns)`, in judges' units: the scores that the head's `Needs` names; nan where one is missing."""
    groups: torch.Tensor | None = None
    """int64, `(batch, kinds)`: numbers of the groups that a video is of, equal for equal groups only, everywhere; 0 where one is unknown. Only
    for a head that needs them."""
    exemplar: Batch | None = None
    """Training videos to compare with, and their targets; each is here once."""
    voters: torch.Tensor | None = None
    """int64, `(batch, voters)`: which videos of `exemplar` each video is compared with; -1 where there are fewer."""


@dataclass(frozen=True)
class HeadOutput:
    score01: torch.Tensor
    """`(batch,)`, on the scale 0 to 1."""
    patterns: tuple[torch.Tensor, ...] = ()
    """Each `(batch, n, d)`: what the triplet loss keeps apart."""
    logits: tuple[torch.Tensor, ...] = ()
    """Each `(batch, n, n)`: similarity of pattern i to text j."""
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    """Name -> `(batch, n)`: normalised weights whose expectation is a score."""
    boundaries: torch.Tensor | None = None
    """`(batch, boundaries)` seconds: the predicted end of each stage but the last."""
    losses: dict[str, torch.Tensor] = field(default_factory=dict)
    """The head's own loss terms, scalars, already weighted; only in training."""


@dataclass(frozen=True)
class Source:
    """Where a head comes from, for `train list` and the docs."""

    paper: str
    """Authors, title or short name, venue; empty for a head of ours."""
    year: int = 0
    code: str = ""
    """The published code that was followed, as `owner/repository`; empty where none was published."""
    golden: tuple[str, ...] = ()
    """Files of numbers of the published code with which tests compare the head, without their suffix."""

    @property
    def described(self) -> bool:
        """It was re-implemented from the description alone."""
        return bool(self.paper and not self.code)


class Comparable(Protocol):
    """The training videos that a video may be compared with, as `Head.learn_groups` gets them."""

    @property
    def targets01(self) -> np.ndarray:
        """float, `(videos,)`."""

    @property
    def scores(self) -> np.ndarray:
        """float32, `(videos, columns)`: the scores that the head's `Needs` names."""

    def differences(self, values: np.ndarray) -> np.ndarray:
        """Absolute differences of `values`, `(videos,)`, of all pairs that may be compared, in rising order."""


class Head(nn.Module):
    """Clips of videos to scores.

    A head has a docstring whose first line says what it is, `Settings`, `needs`, `build`, and `forward`.
    """

    SOURCE: ClassVar[Source] = Source("")
    Settings: ClassVar[type]
    """A frozen dataclass whose fields have defaults; `--set` reaches each."""
    KEY_MAP: ClassVar[Mapping[str, str | None]] = {}
    """Key, or prefix of keys ending in a dot, of the published checkpoint -> ours; None for weights that are left out. See
    `from_published`."""
    why_no_import: ClassVar[str] = ""
    """Why published checkpoints ("they") cannot be imported; empty where they can. `from_published` may still name weights that they share."""
    not_in_weights: ClassVar[tuple[str, ...]] = ()
    """Settings that scores depend on and that no weight of a published checkpoint shows."""
    closed_form: ClassVar[bool] = False
    """It is fitted by `fit_closed_form`, not trained by gradient."""
    sees_video: ClassVar[bool] = True
    """False of a baseline that reads no features."""
    stacks: ClassVar[bool] = False
    """`torch.func` can turn it into an operation over a stack of models, where no video is padded."""
    stacks_padded: ClassVar[bool] = False
    """And where videos are padded, too."""
    bfloat16: ClassVar[bool] = False
    """With `precision=auto` it is trained in bfloat16 where the processor computes in it. True for heads that benchmarks/precision.py has
    found faster in it, with scores and ranks within its bounds."""
    sees_means: ClassVar[bool] = False
    """It reads the mean of a video's clips alone, so that means can be computed once. Not with `Needs.sees_padding`."""
    settings: Any
    """What it was made with."""
    stream_dims: Mapping[str, int]
    """Name of a further stream -> its width; those that it needs are there when `build` is called."""

    def __init__(
        self,
        dim: int,
        settings: Any,
        prototypes: Prototypes | None = None,
        audio_dim: int = 0,
        stream_dims: Mapping[str, int] | None = None,
    ) -> None:
        """For clips of `dim` values, a second stream of `audio_dim` and further ones. Raises `DataError` when a text or stream that it needs
        is missing."""
        super().__init__()
        self.settings, self.stream_dims = settings, dict(stream_dims or {})
        needs = self.needs(settings)
        if needs.audio and not audio_dim:
            raise DataError("this head needs sound: name its features with --audio BACKBONE")
        for name in needs.streams:
            if name not in self.stream_dims:
                raise DataError(f"this head reads the stream {name!r}: name its features with --stream {name}=BACKBONE")
        known = prototypes.texts if prototypes else {}
        for group in needs.texts:
            if group not in known:
                raise DataError(f"this head needs the texts {group!r}, got {', '.join(known) or 'none'}")
            self.register_buffer(f"{group}_texts", torch.as_tensor(known[group], dtype=torch.float32))
        self.build(dim, audio_dim)

    def build(self, dim: int, audio_dim: int) -> None:
        """Make the layers, as `settings` say."""

    @classmethod
    def needs(cls, settings: Any) -> Needs:
        """What a head with these settings must be given: clips alone, unless it says otherwise, and those of padding where it has a setting
        `mask`, which is false."""
        return Needs(sees_padding=not getattr(settings, "mask", True))

    @property
    def batch_needs(self) -> Needs:
        """What batches for this head hold."""
        return self.needs(self.settings)

    def forward(self, batch: Batch) -> HeadOutput:
        raise NotImplementedError

    def texts(self, group: str) -> torch.Tensor:
        """float32, `(texts, dim)`: features of a group that it needs."""
        return self.get_buffer(f"{group}_texts")

    def mask(self, batch: Batch) -> torch.Tensor:
        """bool, `(batch, clips)`: which clips it reads; all of them, padding included, where it sees padding."""
        return torch.ones_like(batch.mask) if self.batch_needs.sees_padding else batch.mask

    @classmethod
    def from_published(cls, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The weights of a published checkpoint under our names and in our shapes: by `KEY_MAP`, and 1x1 convolutions become linear."""
        return rename(state, cls.KEY_MAP)

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        """Settings that show in the shapes of weights that `from_published` has returned."""
        return {}

    @classmethod
    def settings_in_published(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        """Settings that show in a published checkpoint, also in what `from_published` leaves out."""
        return cls.settings_in(cls.from_published(state))

    @classmethod
    def memory_to_fit(cls, settings: Any, num_clips: np.ndarray, dim: int) -> int:
        """Bytes that `fit_closed_form` holds at once for training videos of so many clips each; 0 where it takes statistics of one batch after the
        other."""
        return 0

    def fit_closed_form(self, batches: Iterable[Batch]) -> None:
        """Fit on whole training videos, if `closed_form`."""
        raise NotImplementedError

    def learn_groups(self, training: Comparable) -> None:
        """Before training, of a head that compares: see which differences there are among training videos."""
