"""Connecting to dask schedulers and batch systems."""

import pytest

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
    monkeypatch.setattr(schedulers.os, "cpu_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    schedulers._local(asked, device)
    workers = [worker["options"] for worker in made["workers"].values()]
    assert [worker["env"].get("CUDA_VISIBLE_DEVICES") for worker in workers] == expected
    on_gpu = device.startswith("cuda")
    assert all(worker.get("resources") == ({schedulers.GPU: 1} if on_gpu else None) for worker in workers)
    assert all(worker["nthreads"] == 1 for worker in workers)


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
