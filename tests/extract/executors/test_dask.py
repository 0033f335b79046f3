"""A run on dask workers gives what one process gives, even when workers die."""

import contextlib
import errno
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from distributed import KilledWorker, LocalCluster, get_worker
from distributed.comm import CommClosedError

from longtake.extract import find_videos
from longtake.extract.errors import ExtractError
from longtake.extract.executors import dask as cluster
from longtake.extract.executors import pace
from longtake.extract.executors.dask import longest_first
from longtake.extract.executors.pace import Pace
from longtake.extract.executors.request import Request
from longtake.extract.plan.options import RunOptions
from longtake.extract.plan.plan import make_plan
from longtake.features.store import open_store
from longtake.features.types import FAILED, OK
from longtake.manifests.table import read_manifest
from tests.extract import fake_backbone
from tests.extract.runs import equal_stores, extract, make_dataset, start, wait_for_parts


@pytest.mark.parametrize("in_task", [1, 3])
def test_a_cluster_gives_the_bits_of_one_process(tmp_path, numbers_backbone, monkeypatch, in_task):
    """The workers are threads of this process, reached by their scheduler's address. Several videos may share a task."""
    monkeypatch.setattr(Pace, "num_videos", lambda self, num_waiting: in_task)
    monkeypatch.setattr(pace, "LEAST_AHEAD", 2)
    monkeypatch.setattr(pace, "TASKS_AHEAD", 0)
    make_dataset(tmp_path, [10, 3, 41, 4, 17])
    extract(tmp_path, out="alone.h5")
    with LocalCluster(n_workers=2, processes=False, dashboard_address=None) as scheduler:
        extract(tmp_path, "--cluster", scheduler.scheduler_address)
    assert equal_stores(tmp_path / "alone.h5", tmp_path / "small.h5")


def test_a_corrected_path_whose_file_is_missing_is_a_failure_on_a_cluster_too(tmp_path, numbers_backbone):
    """The other videos, which are done, show a worker that the folder is the right one."""
    manifest = make_dataset(tmp_path, [10, 3])
    extract(tmp_path)
    text = manifest.read_text().replace("video_id,", "video_id,path,").replace("v0,", "v0,gone.mp4,")
    manifest.write_text(text.replace("v1,", "v1,v1.mp4,"))
    shutil.copy(tmp_path / "small.h5", tmp_path / "alone.h5")
    extract(tmp_path, out="alone.h5", status=1)
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as scheduler:
        extract(tmp_path, "--cluster", scheduler.scheduler_address, status=1)
    assert equal_stores(tmp_path / "alone.h5", tmp_path / "small.h5")
    with open_store(tmp_path / "small.h5") as store:
        assert store.stream().videos.statuses == (FAILED, OK)


def test_the_longest_video_goes_first(tmp_path, numbers_backbone, monkeypatch):
    manifest = make_dataset(tmp_path, [10, 3, 41, 4, 17])
    for number, size in enumerate((10, 3, 41, 0, 17)):
        (tmp_path / "videos" / f"v{number}.mp4").write_bytes(b"n" * size)
    (tmp_path / "videos" / "v3.mp4").unlink()
    text = manifest.read_text().replace("video_id,split", "video_id,end_seconds,split").replace("v2,", "v2,8,")
    for name in ("v0", "v1", "v3", "v4"):
        text = text.replace(f"{name},", f"{name},,")
    manifest.write_text(text)
    monkeypatch.setattr(find_videos, "BYTES_PER_SECOND", 1)
    options = RunOptions(backbones=(fake_backbone.NAME,), weights=("random",))
    plan = make_plan(read_manifest(manifest), tmp_path / "videos", tmp_path / "s.h5", options)
    # v2 is the largest file, but its routine lasts 8 s.
    assert [job.row.video_id for job in longest_first(plan)] == ["v4", "v0", "v2", "v1"]
    assert [one.video_id for one in plan.missing] == ["v3"]


def test_a_worker_that_would_make_other_features(tmp_path, numbers_backbone, monkeypatch):
    monkeypatch.setattr(cluster, "_plans", {})
    manifest = read_manifest(make_dataset(tmp_path, [10]))
    options = RunOptions(backbones=(fake_backbone.NAME,), weights=("random",))
    plan = make_plan(manifest, tmp_path / "videos", tmp_path / "s.h5", options)
    ours = tuple(header.recipe_id for header in plan.headers)
    request = Request("run", manifest, tmp_path / "videos", tmp_path / "s.h5", options, ("0" * 16,))
    with pytest.raises(ExtractError, match=f"would make features of recipe {ours[0]}, not {'0' * 16}: its weights"):
        cluster.extract_task(request.packed(), [(manifest.rows[0], ours)])
    assert not cluster._plans and not list(tmp_path.glob("s.h5*"))
    done = cluster.extract_task(replace(request, recipe_ids=ours).packed(), [(manifest.rows[0], ours)])
    assert [video.num_clips for video in done.videos] == [3] and done.cannot_store is None


class Ended:
    """A future that has ended."""

    def __init__(self, status):
        self.status = status


