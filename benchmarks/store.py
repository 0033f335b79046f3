"""How fast stores are, compared with loose files and other layouts: python benchmarks/store.py [--videos N ...] [--json FILE]

Made-up features, the same in every layout. Each figure is the median of five repetitions in this one run, with the page cache warm, but writing and merging are done once,
and is printed with its ratio to a named peer measured in the same run. Machines differ; ratios less so.
"""

from __future__ import annotations

import json
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import h5py
import numpy as np
import zarr
from tabulate import tabulate

from longtake.features.columns import VideoTable
from longtake.features.content import Block, Storage, StreamPlan
from longtake.features.labels import Labels
from longtake.features.parts import pack, part_writer
from longtake.features.store import open_store, write_store
from longtake.features.tools.merge import merge
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord

DIM = 128
REPETITIONS = 5
HEADER = FeatureHeader(
    "made-up", "video", DIM, weights="none", weights_sha256=None, weights_random=True, clip_length=16, clip_stride=16,
    tail="pad", fps=None,
)  # fmt: skip


class Made:
    """Made-up videos of 6 to 10 clips, in the form in which a store takes rows of another store."""

    def __init__(self, num_videos: int, first: int = 0) -> None:
        rng = np.random.default_rng(first)
        self.ids = tuple(f"video_{number:06d}" for number in range(first, first + num_videos))
        self.counts = rng.integers(6, 11, num_videos)
        self.offsets = np.concatenate([[0], np.cumsum(self.counts)])
        self.features = rng.normal(size=(self.offsets[-1], DIM)).astype(np.float32)
        self.starts = np.concatenate([np.arange(count, dtype=float) for count in self.counts])
        self.labels = Labels(
            self.ids, ("train",) * num_videos, ("A",) * num_videos, ("total",), rng.normal(size=(num_videos, 1))
        )
        records = [VideoRecord(name, source_name=f"{name}.mp4", source_sha256="0" * 64) for name in self.ids]
        self.table = VideoTable.of([(record, self.video(row).sha256) for row, record in enumerate(records)])

    def blocks(self):
        yield Block(self.features, self.starts, self.starts + 1, self.table)

    def video(self, row: int) -> VideoFeatures:
        a, b = self.offsets[row], self.offsets[row + 1]
        return VideoFeatures(VideoRecord(self.ids[row]), self.features[a:b], self.starts[a:b], self.starts[a:b] + 1)


def write_ours(path: Path, made: Made, storage: Storage | None = None) -> None:
    plan = StreamPlan(HEADER, np.dtype(np.float32), [made])
    write_store(path, dataset="made-up", card=None, labels=made.labels, streams=[plan], storage=storage)


def read_one_of_ours(path: Path, video_id: str) -> np.ndarray:
    with open_store(path) as store:
        return store.stream().read(video_id).features


def read_all_of_ours(path: Path) -> np.ndarray:
    with open_store(path) as store:
        return store.stream().read_all()


def read_all_unchecked(path: Path) -> np.ndarray:
    with open_store(path) as store:
        stream = store.stream()
        return stream.features.unchecked[0 : stream.num_clips]


def append_to_ours(path: Path, made: Made, number: int) -> None:
    name = f"new_{number}"
    video = VideoFeatures(VideoRecord(name), made.features[:8], np.arange(8.0), np.arange(8.0) + 1)
    labels = Labels((name,), ("train",), ("A",), ("total",), np.zeros((1, 1)))
    with part_writer(path) as parts:
        parts.append("made-up", labels, {HEADER: video})
    pack(path, dataset="made-up", card=None, labels=labels)


def write_npy(folder: Path, made: Made) -> None:
    folder.mkdir()
    for row, name in enumerate(made.ids):
        np.save(folder / f"{name}.npy", made.features[made.offsets[row] : made.offsets[row + 1]])


def write_per_video(path: Path, made: Made) -> None:
    with h5py.File(path, "w") as file:
        for row, name in enumerate(made.ids):
            file[name] = made.features[made.offsets[row] : made.offsets[row + 1]]


def read_hdf5(path: Path, name: str) -> np.ndarray:
    with h5py.File(path, "r") as file:
        return file[name][()]


def read_per_video(path: Path) -> np.ndarray:
    with h5py.File(path, "r") as file:
        return np.concatenate([data[()] for data in file.values()])


def read_flat(path: Path) -> np.ndarray:
    return read_hdf5(path, "features") if path.suffix == ".h5" else zarr.open_array(path, mode="r")[:]


def write_flat_hdf5(path: Path, made: Made) -> None:
    with h5py.File(path, "w") as file:
        file["features"] = made.features


def write_flat_zarr(path: Path, like: Path, made: Made) -> None:
    """With the chunks, shards and codec of our own store."""
    root = zarr.open_group(like, mode="r")
    ((_, stream),) = root[root.attrs["current"]]["streams"].groups()
    ours = stream["features"]
    data = zarr.create_array(
        path, shape=ours.shape, dtype=ours.dtype, chunks=ours.chunks, shards=ours.shards, compressors=ours.compressors
    )
    data[:] = made.features


def seconds(action: Callable[[], object]) -> list[float]:
    times = []
    for _ in range(REPETITIONS):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return times


