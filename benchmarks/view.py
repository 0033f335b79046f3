"""How long `train view` takes for a large lab: python benchmarks/view.py [--stores 1000] [--videos 100] [--rounds 3] [--json FILE]

SIMULATED stores of two streams, one of which some videos lack. Each round starts the server as from a shell, asks for what the first page needs, then for all
videos, and, where Playwright and Chromium are installed, opens the page of videos and searches it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from measured import Machine, Ratio, Result, Row, Table

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import write_store
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord

FIRST_SECONDS, AGAIN_SECONDS, MEMORY_MB, SEARCH_SECONDS = 120, 20, 1000, 1.0
CODE = "import sys; from longtake.train.cli import main; main(prog_name='train')"


def write_stores(folder: Path, num_stores: int, num_videos: int) -> None:
    header = [FeatureHeader(name, "video", 4, "simulated", None, False, 16, 16, "pad", 25.0) for name in ("vst", "ast")]
    times = np.arange(2.0)
    features = np.ones((2, 4), np.float32)
    for store in range(num_stores):
        names = tuple(f"routine_{store:04}_{number:03}" for number in range(num_videos))

        def item(name: str) -> StreamItem:
            record = VideoRecord(name, source_name=f"{name}.mp4", duration_seconds=95.4, fps=25.0)
            return StreamItem(record, 2, lambda: VideoFeatures(record, features, times, times + 1))

        splits = tuple("test" if number % 4 == 0 else "train" for number in range(num_videos))
        categories = tuple(("Ball", "Clubs", "Hoop", "Ribbon")[number % 4] for number in range(num_videos))
        scores = np.random.default_rng(store).uniform(5, 25, (num_videos, 1))
        plans = [
            StreamPlan(head, np.dtype(np.float32), [item(name) for name in names[place :: 1 + place]])
            for place, head in enumerate(header)
        ]
        path = folder / f"group{store // 50:02}" / f"store{store:04}.h5"
        write_store(path, dataset=f"set{store % 20}", card=None, labels=Labels(names, splits, categories, ("total",), scores), streams=plans)  # fmt: skip


@dataclass
class Round:
    seconds: dict[str, float] = field(default_factory=dict)
    megabytes: dict[str, float] = field(default_factory=dict)


def get(url: str, path: str) -> bytes:
    with urllib.request.urlopen(url + path, timeout=600) as answer:
        return answer.read()


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    call = [sys.executable, "-c", CODE, "view", str(folder), "--port", "0", "--json", "-q"]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        text = ""
        while not text.endswith("\n}\n"):
            line = process.stdout.readline()
            if not line:
                raise SystemExit("the server has ended")
            text += line
        yield json.loads(text)["url"], process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


FIRST = ("", "app.css", "app.js", "data/index.js", "data/stores.js")
"""What the first page loads."""


def one_round(folder: Path) -> Round:
    found = Round()
    shutil.rmtree(os.environ["LONGTAKE_CACHE"], ignore_errors=True)
    began = time.perf_counter()
    with server(folder) as (url, process):
        for path in FIRST:
            get(url, path)
        found.seconds["first page, from the command; no store was read before"] = time.perf_counter() - began
        found.megabytes["server's memory, most; no store was read before"] = most_memory(process)
    began = time.perf_counter()
    with server(folder) as (url, process):
        first = [get(url, path) for path in FIRST]
        found.seconds["first page, from the command; stores as before"] = time.perf_counter() - began
        began = time.perf_counter()
        first = [get(url, path) for path in FIRST]
        found.seconds["first page again"] = time.perf_counter() - began
        found.megabytes["sent for the first page"] = sum(map(len, first)) / 1e6
        blocks = json.loads(json.loads(first[3].decode().partition(", ")[2][:-3]))["blocks"]
        began = time.perf_counter()
        videos = [get(url, f"data/videos-{number}.js") for number in range(blocks)]
        found.seconds["all videos"] = time.perf_counter() - began
        found.megabytes["sent for all videos"] = sum(map(len, videos)) / 1e6
        found.megabytes["server's memory, most; stores as before"] = most_memory(process)
        in_browser(url, found)
    return found


def most_memory(process: subprocess.Popen[str]) -> float:
    """Resident, in MB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def in_browser(url: str, found: Round) -> None:
    """What a person waits for; nothing without Playwright and Chromium."""
    path = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return
    if path is None:
        return
    with sync_playwright() as api:
        browser = api.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        for name, address in (("stores", "#/stores"), ("videos", "#/videos")):
            began = time.perf_counter()
            page.goto(f"{url}{address}")
            page.wait_for_selector("tbody tr")
            found.seconds[f"browser: {name} shown"] = time.perf_counter() - began
            page.evaluate("document.querySelector('main').replaceChildren()")
        page.goto(f"{url}#/stores")
        page.wait_for_selector("h1:text('Stores')")
        page.goto(f"{url}#/videos")
        page.wait_for_selector("h1:text('Videos')")
        for name, code in (
            ("first search", "search.value = '0500_0'"),
            ("further search", "search.value = '0500_01'"),
        ):
            found.seconds[f"browser: {name}"] = page.evaluate(
                f"() => {{ const search = document.querySelector('input[type=search]'); {code}; const began = performance.now();"
                " search.dispatchEvent(new Event('input')); return (performance.now() - began) / 1000; }"
            )
        found.seconds["browser: sorted by score"] = page.evaluate(
            "() => { const search = document.querySelector('input[type=search]'); search.value = ''; search.dispatchEvent(new Event('input'));"
            " const began = performance.now(); [...document.querySelectorAll('thead button')].find((one) => one.textContent === 'Score').click();"
            " return (performance.now() - began) / 1000; }"
        )
        browser.close()


@click.command()
@click.option("--stores", "num_stores", default=1000, show_default=True)
@click.option("--videos", "num_videos", default=100, show_default=True, help="Of each store.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(num_stores: int, num_videos: int, rounds: int, json_path: Path | None) -> None:
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "lab"
        os.environ["LONGTAKE_CACHE"] = str(Path(name) / "cache")
        write_stores(folder, num_stores, num_videos)
        taken = [one_round(folder) for _ in range(rounds)]
    rows = [Row(name, "s", tuple(one.seconds[name] for one in taken)) for name in taken[0].seconds]
    rows += [Row(name, "MB", tuple(one.megabytes[name] for one in taken)) for name in taken[0].megabytes]
    by_name = {row.name: row for row in rows}
    bounds = [
        Ratio(f"{name}, seconds", by_name[name].values, at_most=limit)
        for name, limit in zip(list(taken[0].seconds), (FIRST_SECONDS, AGAIN_SECONDS))
    ]
    memory = tuple(max(value for name, value in one.megabytes.items() if "memory" in name) for one in taken)
    bounds.append(Ratio("server's memory, MB", memory, at_most=MEMORY_MB))
    if "browser: further search" in by_name:
        bounds.append(Ratio("browser: further search, seconds", by_name["browser: further search"].values, at_most=SEARCH_SECONDS))  # fmt: skip
    command = f"python benchmarks/view.py --stores {num_stores} --videos {num_videos} --rounds {rounds}"
    result = Result(
        "Commands", f"train view: {num_stores:,} stores, {num_stores * num_videos:,} videos", command, Machine.this(),
        (Table("", tuple(rows), tuple(bounds)),), simulated="The stores are SIMULATED, of two streams, in the disk's cache",
        notes=("What was read of a store is kept, and read again only where the store has changed. Pages load data in files of 4,000 videos.",),
    )  # fmt: skip
    result.tell(json_path)


if __name__ == "__main__":
    main()
