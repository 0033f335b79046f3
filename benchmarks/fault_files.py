"""Damaged and hostile files: refused with a message, or read as if they were whole."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from fault_world import KINDS, Tally, World, flip
from forked import CHANGED, EQUAL, REFUSED, call, seconds_of


def stores_flipped(world: World, tally: Tally) -> None:
    with world.room() as room:
        source = world.folder / f"flip{world.rng.choice(KINDS)}"
        if not source.exists():
            seconds_of(world.said, "features", "convert", world.whole, source)
        store = room / source.name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, store)
        files = [store] if store.is_file() else sorted(path for path in store.rglob("*") if path.is_file())
        file = world.rng.choice(files)
        file.write_bytes(flip(world.rng, file.read_bytes()))
        judge(tally, call(world.said, "compare", world.whole, store))


def checkpoints_flipped(world: World, tally: Tally) -> None:
    run, score = world.folder / "run", ["--features", world.whole, "--split", "all", "--json"]
    if not run.exists():
        seconds_of(world.said, "train", "heads", "--features", world.whole, "--head", "gdlt", "--epochs", 1, "--no-floor",
                   "--out", run, "--quiet")  # fmt: skip
        (run / "clean").write_text(call(world.said, "train", "evaluate", "--run", run, *score)[1])
    clean = (run / "clean").read_text()
    with world.room() as room:
        shutil.copytree(run, room / "run")
        file = world.rng.choice(sorted((room / "run").rglob("*.safetensors")))
        file.write_bytes(flip(world.rng, file.read_bytes()))
        result = call(world.said, "train", "evaluate", "--run", room / "run", *score)
        tally.plain(result, 0, 1, 2)
        same = result[1].replace(str(room), str(world.folder)) == clean
        judge(tally, (EQUAL if same else CHANGED if not result[0] else REFUSED, result[1]))


def videos_flipped(world: World, tally: Tally) -> None:
    """All videos damaged: failures or counted damage, and the same bits with other numbers of workers."""
    with world.room() as room:
        shutil.copytree(world.folder / "videos", room / "videos")
        for file in (room / "videos").iterdir():
            file.write_bytes(flip(world.rng, file.read_bytes(), most=3))
            tally.tried += 1
        for workers in (1, 3):
            result = call(
                world.said, *world.extract(room / f"s{workers}.h5", "--workers", workers, videos=room / "videos")
            )
            tally.plain(result, 0, 1, 2)
        if result[0] != 2:
            tally.outcomes["videos refused"] += result[1].count("failed: v")
            tally.outcomes["read, damage counted or unseen"] += 12 - result[1].count("failed: v")
            result = call(world.said, "features", "diff", room / "s1.h5", room / "s3.h5")
            tally.expect(result[0] == 0, f"other bits with other workers: {result[1][-1000:]}")


class Code:
    """A pickle that runs code."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Callable[..., int], tuple[str]]:
        return os.system, (f"touch {self._file}",)


def hostile_files(world: World, tally: Tally) -> None:
    """Pickles with code, named pipes, folders, devices and links in the place of files, for every command that reads one."""
    with world.room() as room:
        ran = room / "ran"
        places: dict[str, Path] = {name: room / name for name in ("code", "pipe", "folder", "loop", "device")}
        places["code"].write_bytes(pickle.dumps(Code(ran)))
        os.mkfifo(places["pipe"])
        places["folder"].mkdir()
        places["loop"].symlink_to(places["loop"])
        places["device"].symlink_to("/dev/zero")
        for place in places.values():
            for suffix in (".h5", ".zarr", ".pkl", ".pt", ".npy", ".csv", ".mp4"):
                place.with_suffix(suffix).symlink_to(place)
            for command in _readers(world, place, room):
                tally.tried += 1
                tally.plain(call(world.said, *command), 0 if "probe-all" in command else 2, 1)
        tally.expect(not ran.exists(), "code from a file ran")


def _readers(world: World, place: Path, room: Path) -> Iterator[list[object]]:
    for suffix in KINDS:
        store = place.with_suffix(suffix)
        yield ["features", "info", store]
        yield ["features", "merge", store, world.whole, "--out", room / "m.h5"]
        yield ["train", "heads", "--features", store, "--head", "ridge", "--out", room / "r"]
    yield ["features", "import", place.with_suffix(".pkl"), "--layout", "pamfn", "--dataset", "rg", "--backbone", "vst",
           "--out", room / "i.h5"]  # fmt: skip
    yield [
        "features",
        "import",
        place.with_suffix(".npy"),
        "--layout",
        "text",
        "--dataset",
        "rg",
        "--out",
        room / "t.h5",
    ]
    yield [
        "train",
        "import-checkpoint",
        place.with_suffix(".pt"),
        "--head",
        "gdlt",
        "--features",
        world.whole,
        "--out",
        room / "c",
    ]
    yield ["extract", "probe", place.with_suffix(".mp4")]
    yield ["extract", "plan", "--manifest", place.with_suffix(".csv"), "--videos", world.folder / "videos"]
    yield ["extract", "run", "--manifest", world.folder / "small.csv", "--videos", world.folder / "videos", "--backbone", "i3d",
           "--weights", place.with_suffix(".pt"), "--out", room / "w.h5"]  # fmt: skip


def judge(tally: Tally, result: tuple[int, str]) -> None:
    """Of a file with changed bytes: refused, or the same values."""
    tally.tried += 1
    tally.expect(
        result[0] in (EQUAL, REFUSED) and "Traceback" not in result[1], f"status {result[0]}: {result[1][-1000:]}"
    )
    tally.outcomes["refused" if result[0] == REFUSED else "without effect"] += 1


FLIPS = {
    stores_flipped: ("stores with changed bytes", "stores"),
    checkpoints_flipped: ("checkpoints with changed bytes", "checkpoints"),
}
