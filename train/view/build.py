"""Read all that the given folders hold, once, into the data of a site."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path

from longtake.features.catalog.build import Stores, add_stores, now, num_blocks
from longtake.features.catalog.kept import Kept
from longtake.features.catalog.site import HERE as STORE_PAGES
from longtake.features.catalog.site import SCRIPT, Site, plain_json, summary
from longtake.features.catalog.stores import StoreRow
from longtake.features.catalog.walk import FOLDER, STORE, Folders, Found
from longtake.train.errors import DataError
from longtake.train.view.paired import PairedTests, papers_of
from longtake.train.view.routines import Routines
from longtake.train.view.runs import (
    BENCH,
    MARKERS,
    RUN,
    SWEEP,
    BenchRow,
    Predictions,
    RunRow,
    SweepRow,
    read_bench_row,
    read_run_row,
    read_sweep_row,
    runs_on,
)
from longtake.train.view.videos import VideoFiles

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Laboratory:
    """All that was found."""

    site: Site
    stores: Stores
    runs: tuple[RunRow, ...]
    sweeps: tuple[SweepRow, ...]
    benches: tuple[BenchRow, ...]
    videos: VideoFiles | None = None
    """The files of their videos, where a folder of videos is given."""

    @property
    def counts(self) -> dict[str, int]:
        found = {"stores": self.stores.rows, "runs": self.runs, "sweeps": self.sweeps, "benches": self.benches}
        return {"videos": self.stores.num_videos, **{name: len(rows) for name, rows in found.items()}}

    @property
    def faults(self) -> list[tuple[str, str]]:
        """Name and reason of what cannot be read."""
        every: tuple[StoreRow | RunRow | SweepRow | BenchRow, ...] = (
            *self.stores.rows,
            *self.runs,
            *self.sweeps,
            *self.benches,
        )
        return [(row.name, row.fault) for row in every if row.fault]


def read(
    folders: Folders,
    report: Callable[[int, int | None, str], None] = lambda done, total, name: None,
    videos: VideoFiles | None = None,
    kept: Kept | None = None,
    for_export: bool = False,
) -> Laboratory:
    """Read the stores, runs, sweeps and benches of the folders. `report` gets how many are done, of how many, and the name of the last one. What a server
    computes when it is asked is in the data of a site `for_export`.

    The folders must stay open as long as the site is used: predictions are read when they are asked for. Raises `LongtakeError` for
    folders that hold none of these.
    """
    found = list(folders.find(MARKERS))
    if all(one.kind == FOLDER for one in found):
        raise DataError(f"{folders.title} holds no store, run, sweep or bench{_why(found)}")
    done = count(1)

    def step(name: str) -> None:
        report(next(done), len(found), name)

    def rows(kind: str, read_one: Callable) -> list:
        made = []
        for one in found:
            if one.kind == kind:
                made.append(read_one(folders, one))
                step(one.name)
        return made

    site = Site((STORE_PAGES / SCRIPT, STORE_PAGES / "stores.js", HERE / "runs.js"))
    stores = add_stores(site, [one for one in found if one.kind in (STORE, FOLDER)], step, kept)
    if videos is not None:
        videos = videos.only(name for names in stores.sources for name in names)
    read_runs = rows(RUN, read_run_row)
    wholes = {str(one.place): one.name for one in found if one.kind in (SWEEP, BENCH)}
    runs = tuple(replace(row, part_of=wholes.get(row.place.rpartition("/")[0], "")) for row, _ in read_runs)
    sweeps, benches = tuple(rows(SWEEP, read_sweep_row)), tuple(rows(BENCH, read_bench_row))
    predictions = Predictions([folder for _, folder in read_runs])
    site.data |= {"runs": plain_json(runs), "sweeps": plain_json(sweeps), "benches": plain_json(benches)}
    site.data["papers"] = plain_json(papers_of(runs))
    paired = PairedTests([folder for _, folder in read_runs], runs)
    site.asked["paired"] = paired.of_two
    tested = paired.add(site) if for_export else "asked"
    site.data |= {f"run-{number}": partial(predictions.of_run, number) for number in range(len(runs))}
    for number, (store, ids) in enumerate(zip(stores.rows, stores.ids)):
        if mine := runs_on(store.dataset, runs):
            site.data[f"scored-{number}"] = partial(predictions.of_store, ids, mine)
    routines = Routines([folder for _, folder in read_runs])
    for run in range(len(runs)):
        _add_routines(site, routines, run, stores, videos)
    if videos is not None:
        site.data |= {
            f"playable-{number}": partial(_playable, videos, names) for number, names in enumerate(stores.sources)
        }
    laboratory = Laboratory(site, stores, runs, sweeps, benches, videos)
    about = summary(
        folders.title,
        now(),
        laboratory.counts,
        blocks=num_blocks(site),
        videos=videos is not None,
        paired=tested,
        scored=numbers(site, "scored"),
        looked=numbers(site, "looked"),
    )
    site.data["index"] = plain_json(about)
    return laboratory


def _add_routines(site: Site, routines: Routines, run: int, stores: Stores, videos: VideoFiles | None) -> None:
    """The pages of a run's routines, and the data `looked-N` of each store that has the videos: (row, run, name of the page)."""
    kept = routines.of_run(run)
    if kept is None:
        return
    place_of = {video_id: place for place, video_id in enumerate(kept.video_ids)}
    first: dict[int, tuple[str, str]] = {}
    for number, (store, ids) in enumerate(zip(stores.rows, stores.ids)):
        rows = [row for row, one in enumerate(ids) if one in place_of] if store.dataset == kept.dataset else []
        if not rows:
            continue
        before = json.loads(site.json(f"looked-{number}")) if f"looked-{number}" in site.data else []
        mine = [[row, run, f"routine-{run}-{place_of[ids[row]]}"] for row in rows]
        site.data[f"looked-{number}"] = plain_json([*before, *mine])
        for row in rows:
            playable = videos.address(stores.sources[number][row]) if videos is not None else None
            address = f"../{playable}" if playable else ""
            first.setdefault(place_of[ids[row]], (address, f"../index.html#/video/{number}/{row}"))
    for place in place_of.values():
        address, back = first.get(place, ("", "../index.html"))
        site.pages[f"routine-{run}-{place}"] = partial(
            routines.page, run, place, address, [("All about this video", back)]
        )


def _playable(videos: VideoFiles, names: Sequence[str]) -> list[tuple[int, str]]:
    """Rows of a store whose video is in the folder of videos, with the address of that."""
    found = ((row, videos.address(name)) for row, name in enumerate(names))
    return [(row, address) for row, address in found if address]


def numbers(site: Site, name: str) -> list[int]:
    """Those of the stores that have data of this name."""
    return [int(one.rpartition("-")[2]) for one in site.data if one.startswith(f"{name}-")]


def _why(found: Sequence[Found]) -> str:
    return "".join(f"\n  {one.name}: {one.fault}" for one in found[:5])
