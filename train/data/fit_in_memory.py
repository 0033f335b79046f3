"""Whether the features that a run reads fit in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from longtake.errors import LongtakeError
from longtake.features.store import Store
from longtake.memory import memory_for
from longtake.train.errors import SettingsError


def memory_for_features(asked: str | int | None) -> int:
    """Bytes; features that take more stay on the disk. Raises `SettingsError` for text that is not a size."""
    try:
        return memory_for(asked)
    except LongtakeError as error:
        raise SettingsError(f"memory for features: {error}") from error


def named_streams(
    store: Store, backbone: str | None, second: str | None, streams: Mapping[str, str]
) -> list[str | None]:
    """Names of the streams that are read, the first one first; None is the only one of the store."""
    others = [*([second] if second else []), *streams.values()]
    return [backbone or (_only_other(store, others) if others else None), *others]


def stored_bytes(store: Store, backbones: Sequence[str | None]) -> int:
    """Of the features of streams, by their names; None is the only one."""
    streams = [store.stream(backbone) for backbone in backbones]
    return sum(stream.num_clips * stream.header.dim * stream.features.dtype.itemsize for stream in streams)


def _only_other(store: Store, named: Sequence[str]) -> str | None:
    """The one stream that is not named, so that `--audio ast` alone is enough; None where there are several."""
    taken = {store.stream(name).name for name in named}
    others = [stream.name for stream in store.streams if stream.name not in taken]
    return others[0] if len(others) == 1 else None
