"""What a remote of many stores costs: python benchmarks/sharing.py [--stores 100] [--videos 20] [--rounds 5] [--json FILE]

A folder with many SIMULATED stores, read as a folder and from a local web server: to list all, to pull one video of one store, to pull that
store, to pull its next version with one new video, and to push a store that is there already. Requests and bytes are counted at the server.
A network adds its own time to each request. The first listing at a web server connects.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from measured import Machine, Ratio, Result, Row, Table

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.remotes.history import newest_of_each
from longtake.features.remotes.library import library_folder
from longtake.features.remotes.place import open_place
from longtake.features.remotes.pull import Pulled, pull
from longtake.features.remotes.push import Terms, finish, push
from longtake.features.store import open_store, write_store
from longtake.features.store_name import StoreName
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.features.servers import http_server  # noqa: E402

CLIPS, DIM = 68, 1024
"""Of RG's videos with VST."""
MOST_EXTRA = 0.1


def write(path: Path, number: int, num_videos: int) -> Path:
    names = tuple(f"v{video:03}" for video in range(num_videos))
    header = FeatureHeader("vst", "video", DIM, "random:0", None, True, 32, 32, "pad", None)

    def item(video: int) -> StreamItem:
        rng = np.random.default_rng([number, video])
        times = np.arange(float(CLIPS))
        made = VideoFeatures(
            VideoRecord(names[video]), rng.normal(size=(CLIPS, DIM)).astype(np.float32), times, times + 1
        )
        return StreamItem(made.record, CLIPS, lambda: made)

    labels = Labels(names, ("train",) * num_videos, ("A",) * num_videos, ("total",), np.ones((num_videos, 1)))
    write_store(path, dataset="simulated", card=None, labels=labels, streams=[StreamPlan(header, np.dtype("f4"), [item(v) for v in range(num_videos)])])  # fmt: skip
    return path


def push_to(remote: Path, store: Path, name: str) -> None:
    with open_store(store) as opened:
        done = push(opened, str(remote), name=name, terms=Terms())
        finish(str(remote), {}, done.version)


def timed(act: Callable[[], object]) -> tuple[float, object]:
    began = time.perf_counter()
    found = act()
    return time.perf_counter() - began, found


@click.command()
@click.option("--stores", "num_stores", default=100, show_default=True)
@click.option("--videos", "num_videos", default=20, show_default=True, help="Of each store.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(num_stores: int, num_videos: int, rounds: int, json_path: Path | None) -> None:
    warnings.simplefilter("ignore")
    seconds: dict[str, list[float]] = {}
    counts: dict[str, tuple[int, int]] = {}
    video_bytes = CLIPS * (DIM * 4 + 16)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["LONGTAKE_LIBRARY"] = str(folder / "library")
        remote = folder / "remote"
        for number in range(num_stores):
            store = write(folder / "one.h5", number, num_videos)
            push_to(remote, store, f"store{number:03}")
            store.unlink()
        same = write(folder / "same.h5", num_stores // 2, num_videos)
        name = f"store{num_stores // 2:03}"
        push_to(remote, write(folder / "next.h5", num_stores // 2, num_videos + 1), name)
        with http_server(remote) as (url, sent):
            for place, where in (("folder", str(remote)), ("web server", url)):
                for _ in range(rounds):
                    shutil.rmtree(library_folder(), ignore_errors=True)
                    for what, act in acts(where, name, num_stores).items():
                        sent.clear()
                        taken, found = timed(act)
                        seconds.setdefault(f"{what}, {place}", []).append(taken)
                        if place == "web server":
                            counts[what] = len(sent), sum(sent)
                        if isinstance(found, Pulled):
                            assert found.is_new, what
        for _ in range(rounds):
            taken, _ = timed(lambda: push_to(remote, same, f"store{num_stores // 2:03}-copy"))
            seconds.setdefault("push what is there already, folder", []).append(taken)
    rows = [
        Row(what, "s", tuple(values), _note(counts.get(what.removesuffix(", web server"))))
        for what, values in seconds.items()
    ]
    extra = Ratio(
        "bytes to pull one video / its features and times",
        (counts["pull one video"][1] / video_bytes,),
        at_most=1 + MOST_EXTRA,
    )
    new = Ratio(
        "bytes to pull a version with one new video / that video",
        (counts["pull the next version"][1] / video_bytes,),
        at_most=1 + MOST_EXTRA,
    )
    command = f"python benchmarks/sharing.py --stores {num_stores} --videos {num_videos} --rounds {rounds}"
    title = f"{num_stores} stores of {num_videos} videos, {CLIPS} clips x {DIM}, {num_videos * video_bytes / 1e6:.0f} MB each"
    Result(
        "Stores", "A remote of many stores", command, Machine.this(), (Table(title, tuple(rows), (extra, new)),),
        simulated="The stores are SIMULATED: features are random numbers",
        notes=("Requests are those of the web server on this machine. The push is of a store with another name whose bytes the remote has.",),
    ).tell(json_path)  # fmt: skip


def acts(where: str, name: str, num_stores: int) -> dict[str, Callable[[], object]]:
    def listing() -> None:
        assert len(newest_of_each(open_place(where))) in (num_stores, num_stores + 1)

    return {
        "list all stores": listing,
        "pull one video": lambda: pull(StoreName(name, "1"), where, only=["v001"]),
        "pull the store": lambda: pull(StoreName(name, "1"), where),
        "pull the next version": lambda: pull(StoreName(name, "2"), where),
    }


def _note(count: tuple[int, int] | None) -> str:
    return f"{count[0]} requests, {count[1] / 1e6:.2f} MB" if count else ""


if __name__ == "__main__":
    main()
