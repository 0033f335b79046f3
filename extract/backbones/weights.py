"""The meaning of `--weights`: random weights, registered ones, or a file.

There are no silent fallbacks: weights that are not available are a `WeightsError` that says what to do.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from longtake.errors import there_are
from longtake.extract.backbones.download import Progress, fetch, recorded_sha256
from longtake.extract.backbones.families import family_module
from longtake.extract.backbones.spec import BackboneSpec, TextEncoderSpec
from longtake.extract.errors import WeightsError
from longtake.files import file_sha256
from longtake.manifests.pretrained import TABLE, WeightsEntry


@dataclass(frozen=True)
class Weights:
    """Weights that `--weights` names."""

    name: str
    """Registered name, file name, or `random:SEED`: the `weights` of a feature header."""
    path: Path | None
    """None for random weights."""
    sha256: str | None
    """Of the file. None for random weights, which `longtake.extract.backbones.state_dict.state_sha256` identifies once they are made."""
    seed: int | None = None
    """Of random weights."""

    @property
    def is_random(self) -> bool:
        return self.path is None


def find_entry(name: str) -> WeightsEntry:
    """The registered weights of this name. `WeightsError`, with the nearest name, if there are none."""
    if name not in TABLE:
        raise WeightsError(f"no weights are called {name!r}{there_are(name, TABLE)}")
    return TABLE[name]


def resolve(
    argument: str | None, spec: BackboneSpec | TextEncoderSpec, *, on_progress: Progress | None = None
) -> Weights:
    """`random`, `random:SEED`, a registered name or a path -> weights on this machine.

    None takes the default of `spec`. Registered weights that are not in the cache are downloaded. `WeightsError` if the argument is
    neither, belongs to another backbone, or cannot be downloaded.
    """
    argument = spec.default_weights if argument is None else argument
    if argument == "random" or argument.startswith("random:"):
        seed = _parse_seed(argument)
        return Weights(f"random:{seed}", None, None, seed)
    if argument in TABLE:
        entry = TABLE[argument]
        if entry.backbone != spec.name:
            raise WeightsError(f"the weights {argument!r} are for {entry.backbone}, not for {spec.name}")
        path = fetch(entry, on_progress)
        sha256 = entry.sha256 or recorded_sha256(entry)  # fetch has just compared the file with it
        return Weights(entry.name, path, sha256)
    if isinstance(spec, BackboneSpec) and spec.source and argument == spec.default_weights:
        found: Weights = family_module(spec.source.partition("/")[0]).published(spec, on_progress)
        return found
    path = Path(os.path.expanduser(argument))
    if path.is_file():
        return Weights(path.name, path, file_sha256(path))
    names = [entry.name for entry in TABLE.values() if entry.backbone == spec.name]
    raise WeightsError(
        f"--weights {argument}: neither a file nor registered weights of {spec.name}{there_are(argument, names)}. "
        f"Give a path, random, random:SEED or a registered name"
    )


def _parse_seed(argument: str) -> int:
    text = argument.partition(":")[2] if ":" in argument else "0"
    if not (text.isascii() and text.isdigit() and int(text) < 2**63):
        raise WeightsError(f"--weights {argument}: the seed must be a whole number from 0 to 2^63 - 1")
    return int(text)
