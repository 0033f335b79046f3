"""The options of `extract run`: one frozen dataclass, checked when it is made, and the only place of their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from longtake.errors import LongtakeError
from longtake.extract.backbones import PRECISIONS
from longtake.extract.backbones.pooling import pool_rule
from longtake.extract.backbones.runtime import OPENVINO, RUNTIMES
from longtake.extract.decode.killable import MOST_STALL_SECONDS, STALL_SECONDS
from longtake.extract.errors import ExtractError
from longtake.memory import memory_for

AUTO = "auto"


@dataclass(frozen=True)
class RunOptions:
    """None leaves the choice to the dataset's card and then to the backbone. Raises `ExtractError` for a value out of range."""

    backbones: tuple[str, ...] = ("i3d",)
    recipe: str | None = None
    """Name of a published recipe of extract/plan/recipes.py; it replaces the card's clip rule and the backbones' own numbers."""
    weights: tuple[str, ...] = ()
    """What `longtake.extract.backbones.weights.resolve` takes: for all backbones or, as `BACKBONE=...`, for one."""
    clip_length: int | None = None
    clip_stride: int | None = None
    fps: float | None = None
    tail: str | None = None
    decoder: str = "pyav"
    stall_timeout: float = STALL_SECONDS
    """Seconds without output after which a decoder is killed; 0 decodes in this process, without a timeout."""
    device: str = AUTO
    precision: str = "float32"
    """`float32`, `bfloat16`, or `auto`."""
    compile: bool = False
    """Compile the networks with torch, which takes a minute and pays off for many videos. It changes the last bits, as the
    number of threads does."""
    runtime: str = AUTO
    """`torch`, `openvino`, or `auto`: OpenVINO on a CPU where it is installed and proven for the backbone."""
    missing_sound: str | None = None
    """`fail` or `silence`: what audio backbones do with a file without sound."""
    square_pixels: bool = False
    """Stretch pictures whose pixels are not square, by the file, to their shown shape. Part of the recipe."""
    pool: str | None = None
    """What is kept of a clip's tokens: `mean`, `cls`, `map:TxHxW` or `tokens`; None is the backbone's own vector. Part of the recipe."""
    layers: str | None = None
    """Of which layers, such as `last` or `-4,-1`. Part of the recipe."""
    batch_size: int | None = None
    workers: int | None = None
    """Videos decoded at a time, or processes of a cluster; None is one, or what the cluster has."""
    only: tuple[str, ...] = ()
    limit: int | None = None
    shard: tuple[int, int] | None = None
    """(I, N): every Nth video from the Ith on, counted from 1; for sites where N processes share a folder without dask."""
    retry_failed: bool = False
    require_all: bool = False
    """Refuse to begin while a video is missing."""
    beside: bool = False
    """Keep this recipe in addition to another recipe of the same backbone in the store."""
    memory: str | int | None = None
    """For what is known of finished videos while they are published, such as `200MB`: more of them are published in several steps. None is half of
    what is free, at least 128 MiB."""
    cluster: str | None = None
    """`local`, a batch system, or the address of a dask scheduler; None extracts in this process."""
    cluster_options: Path | None = None
    """TOML file with the options of the batch system."""

    def __post_init__(self) -> None:
        if not self.backbones:
            raise ExtractError("name at least one backbone")
        if self.fps is not None:
            # The recipe is a hash of its JSON, in which 1 and 1.0 differ.
            object.__setattr__(self, "fps", float(self.fps))
        for name in ("clip_length", "clip_stride", "batch_size", "workers", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ExtractError(f"--{name.replace('_', '-')} takes 1 or more, got {value}")
        pool_rule(self.pool, self.layers)  # raises for what they do not take
        if not 0 <= self.stall_timeout <= MOST_STALL_SECONDS:
            raise ExtractError(
                f"--stall-timeout takes 0 to {MOST_STALL_SECONDS:g} seconds, got {self.stall_timeout}; 0 disables the timeout"
            )
        if self.precision not in (*PRECISIONS, AUTO):
            raise ExtractError(f"--precision takes {', '.join(PRECISIONS)} or {AUTO}, got {self.precision!r}")
        if self.runtime not in (*RUNTIMES, AUTO):
            raise ExtractError(f"--runtime takes {AUTO}, {' or '.join(RUNTIMES)}, got {self.runtime!r}")
        if self.runtime == OPENVINO and self.compile:
            raise ExtractError("--compile compiles networks of torch: leave it out, or use --runtime torch")
        if self.missing_sound not in (None, "fail", "silence"):
            raise ExtractError(f"--missing-sound takes fail or silence, got {self.missing_sound!r}")
        if self.shard and not 1 <= self.shard[0] <= self.shard[1]:
            raise ExtractError(f"--shard takes I/N with I from 1 to N, got {self.shard[0]}/{self.shard[1]}")
        try:
            memory_for(self.memory)
        except LongtakeError as error:
            raise ExtractError(f"--memory: {error}") from error
        if self.cluster_options and not self.cluster:
            raise ExtractError("--cluster-options needs --cluster: without it, videos are extracted in this process")


class OptionValues(TypedDict, total=False):
    """Fields of `RunOptions` as keyword arguments of `longtake.extract_videos`, so that editors and type checkers know them."""

    recipe: str | None
    clip_length: int | None
    clip_stride: int | None
    fps: float | None
    tail: str | None
    decoder: str
    stall_timeout: float
    device: str
    precision: str
    compile: bool
    runtime: str
    missing_sound: str | None
    square_pixels: bool
    pool: str | None
    layers: str | None
    batch_size: int | None
    only: tuple[str, ...]
    limit: int | None
    shard: tuple[int, int] | None
    retry_failed: bool
    require_all: bool
    beside: bool
    memory: str | int | None
    cluster: str | None
    cluster_options: Path | None
