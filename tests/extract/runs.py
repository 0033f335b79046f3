"""Runs of `extract` in tests: a small dataset, a run in this process, and a run as a process that a test can kill."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result

from longtake.extract.cli import main
from longtake.extract.decode import get_decoder
from longtake.extract.pipeline.batcher import ExtractedVideo, run_jobs
from longtake.extract.pipeline.reader import Files
from longtake.extract.plan.options import RunOptions
from longtake.extract.plan.plan import Plan, make_plan
from longtake.features.found_parts import count_parts
from longtake.features.store import open_store
from longtake.features.tools.inspect import diff
from longtake.manifests.table import read_manifest
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


def run(*arguments: object, status: int = 0) -> str:
    """What any `extract` command prints; fails for another exit status."""
    return invoke(main, *arguments, status=status).output


def refused(*arguments: object) -> str:
    """The one error of a call that cannot be carried out."""
    output = run(*arguments, status=2)
    assert output.lower().count("error:") == 1
    return output


def equal_stores(one: Path, other: Path) -> bool:
    with open_store(one) as ours, open_store(other) as theirs:
        return not diff(ours, theirs)


def plan_of(folder: Path, lengths: list[int], **options: object) -> Plan:
    """The plan of a run on such a dataset."""
    manifest = read_manifest(make_dataset(folder, lengths))
    settings = RunOptions(backbones=(fake_backbone.NAME,), weights=("random",), **options)
    return make_plan(manifest, folder / "videos", folder / "small.h5", settings)


def extracted(plan: Plan) -> Iterator[ExtractedVideo]:
    """Its videos, decoded in this process, so that a test can replace the decoder."""
    return run_jobs(plan.jobs, Files(plan.videos_folder, plan.stems, get_decoder("pyav"), stall_seconds=0))


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


class ForkedRun:
    """`extract run` on that dataset as a process, with the interface of `subprocess.Popen`.

    It is forked from a process that has imported torch, so it starts in milliseconds where `start` takes seconds.
    """

    _context = multiprocessing.get_context("forkserver")

    def __init__(self, folder: Path, out: str, seconds_per_batch: float) -> None:
        self._files = [folder / f"{out}.{name}" for name in ("stdout", "stderr")]
        call = [
            "run",
            "--manifest",
            str(folder / "small.csv"),
            "--videos",
            str(folder / "videos"),
            "--weights",
            "random",
        ]
        call += ["--backbone", fake_backbone.NAME, "--out", str(folder / out), "--json"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(ROOT))
            patch.setenv("OMP_NUM_THREADS", "1")
            self._context.set_forkserver_preload(["torch", "longtake.extract.run", "tests.extract.fake_backbone"])
            self._process = self._context.Process(target=_run_forked, args=(call, seconds_per_batch, self._files))
            self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self._process.is_alive():
            os.kill(self._process.pid, number)

    def communicate(self, timeout: float) -> tuple[str, str]:
        self._process.join(timeout)
        assert not self._process.is_alive()
        output, errors = (file.read_text() if file.exists() else "" for file in self._files)
        return output, errors


def _run_forked(call: list[str], seconds_per_batch: float, files: list[Path]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor, file in zip((1, 2), files):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    fake_backbone.install(seconds_per_batch)
    main(call)


def wait_for_parts(run: subprocess.Popen[str] | ForkedRun, folder: Path, more: int) -> None:
    """Until the process has stored so many more videos, or has ended."""
    begin = count_parts(folder)
    deadline = time.monotonic() + 60
    while run.poll() is None and time.monotonic() < deadline:
        if count_parts(folder) >= begin + more:
            return
        time.sleep(0.01)