def in_turn(one: Callable[[], object], other: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Two actions by turns, each first every other time, so that neither profits from what the other left behind."""
    times: tuple[list[float], list[float]] = ([], [])
    for repetition in range(REPETITIONS):
        for which in (0, 1) if repetition % 2 else (1, 0):
            times[which].extend(once((one, other)[which]))
    return times


def once(action: Callable[[], object]) -> list[float]:
    begin = time.perf_counter()
    action()
    return [time.perf_counter() - begin]


def on_disk(path: Path) -> tuple[float, int]:
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    return sum(p.stat().st_size for p in files) / 1e6, len(files)


def measure(folder: Path, num_videos: int, append: bool) -> dict[str, dict[str, object]]:
    made = Made(num_videos)
    rows = {}
    for kind, compression in ((".h5", "default"), (".zarr", "default"), (".zarr", "none")):
        name = f"longtake {kind}" + (", no compression" if compression == "none" else "")
        place = folder / f"{kind}-{compression}"
        place.mkdir()
        rows[name] = measure_ours(place, kind, compression, made, append)
        shutil.rmtree(place)
    rows["folder of .npy"] = measure_npy(folder / "npy", made)
    shutil.rmtree(folder / "npy")
    rows["HDF5, a dataset per video"] = measure_per_video(folder / "each.h5", made)
    return rows


def measure_ours(folder: Path, kind: str, compression: str, made: Made, append: bool) -> dict[str, object]:
    path, flat = folder / f"store{kind}", folder / f"flat{kind}"
    wanted = made.ids[len(made.ids) // 2]
    row: dict[str, object] = {"write": once(lambda: write_ours(path, made, Storage(compression=compression)))}
    if kind == ".h5":
        write_flat_hdf5(flat, made)
    else:
        write_flat_zarr(flat, path, made)
    row["open and read one"] = seconds(lambda: read_one_of_ours(path, wanted))
    row["read all"], row["flat array"] = in_turn(lambda: read_all_of_ours(path), lambda: read_flat(flat))
    row["checked"], row["unchecked"] = in_turn(lambda: read_all_of_ours(path), lambda: read_all_unchecked(path))
    row["MB"], row["files"] = on_disk(path)
    if append:
        numbers = iter(range(REPETITIONS))
        row["append one"] = seconds(lambda: append_to_ours(path, made, next(numbers)))
        other = folder / f"other{kind}"
        write_ours(other, Made(len(made.ids) // 10, first=len(made.ids)))
        row["merge with a tenth"] = once(lambda: merge([path, other], folder / f"merged{kind}"))
    return row


def measure_npy(folder: Path, made: Made) -> dict[str, object]:
    row: dict[str, object] = {"write": once(lambda: write_npy(folder, made))}
    wanted = folder / f"{made.ids[len(made.ids) // 2]}.npy"
    row["open and read one"] = seconds(lambda: np.load(wanted))
    row["read all"] = seconds(lambda: np.concatenate([np.load(folder / f"{name}.npy") for name in made.ids]))
    row["MB"], row["files"] = on_disk(folder)
    row["append one"] = seconds(lambda: np.save(folder / "new.npy", made.features[:8]))
    return row


def measure_per_video(path: Path, made: Made) -> dict[str, object]:
    row: dict[str, object] = {"write": once(lambda: write_per_video(path, made))}
    row["open and read one"] = seconds(lambda: read_hdf5(path, made.ids[len(made.ids) // 2]))
    row["read all"] = seconds(lambda: read_per_video(path))
    row["MB"], row["files"] = on_disk(path)
    return row


def table(rows: dict[str, dict[str, object]]) -> str:
    lines = []
    for name, row in rows.items():
        cells = [name]
        for column in ("write", "open and read one", "read all", "append one", "merge with a tenth"):
            times = row.get(column)
            if not times:
                cells.append("")
                continue
            spread = f" ({min(times):.4f}-{max(times):.4f})" if len(times) > 1 else ""
            cells.append(f"{statistics.median(times):.4f}{spread}")
        checked = [a / b - 1 for a, b in zip(row.get("checked", ()), row.get("unchecked", ()))]
        cells.append(f"{statistics.median(checked):+.0%}" if checked else "")
        flat = row.get("flat array")
        ratios = [f / r for r, f in zip(row["read all"], flat)] if flat else []
        cells.append(f"{statistics.median(ratios):.2f}" if ratios else "")
        cells += [f"{row['MB']:.1f}", row["files"]]
        lines.append(cells)
    headers = [
        "layout",
        "write s",
        "open, read one s",
        "read all s",
        "append one s",
        "merge s",
        "checksums of read all",
        "speed / flat",
        "MB",
        "files",
    ]
    return tabulate(lines, headers, tablefmt="github", disable_numparse=True)


@click.command()
@click.option("--videos", "sizes", type=int, multiple=True, default=(500, 100_000), show_default=True)
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where to write.  [default: the system's temporary folder]"
)
@click.option("--append/--no-append", default=True, show_default=True, help="Also time appending and merging.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Also write all times into this file.")
def main(sizes: tuple[int, ...], folder: Path | None, append: bool, out: Path | None) -> None:
    """Time writing, opening, reading, appending and merging, for each number of videos."""
    results = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            results[size] = measure(Path(place), size, append)
        click.echo(f"\n{size} videos of 6 to 10 clips x {DIM} float32\n{table(results[size])}")
    if len(sizes) > 1:
        click.echo(f"\nOpening and reading one video at {max(sizes)} over {min(sizes)} videos:")
        for name in results[sizes[0]]:
            few, many = (
                statistics.median(results[size][name]["open and read one"]) for size in (min(sizes), max(sizes))
            )
            click.echo(f"  {name}: {many / few:.2f}")
    if out:
        machine = f"{platform.machine()}, {platform.system()}, h5py {h5py.__version__}, zarr {zarr.__version__}"
        out.write_text(json.dumps({"machine": machine, "results": results}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
