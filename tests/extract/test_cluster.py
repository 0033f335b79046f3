"""Runs on dask workers give what one process gives, whatever happens to the workers."""

import contextlib

import psutil
import pytest
from distributed import LocalCluster

from extract.cluster import longest_first
from extract.run import RunOptions, make_plan
from features.inspect import diff
from features.store import open_store
from features.types import FAILED, OK
from manifests.table import read_manifest
from tests.extract import fake_backbone
from tests.extract.test_pipeline import extract, make_dataset, start, wait_for_parts


def equal(one, other):
    with open_store(one) as ours, open_store(other) as theirs:
        return not diff(ours, theirs)


def test_a_cluster_gives_the_bits_of_one_process(tmp_path, numbers_backbone):
    """The workers are threads of this process, reached by their scheduler's address."""
    make_dataset(tmp_path, [10, 3, 41, 4, 17])
    extract(tmp_path, out="alone.h5")
    with LocalCluster(n_workers=2, processes=False, dashboard_address=None) as cluster:
        extract(tmp_path, "--cluster", cluster.scheduler_address)
    assert equal(tmp_path / "alone.h5", tmp_path / "small.h5")


def test_the_longest_video_goes_first(tmp_path, numbers_backbone):
    manifest = make_dataset(tmp_path, [10, 3, 41, 4, 17])
    (tmp_path / "videos" / "v3.mp4").write_bytes(b"no video")
    text = manifest.read_text().replace("video_id,split", "video_id,end_seconds,split").replace("v2,", "v2,0.2,")
    for name in ("v0", "v1", "v3", "v4"):
        text = text.replace(f"{name},", f"{name},,")
    manifest.write_text(text)
    options = RunOptions(backbones=(fake_backbone.NAME,), weights=("random",))
    plan = make_plan(read_manifest(manifest), tmp_path / "videos", tmp_path / "s.h5", options)
    # v2 is the longest file, but its routine lasts 0.2 s.
    assert [job.row.video_id for job in longest_first(plan)] == ["v4", "v0", "v2", "v1", "v3"]


def test_a_scheduler_that_is_not_there(tmp_path, numbers_backbone, monkeypatch):
    monkeypatch.setattr("extract.cluster.CONNECT_SECONDS", 1)
    make_dataset(tmp_path, [4])
    done = extract(tmp_path, "--cluster", "tcp://127.0.0.1:9", status=2)
    assert "dask scheduler" in done.output
    done = extract(tmp_path, "--cluster", "nonsense", status=2)
    assert done.output.count("error:") == 1


def kill_a_worker(pid):
    """Whether one of the worker processes under `pid` was killed: they come and go, so one found may be gone already."""
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "spawn_main" in "".join(child.cmdline()):
                child.kill()
                return True
    return False


@pytest.mark.slow
def test_worker_processes_that_die(tmp_path):
    """One is killed from outside, and one video kills every worker that takes it up: it alone is a failure row."""
    manifest = make_dataset(tmp_path, [30] * 10)
    manifest.write_text(manifest.read_text() + "deadly,train,A,1\n")
    run = start(tmp_path, "small.h5", 0.2, "--cluster", "local", "--workers", "2")
    wait_for_parts(run, tmp_path / "small.h5.parts", 2)
    assert kill_a_worker(run.pid)
    output, errors = run.communicate(timeout=180)
    assert run.returncode == 1, errors
    assert "Traceback" not in errors
    with open_store(tmp_path / "small.h5") as store:
        status = {record.video_id: (record.status, record.error_stage) for record in store.stream().records}
    assert status == {"deadly": (FAILED, "crash"), **{f"v{number}": (OK, "") for number in range(10)}}
