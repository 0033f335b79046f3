"""More than one vector a clip: `--pool` says which tokens of a network are kept, `--layers` of which layers.

They are stored as one wider row a clip, in the order layers, tokens, values: `row.reshape(layers, tokens, width)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from longtake.extract.backbones.dry_run import feature_dim
from longtake.extract.backbones.families import refused
from longtake.extract.backbones.spec import BackboneSpec, Network
from longtake.extract.errors import ExtractError
from longtake.extract.preprocessing import SoundRule

if TYPE_CHECKING:
    import torch

MEAN, CLS, TOKENS = "mean", "cls", "tokens"
LAST = "last"
MOST_VALUES = 1 << 20
"""Of a row, 4 MiB."""


@dataclass(frozen=True)
class PoolRule:
    """What is kept of the tokens of a clip."""

    pool: str
    """`mean` of the places, `cls` (the class token), `map:TxHxW` (means over a grid of places), or `tokens` (all of them)."""
    layers: tuple[int | None, ...]
    """Counted from 1, or from -1, the last, backwards; None is the last one after the network's last norm."""

    @property
    def grid(self) -> tuple[int, ...]:
        """Of a map: times, rows, columns."""
        return (
            tuple(int(side) for side in self.pool.removeprefix("map:").split("x"))
            if self.pool.startswith("map:")
            else ()
        )

    def facts(self, num_tokens: int) -> tuple[tuple[str, object], ...]:
        """For the recipe."""
        names = [LAST if layer is None else str(layer) for layer in self.layers]
        return (("pool", self.pool), ("layers", ",".join(names)), ("tokens", num_tokens))


def pool_rule(pool: str | None, layers: str | None) -> PoolRule | None:
    """Of the options; None if neither is given. `ExtractError` for what they do not take."""
    if pool is None and layers is None:
        return None
    pool = pool or MEAN
    if pool not in (MEAN, CLS, TOKENS) and not re.fullmatch(r"map:[1-9]\d{0,2}x[1-9]\d{0,2}x[1-9]\d{0,2}", pool):
        raise ExtractError(f"--pool takes {MEAN}, {CLS}, {TOKENS} or map:TxHxW, such as map:1x3x3, got {pool!r}")
    found: list[int | None] = []
    for name in (layers or LAST).split(","):
        if name.strip() != LAST and (not re.fullmatch(r"-?[1-9]\d{0,2}", name.strip())):
            raise ExtractError(
                f"--layers takes {LAST} or numbers from 1 or -1 on, such as {LAST}, -4,-1; got {layers!r}"
            )
        found.append(None if name.strip() == LAST else int(name))
    return PoolRule(pool, tuple(found))


def pooled_spec(spec: BackboneSpec, network: Network, rule: PoolRule, length: int) -> BackboneSpec:
    """The spec with the width of such rows for clips of `length` frames, and with the rule in its facts. `ExtractError` if the network has no
    such tokens."""
    if network.tokens is None or isinstance(spec.frames, SoundRule):
        raise refused(spec.source or spec.name, "it gives one vector a clip; --pool and --layers need its tokens")
    shape = (1, 3, length, spec.frames.height, spec.frames.width)
    sizes: list[int] = []

    def rows(made: Any, pictures: torch.Tensor) -> torch.Tensor:
        found = token_rows(spec, network, rule)(made, pictures)
        sizes.append(found.shape[1] // len(rule.layers))
        return found.flatten(1)

    dim = feature_dim(spec.source or spec.name, lambda: network.make(spec.num_classes), rows, shape)
    if dim > MOST_VALUES:
        raise ExtractError(
            f"--pool {rule.pool} gives {dim:,} values a clip, at most {MOST_VALUES:,} are stored: take map:TxHxW or fewer --layers"
        )
    return replace(spec, dim=dim, facts=(*spec.facts, *rule.facts(sizes[-1])))


def with_pool(spec: BackboneSpec, network: Network, rule: PoolRule) -> Network:
    """The network whose features are such rows; it has no classifier, which reads other ones."""
    rows = token_rows(spec, network, rule)
    return replace(network, features=lambda made, pictures: rows(made, pictures).flatten(1), logits=None)


def token_rows(spec: BackboneSpec, network: Network, rule: PoolRule) -> Callable[[Any, torch.Tensor], torch.Tensor]:
    """From pictures to float32 `(batch, layers * tokens, width)`."""
    tokens = network.tokens
    assert tokens is not None

    def run(made: Any, pictures: torch.Tensor) -> torch.Tensor:
        import torch

        found = [
            keep(spec, rule, first.float(), places.float()) for first, places in tokens(made, pictures, rule.layers)
        ]
        if len({rows.shape[1:] for rows in found}) > 1:
            shapes = ", ".join(f"{rows.shape[1]} x {rows.shape[2]}" for rows in found)
            raise refused(
                spec.source or spec.name, f"these layers have tokens of different numbers or widths ({shapes})"
            )
        return torch.cat(found, dim=1)

    return run


def keep(spec: BackboneSpec, rule: PoolRule, first: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """`first` are the tokens that have no place, `(batch, n, width)`; `places` are `(batch, times, rows, columns, width)`. Returns
    `(batch, tokens, width)`."""
    import torch
    from torch.nn.functional import adaptive_avg_pool3d

    if rule.pool == CLS:
        if not first.shape[1]:
            raise refused(spec.source or spec.name, "it has no class token: --pool mean")
        return first[:, :1]
    if rule.pool == MEAN:
        return places.mean(dim=(1, 2, 3))[:, None]
    if rule.pool == TOKENS:
        return torch.cat([first, places.flatten(1, 3)], dim=1)
    if any(wanted > have for wanted, have in zip(rule.grid, places.shape[1:4])):
        have = "x".join(str(side) for side in places.shape[1:4])
        raise refused(
            spec.source or spec.name,
            f"its map of {have} places has not the {rule.pool.removeprefix('map:')} that are asked for",
        )
    pooled = adaptive_avg_pool3d(places.permute(0, 4, 1, 2, 3), rule.grid)
    return pooled.flatten(2).transpose(1, 2)
