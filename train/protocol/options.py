"""What the user asks of `train heads`: the one place of its defaults. It imports nothing heavy, so that --help can show them."""

from __future__ import annotations

from dataclasses import dataclass

from longtake.train.errors import SettingsError

BASELINE = "ridge"
"""The head that is fitted as a baseline for every result."""
NO_VIDEO = "metadata"
"""And the one that sees no video, where the labels have groups."""
DEFAULT_HEAD, DEFAULT_HEAD_WITH_TEXTS = "gdlt", "gslm"
"""The second where the store has the texts for it."""
SECOND = "second"
SECOND_NAMES = (SECOND, "audio")
"""Names of the second stream in `--stream NAME=BACKBONE`."""
GROUPS = "groups"
"""In the place of a number of folds: one group is tested at a time."""
LEAVE_ONE_OUT = "leave-one-out"
"""In the same place: one video is tested at a time. A video by itself has no rank correlation, so correlations are over the scores of all
folds (`are_pooled`)."""
UNIFIED = "unified"
"""Name of the score that one model of several datasets learns: each dataset's own, on the scale 0 to 1."""
PUBLISHED = "published"
"""One of the presets in presets.toml."""


@dataclass(frozen=True)
class Options:
    """Options of one run. Raises `SettingsError` for a value that no run can have."""

    head: str | None = None
    """None takes `gslm` where the store has text features for it, `gdlt` otherwise."""
    backbone: str | None = None
    audio: str | None = None
    """Backbone of the second stream: sound, or pictures in a clock of their own."""
    streams: tuple[str, ...] = ()
    """Further streams as NAME=BACKBONE, such as `flow=i3d-flow`, by the names that heads give them; `audio=` and `second=` are the second
    stream as well."""
    text: str | None = None
    plugin: str | None = None
    """Of `longtake.train.heads.plugin.PLUGINS`, put before the head."""
    categories: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    seeds: int = 1
    folds: int | str = 0
    """Cross-validation inside the training split; 0 trains on it and tests on the test split. `groups` tests one group of `group` at a time,
    `leave-one-out` one video."""
    group: str | None = None
    """Name of a group of the labels, such as `skater`: folds are cut so that none of these is in two of them."""
    within: str | None = None
    """Name of a group inside which videos are ranked as well. None: `event` if the labels have it, or else their only group."""
    floor: bool = True
    """Fit the baseline for every result."""
    control: bool = False
    """Train every model a second time on shuffled labels."""
    evaluate_every: int = 1
    device: str = "auto"
    overrides: tuple[tuple[str, object], ...] = ()
    preset: str = PUBLISHED
    first_seed: int = 0
    parallel: str = "none"
    """One of `longtake.train.engine.parallel.WAYS`: which models are trained at the same time."""
    memory: str | int | None = None
    """For features, such as `2GB`, or bytes: those that take more are read from the disk while training, in the same batches. None: half of what
    is free."""
    unified: bool = False
    """One model for several datasets: its settings are those for a dataset without a published row."""

    def __post_init__(self) -> None:
        for name, lowest in {"seeds": 1, "folds": 0, "evaluate_every": 1, "first_seed": 0}.items():
            value = getattr(self, name)
            if name == "folds" and value in (GROUPS, LEAVE_ONE_OUT):
                continue
            if not isinstance(value, int) or value < lowest:
                raise SettingsError(f"{name} must be a whole number of {lowest} or more, got {value!r}")
        for name in ("categories", "scores", "streams"):
            value = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(one, str) for one in value):
                raise SettingsError(f"{name} must be a list of names, such as [{value!r}], got {value!r}")
        if self.folds == GROUPS and not self.group:
            raise SettingsError(
                "--folds groups tests one group at a time: name the kind of group with --group, such as skater"
            )
        if self.group and self.folds == LEAVE_ONE_OUT:
            raise SettingsError(
                f"--folds {LEAVE_ONE_OUT} tests one video at a time, with others of its {self.group} in training; for one {self.group} at a time: --folds groups"
            )
        if self.group and not self.folds:
            raise SettingsError(
                f"--group {self.group} says how folds are cut: give their number with --folds N, or --folds groups for one {self.group} at a time"
            )
        _ = self.all_streams

    @property
    def all_streams(self) -> tuple[str | None, dict[str, str]]:
        """Backbone of the second stream, and those of further ones by name. Raises `SettingsError`."""
        return parse_streams(self.audio, self.streams)


def are_pooled(folds: int | str) -> bool:
    """Whether correlations are over the scores of all folds of a seed at once, and not averages over folds."""
    return folds == LEAVE_ONE_OUT


def fold_rule(folds: int | str, group: str | None) -> str:
    """How videos are split, for tables and pages: `5-fold by skater`; empty for the dataset's own split."""
    if folds == GROUPS:
        return f"one {group} at a time"
    if folds == LEAVE_ONE_OUT:
        return LEAVE_ONE_OUT
    return f"{folds}-fold{f' by {group}' if group else ''}" if folds else ""


def parse_streams(audio: str | None, streams: tuple[str, ...]) -> tuple[str | None, dict[str, str]]:
    """Backbone of the second stream, and name -> backbone of further ones. Raises `SettingsError`."""
    found = {} if audio is None else {SECOND: audio}
    for pair in streams:
        name, equals, backbone = pair.partition("=")
        if not (name and equals and backbone):
            raise SettingsError(f"--stream takes NAME=BACKBONE, such as flow=i3d-flow, got {pair!r}")
        name = SECOND if name in SECOND_NAMES else name
        if name in found:
            raise SettingsError(f"--stream {pair}: {found[name]} is named for it already")
        found[name] = backbone
    return found.pop(SECOND, None), found
