"""Read all stores that were found, once, into the data of a site."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from longtake.features.catalog.kept import Kept, stamp_of
from longtake.features.catalog.site import Site, plain_json, summary
from longtake.features.catalog.stores import StoreRow, VideoTable, blocks, read_store
from longtake.features.catalog.walk import FOLDER, STORE, Folders, Found
from longtake.features.errors import FeaturesError
from longtake.features.store import STORES


@dataclass(frozen=True)
class Stores:
    """What is kept of the stores in memory, in addition to the data of the site."""

    rows: tuple[StoreRow, ...]
    ids: tuple[tuple[str, ...], ...]
    """The videos of each store."""
    sources: tuple[tuple[str, ...], ...]
    """The file name of each video."""

    @property
    def num_videos(self) -> int:
        return sum(map(len, self.ids))

    @property
    def num_faults(self) -> int:
        return sum(bool(row.fault) for row in self.rows)


def add_stores(
    site: Site,
    found: Sequence[Found],
    step: Callable[[str], None] = lambda name: None,
    kept: Kept | None = None,
) -> Stores:
    """Read the stores and folders that cannot be listed into the data `stores` and `videos-N`. One that cannot be read is a row with its
    reason. `step` is called after each. `kept` has what was read before."""
    rows: list[StoreRow] = []
    ids: list[tuple[str, ...]] = []
    sources: list[tuple[str, ...]] = []

    def tables() -> Iterator[VideoTable]:
        for number, one in enumerate(found):
            row, table = _read(one, number, kept)
            rows.append(row)
            ids.append(tuple(table.ids) if table else ())
            sources.append(tuple(table.source) if table else ())
            step(one.name)
            if table:
                yield table

    in_blocks: dict[int, list[int]] = {}
    number = -1
    for number, block in enumerate(blocks(tables())):
        for piece in block:
            in_blocks.setdefault(piece.store, []).append(number)
        site.data[f"videos-{number}"] = plain_json(block)
    rows = [
        replace(row, blocks=[min(held), max(held)]) if (held := in_blocks.get(place)) else row
        for place, row in enumerate(rows)
    ]
    site.data["stores"] = plain_json(rows)
    return Stores(tuple(rows), tuple(ids), tuple(sources))


def _read(one: Found, number: int, kept: Kept | None) -> tuple[StoreRow, VideoTable | None]:
    if kept is None or one.fault:
        return read_store(one, number)
    stamp = stamp_of(one.place)  # Before it is read: what is written meanwhile is read the next time.
    if before := kept.find(one.place, stamp):
        row, table = before
        return replace(row, name=one.name, place=str(one.place)), replace(table, store=number)
    row, read = read_store(one, number)
    if read is not None:
        kept.keep(one.place, stamp, row, read)
    return row, read


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def num_blocks(site: Site) -> int:
    return sum(name.startswith("videos-") for name in site.data)


def catalog_site(folder: Path) -> tuple[Site, Stores]:
    """All stores of a folder, for `features catalog`. Raises `FeaturesError` for a folder without a store."""
    if not folder.is_dir():
        raise FeaturesError(f"{folder} is not a folder of stores")
    with Folders.of([folder]) as folders:
        found = [one for one in folders.find({}) if one.kind in (STORE, FOLDER)]
        if not any(one.kind == STORE for one in found):
            raise FeaturesError(f"{folder} holds no store; their names end in {', '.join(STORES)}")
        site = Site()
        stores = add_stores(site, found)
    counts = {"stores": len(stores.rows), "videos": stores.num_videos}
    site.data["index"] = plain_json(summary(folders.title, now(), counts, blocks=num_blocks(site)))
    return site, stores