def test_results_of_ended_tasks_are_asked_for_at_once():
    good, bad, also = Ended("finished"), Ended("error"), Ended("finished")
    asked = []

    class Connection:
        def gather(self, futures):
            asked.append(futures)
            return [f"result {len(asked)}.{number}" for number, _ in enumerate(futures)]

    class Running:
        def batches(self):
            return [[good, bad, also], [good]]

    found = list(cluster._completed(Connection(), Running()))
    assert found == [(good, "result 1.0"), (bad, None), (also, "result 1.1"), (good, "result 2.0")]
    assert asked == [[good, also], [good]]

    def lost(futures):
        raise KilledWorker("video-1", None, 0)

    Connection.gather = staticmethod(lost)
    assert [result for _, result in cluster._completed(Connection(), Running())] == [None] * 4


def test_a_scheduler_that_does_not_answer_any_more():
    """Dask raises an `OSError`; it is a lost connection, and no fault of a disk."""

    def silent(*_, **__):
        raise OSError("Timed out trying to connect to tcp://127.0.0.1:1")

    client = SimpleNamespace(gather=silent, scheduler_info=silent)
    with pytest.raises(CommClosedError, match="Timed out"):
        list(cluster._completed(client, SimpleNamespace(batches=lambda: [[Ended("finished")]])))
    with pytest.raises(CommClosedError, match="Timed out"):
        cluster._workers(client)


def test_weights_are_found_from_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.pt", "b=c.pt"):
        Path(name).touch()
    given = ("a.pt", "b=c.pt", "vst=a.pt", "random:3", "vst_kinetics600", "i3d=random")
    expected = (f"{tmp_path}/a.pt", f"{tmp_path}/b=c.pt", f"vst={tmp_path}/a.pt", *given[3:])
    assert tuple(map(cluster._absolute, given)) == expected


def test_a_worker_without_disk_space_takes_no_more_videos(tmp_path, numbers_backbone, monkeypatch):
    """Its videos go to the other; when no worker can store, the run says so and keeps what it has."""
    make_dataset(tmp_path, [10, 3, 41, 4, 17, 5, 6, 7, 8, 9, 4, 5])
    extract(tmp_path, out="alone.h5")
    full, asked = set(), []

    def run_or_fail(parts, plan, run=cluster.run_jobs_into):
        address = get_worker().address
        asked.append(address)
        if address in full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return run(parts, plan)

    monkeypatch.setattr(cluster, "run_jobs_into", run_or_fail)
    with LocalCluster(n_workers=2, processes=False, dashboard_address=None) as scheduler:
        full.add(next(iter(scheduler.scheduler_info["workers"])))
        extract(tmp_path, "--cluster", scheduler.scheduler_address)
        assert full & set(asked) and not full & set(scheduler.scheduler_info["workers"])
    assert equal_stores(tmp_path / "alone.h5", tmp_path / "small.h5")
    make_dataset(tmp_path, [10, 3, 41, 4, 17, 5, 6, 7, 8, 9, 4, 5, 6])
    with LocalCluster(n_workers=2, processes=False, dashboard_address=None) as scheduler:
        full.update(scheduler.scheduler_info["workers"])
        done = extract(tmp_path, "--cluster", scheduler.scheduler_address, status=2)
    assert "no worker is left that can store" in done.output and "No space left" in done.output
    with open_store(tmp_path / "small.h5") as store:
        assert [record.status for record in store.stream().records] == [OK] * 12


def test_a_worker_that_uses_most_of_its_memory_takes_the_next_video(tmp_path, numbers_backbone, monkeypatch):
    """Dask would pause it until its networks are gone, and the run would wait for ever."""
    make_dataset(tmp_path, [10, 3])
    statuses = []

    def run_in_most(parts, plan, run=cluster.run_jobs_into):
        worker = get_worker()
        worker.monitor.get_process_memory = lambda: int(0.9 * worker.memory_manager.memory_limit)
        time.sleep(3 * worker.memory_manager.memory_monitor_interval)
        statuses.append(worker.status.name)
        return run(parts, plan)

    monkeypatch.setattr(cluster, "run_jobs_into", run_in_most)
    with LocalCluster(n_workers=1, processes=False, memory_limit="8GB", dashboard_address=None) as scheduler:
        extract(tmp_path, "--cluster", scheduler.scheduler_address)
    assert set(statuses) == {"running"}


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
    shutil.copy(tmp_path / "videos" / "v0.mp4", tmp_path / "videos" / "deadly.mp4")
    run = start(tmp_path, "small.h5", 0.2, "--cluster", "local", "--workers", "2")
    wait_for_parts(run, tmp_path / "small.h5.parts", 2)
    assert kill_a_worker(run.pid)
    output, errors = run.communicate(timeout=180)
    assert run.returncode == 1, errors
    assert "Traceback" not in errors
    with open_store(tmp_path / "small.h5") as store:
        records = store.stream().records
    status = {record.video_id: (record.status, record.error_stage) for record in records}
    (deadly,) = [record for record in records if record.video_id == "deadly"]
    assert "died, 3 times" in deadly.error_message
    assert status == {"deadly": (FAILED, "crash"), **{f"v{number}": (OK, "") for number in range(10)}}
