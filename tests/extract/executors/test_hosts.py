"""A scheduler and workers as processes of their own, some of them on hosts of their own: network namespaces, joined by a bridge.

What ends here: a worker (kill -9), the cable of a host, the scheduler. Everything is stored once, by the others or by the next run.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from longtake.features.store import open_store
from longtake.features.tools.inspect import diff
from longtake.features.types import OK
from tests.extract.runs import make_dataset, start, wait_for_parts

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]
PORT = 18786
NET = "10.77.0"
# A host that falls silent is given up after seconds, not minutes.
PATIENCE = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "30s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "15s",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "20s",
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "3",
}


class Lab:
    """Processes and hosts that end with the test."""

    def __init__(self, folder):
        self.folder, self.processes, self.hosts = folder, [], []
        self.log = (folder / "dask.log").open("w")
        (folder / "preload.py").write_text("from tests.extract import fake_backbone\nfake_backbone.install(0.15)\n")

    def dask(self, *arguments, host=None):
        inside = ["ip", "netns", "exec", host] if host else []
        environment = {**os.environ, **PATIENCE, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [*inside, sys.executable, "-m", "dask", *arguments, "--no-dashboard"],
            env=environment, cwd=self.folder, stdout=self.log, stderr=self.log, start_new_session=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def scheduler(self, address):
        return self.dask("scheduler", "--host", address, "--port", str(PORT))

    def worker(self, address, host=None):
        preload = str(self.folder / "preload.py")
        return self.dask("worker", f"tcp://{address}:{PORT}", "--nthreads", "1", "--preload", preload, host=host)

    def bridge(self, hosts):
        def ip(*words):
            subprocess.run(["ip", *words], check=True, capture_output=True)

        try:
            ip("link", "add", "lt0", "type", "bridge")
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no right to make network namespaces here")
        self.hosts.append(None)
        ip("addr", "add", f"{NET}.1/24", "dev", "lt0")
        ip("link", "set", "lt0", "up")
        for number, name in enumerate(hosts, 2):
            ip("netns", "add", name)
            self.hosts.append(name)
            ip("link", "add", f"v{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"v{name}", "master", "lt0", "up")
            ip("-n", name, "addr", "add", f"{NET}.{number}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")

    def end(self):
        for process in self.processes:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            process.wait()
        for name in self.hosts:
            subprocess.run(["ip", "netns", "del", name] if name else ["ip", "link", "del", "lt0"], capture_output=True)


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path)
    yield lab
    lab.end()


def all_once(folder, num_videos):
    with open_store(folder / "small.h5") as store:
        records = store.stream().records
        assert [record.video_id for record in records] == [f"v{number}" for number in range(num_videos)]
        assert {record.status for record in records} == {OK}


def test_a_worker_and_then_a_host_are_lost(tmp_path, lab):
    if not shutil.which("ip"):
        pytest.skip("no `ip` here")
    lab.bridge(["ltone", "lttwo"])
    make_dataset(tmp_path, [30] * 24)
    lab.scheduler(f"{NET}.1")
    one = lab.worker(f"{NET}.1", host="ltone")
    for _ in range(2):
        lab.worker(f"{NET}.1", host="lttwo")
    lab.worker(f"{NET}.1", host="ltone")
    run = start(tmp_path, "small.h5", 0.15, "--cluster", f"tcp://{NET}.1:{PORT}")
    wait_for_parts(run, tmp_path / "small.h5.parts", 3)
    os.killpg(one.pid, signal.SIGKILL)
    wait_for_parts(run, tmp_path / "small.h5.parts", 8)
    subprocess.run(["ip", "link", "set", "vlttwo", "down"], check=True)
    _, errors = run.communicate(timeout=400)
    assert run.returncode == 0, errors
    assert "Traceback" not in errors
    all_once(tmp_path, 24)
    start(tmp_path, "alone.h5", 0.0).communicate(timeout=300)
    with open_store(tmp_path / "small.h5") as ours, open_store(tmp_path / "alone.h5") as theirs:
        assert not diff(ours, theirs)


def test_a_scheduler_that_dies_and_the_next_run(tmp_path, lab):
    make_dataset(tmp_path, [30] * 16)
    scheduler = lab.scheduler("127.0.0.1")
    lab.worker("127.0.0.1")
    call = ("--cluster", f"tcp://127.0.0.1:{PORT}")
    run = start(tmp_path, "small.h5", 0.15, *call)
    wait_for_parts(run, tmp_path / "small.h5.parts", 3)
    os.killpg(scheduler.pid, signal.SIGKILL)
    _, errors = run.communicate(timeout=400)
    assert run.returncode == 2 and "run the same command again" in errors, errors
    assert "Traceback" not in errors
    time.sleep(1)
    lab.scheduler("127.0.0.1")
    lab.worker("127.0.0.1")
    again = start(tmp_path, "small.h5", 0.15, *call)
    _, errors = again.communicate(timeout=400)
    assert again.returncode == 0, errors
    all_once(tmp_path, 16)
    assert 3 <= json.loads(errors.splitlines()[1])["done_before"] < 16
