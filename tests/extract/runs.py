"""Runs of `extract` in tests: a small dataset, a run in this process, and a run as a process that a test can kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from click.testing import Result

from longtake.extract.cli import main
from tests.calls import invoke
from tests.extract import fake_backbone
from tests.extract.media import write_video

ROOT = Path(__file__).resolve().parents[2]


def make_dataset(folder: Path, lengths: list[int]) -> Path:
    """Videos of so many frames and their table."""
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    lines = ["video_id,split,category,score_total"]
    for number, length in enumerate(lengths):
        write_video(folder / "videos" / f"v{number}.mp4", length)
        lines.append(f"v{number},{'test' if number % 3 == 0 else 'train'},A,{number}")
    manifest = folder / "small.csv"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


def extract(folder: Path, *arguments: str, out: str = "small.h5", status: int = 0) -> Result:
    """`extract run` on that dataset, in this process; fails for another exit status."""
    call = ["run", "--manifest", str(folder / "small.csv"), "--videos", str(folder / "videos"), "--weights", "random"]
    call += ["--backbone", fake_backbone.NAME, "--out", str(folder / out), *arguments]
    return invoke(main, *call, status=status)


def start(folder: Path, out: str, seconds_per_batch: float, *arguments: str) -> subprocess.Popen[str]:
    """`extract run` on that dataset as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.extract.fake_backbone", str(seconds_per_batch), "run", "--manifest",
         str(folder / "small.csv"), "--videos", str(folder / "videos"), "--weights", "random", "--backbone",
         fake_backbone.NAME, "--out", str(folder / out), "--json", *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        # A shell without job control lets its background children ignore Ctrl-C, and theirs too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def wait_for_parts(run: subprocess.Popen[str], folder: Path, more: int) -> None:
    """Until the process has written so many more parts, or has ended."""
    begin = len(list(folder.glob("v*.h5"))) if folder.exists() else 0
    deadline = time.monotonic() + 60
    while run.poll() is None and time.monotonic() < deadline:
        if folder.exists() and len(list(folder.glob("v*.h5"))) >= begin + more:
            return
        time.sleep(0.01)
