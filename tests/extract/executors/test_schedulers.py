"""Connecting to dask schedulers and batch systems."""

import os
import subprocess
import sys
import textwrap
import time

import pytest
from distributed import LocalCluster, get_worker

from longtake.extract.executors import schedulers
from tests.extract.runs import ROOT, equal_stores, extract, make_dataset


@pytest.mark.parametrize(
    "device, visible, asked, expected",
    [
        ("cuda", None, None, ["0", "1"]),
        ("cuda", "3,5", None, ["3", "5"]),
        ("cuda", None, 3, ["0", "1", "0"]),
        ("cuda:1", None, None, ["1"]),
        ("cuda:1", "3,5", 2, ["5", "5"]),
        ("cpu", None, 3, [None] * 3),
    ],
)
def test_each_worker_has_a_gpu(monkeypatch, device, visible, asked, expected):
    made = {}
    monkeypatch.setattr("distributed.SpecCluster", lambda **options: made.update(options))
    monkeypatch.setattr(schedulers, "gpu_count", lambda: 2)
    monkeypatch.setattr(schedulers, "processors", lambda: [0, 1, 2, 3])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    schedulers._local(asked, device)
    workers = [worker["options"] for worker in made["workers"].values()]
    assert [worker["env"].get("CUDA_VISIBLE_DEVICES") for worker in workers] == expected
    on_gpu = device.startswith("cuda")
    assert all(worker.get("resources") == ({schedulers.GPU: 1} if on_gpu else None) for worker in workers)
    assert all(worker["nthreads"] == 1 for worker in workers)
    assert all(worker["memory_limit"] is None for worker in workers)


def test_a_script_without_a_guard_starts_no_workers(tmp_path):
    """Each worker would run it from its first line."""
    make_dataset(tmp_path, [4])
    script = tmp_path / "script.py"
    script.write_text(
        "from longtake.extract.executors import schedulers\n"
        "with schedulers.executor('local', 1, None, print) as pool:\n    print(pool.submit(pow, 2, 5).result())\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert "__main__" in done.stderr and "ExtractError" in done.stderr and done.stdout == ""
    script.write_text("if __name__ == '__main__':\n" + textwrap.indent(script.read_text(), "    "))
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.stdout.split()[-1:] == ["32"], done.stderr


def test_workers_that_do_not_start(tmp_path, numbers_backbone, monkeypatch):
    def refuse(**_):
        raise RuntimeError("Nanny failed to start.") from OSError(28, "No space left on device")

    monkeypatch.setattr("distributed.SpecCluster", refuse)
    make_dataset(tmp_path, [4])
    done = extract(tmp_path, "--cluster", "local", status=2)
    assert "its workers do not start: [Errno 28] No space left" in done.output and done.output.count("error:") == 1


def test_a_scheduler_without_workers_is_named():
    notes = []
    with LocalCluster(n_workers=0, processes=False, dashboard_address=None) as scheduler:
        address = scheduler.scheduler_address
        with schedulers.connected(address, None, None, notes.append):
            assert f"no worker is at {address} yet" in notes[-1]
        scheduler.scale(1)
        scheduler.wait_for_workers(1)
        del notes[:]
        with schedulers.connected(address, None, None, notes.append):
            assert not any("no worker" in line for line in notes)


def test_workers_that_are_all_gone_are_named(monkeypatch):
    monkeypatch.setattr(schedulers, "WATCH_SECONDS", 0.05)
    notes = []
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as scheduler:
        with schedulers.connected(scheduler.scheduler_address, None, None, notes.append) as client:
            time.sleep(0.5)
            assert not any("no worker" in line for line in notes)
            client.retire_workers()
            deadline = time.monotonic() + 30
            while not any("no worker is left" in line for line in notes):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            time.sleep(0.5)
            assert sum("no worker is left" in line for line in notes) == 1


def test_cells_on_a_worker_that_uses_most_of_its_memory():
    with LocalCluster(n_workers=1, processes=False, memory_limit="8GB", dashboard_address=None) as scheduler:
        with schedulers.executor(scheduler.scheduler_address, None, None, print) as pool:
            assert pool.submit(status_in_most_memory).result() == "running"


def status_in_most_memory():
    worker = get_worker()
    worker.monitor.get_process_memory = lambda: int(0.9 * worker.memory_manager.memory_limit)
    time.sleep(3 * worker.memory_manager.memory_monitor_interval)
    return worker.status.name


def test_a_scheduler_that_is_not_there(tmp_path, numbers_backbone, monkeypatch):
    monkeypatch.setattr("longtake.extract.executors.schedulers.CONNECT_SECONDS", 1)
    make_dataset(tmp_path, [4])
    done = extract(tmp_path, "--cluster", "tcp://127.0.0.1:9", status=2)
    assert "dask scheduler" in done.output
    done = extract(tmp_path, "--cluster", "nonsense", status=2)
    assert done.output.count("error:") == 1


def test_what_no_cluster_is(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [4])
    assert "did you mean slurm?" in extract(tmp_path, "--cluster", "slrum", status=2).output
    options = tmp_path / "site.toml"
    call = ("--cluster", "local", "--cluster-options", str(options))
    assert "is for slurm, pbs" in extract(tmp_path, *call, status=2).output


@pytest.fixture
def jobs_here(monkeypatch):
    """dask-jobqueue with a batch system that starts its jobs as processes of this machine."""
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setattr(schedulers, "BATCH_SYSTEMS", {"slurm": "dask_jobqueue.local:LocalCluster"})


def test_a_batch_system(tmp_path, numbers_backbone, jobs_here, monkeypatch):
    make_dataset(tmp_path, [10, 3, 41])
    extract(tmp_path, out="alone.h5")
    options = tmp_path / "site.toml"
    (tmp_path / "preload.py").write_text("from tests.extract import fake_backbone\nfake_backbone.install()\n")
    options.write_text(
        f"cores = 1\nmemory = '8GB'\nworker_extra_args = ['--preload', '{tmp_path}/preload.py', '--no-dashboard']\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = extract(tmp_path, "--cluster", "slurm", "--cluster-options", str(options), "--workers", "2", "--verbose")
    assert "the job of one worker" in done.stderr and "--preload" in done.stderr
    assert equal_stores(tmp_path / "alone.h5", tmp_path / "small.h5")


@pytest.mark.parametrize(
    "text, words",
    [
        ("cores = 1", "memory"),
        ("cores = 1\nmemory = '1GB'\nqeue = 'gpu'", "qeue"),
        ("cores =", "cannot read --cluster-options"),
    ],
)
def test_options_of_a_site_that_are_wrong(tmp_path, numbers_backbone, jobs_here, text, words):
    make_dataset(tmp_path, [4])
    (tmp_path / "site.toml").write_text(text)
    call = ("--cluster", "slurm", "--cluster-options", str(tmp_path / "site.toml"))
    done = extract(tmp_path, *call, status=2)
    assert words in done.output and done.output.count("error:") == 1
