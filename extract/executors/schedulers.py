"""Connect to a dask scheduler: a local one, a running one, or one whose workers a batch system starts."""

from __future__ import annotations

import logging
import math
import os
import threading
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, TypeVar

from longtake.errors import there_are
from longtake.extract.errors import ExtractError
from longtake.files import require_regular
from longtake.packages import needs
from longtake.processes import EACH_STARTS_AGAIN, starts_again
from longtake.threads import processors

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"
BATCH_SYSTEMS = {
    "slurm": "dask_jobqueue:SLURMCluster",
    "pbs": "dask_jobqueue:PBSCluster",
    "sge": "dask_jobqueue:SGECluster",
    "lsf": "dask_jobqueue:LSFCluster",
    "oar": "dask_jobqueue:OARCluster",
    "htcondor": "dask_jobqueue:HTCondorCluster",
    "moab": "dask_jobqueue:MoabCluster",
}
"""Name -> class of dask-jobqueue; its parameters are the options of `--cluster-options`."""
CONNECT_SECONDS = 20
WATCH_SECONDS = 15.0
"""How often to ask whether there are workers."""
OURS = {"distributed.scheduler.allowed-failures": 0, "distributed.admin.low-level-log-length": 16}
"""Of schedulers that we start, and of our client. Dask keeps the last messages to each worker, 1,000 by default, with their tasks of some kilobytes, and uses them
for nothing."""
GPU = "GPU"
"""The resource that a worker offers once, `dask worker --resources GPU=1`, and that a task on a GPU needs."""

Note = Callable[[str], None]
Result = TypeVar("Result")


@contextmanager
def connected(
    cluster: str, num_workers: int | None, options: Path | None, note: Note, device: str = "cpu"
) -> Iterator[Client]:
    """A client of the scheduler that `--cluster` names; workers that it starts end with the context.

    `options` is a TOML file with parameters of the batch system's class: queue, account, cores, memory, walltime and so on.
    Raises `ExtractError` for a scheduler that does not answer, a package that is not installed, and wrong options.
    """
    with needs(lambda name: ExtractError(f"--cluster needs {name}: python -m pip install 'longtake[extract]'")):
        import dask
        from distributed import Client
    if options is not None and cluster not in BATCH_SYSTEMS:
        raise ExtractError(f"--cluster-options is for {', '.join(BATCH_SYSTEMS)}, not for --cluster {cluster}")
    if cluster == LOCAL or cluster in BATCH_SYSTEMS:
        # Dask counts a worker's death against every video that waited there. Our own schedulers report it at the first death:
        # each video is then tried alone, which shows the one that caused it.
        with dask.config.set(OURS):
            if cluster == LOCAL:
                made = _local(num_workers, device)
            else:
                made = _batch(cluster, num_workers or 1, options, device, note)
    elif "://" in cluster:
        made = cluster
    else:
        raise ExtractError(
            f"--cluster {cluster}: not an address tcp://HOST:PORT, and not the name of a cluster{there_are(cluster, [LOCAL, *BATCH_SYSTEMS])}"
        )
    try:
        with dask.config.set(OURS):
            client = Client(made, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise ExtractError(
            f"--cluster {cluster}: no dask scheduler answers there ({error}). Start one with `dask scheduler`, or use "
            f"--cluster local"
        ) from error
    try:
        # A batch system's workers come later.
        with _silenced(), client, dask.config.set(OURS):
            if client.dashboard_link and find_spec("bokeh"):
                note(f"dashboard of the workers: {client.dashboard_link}")
            if made is cluster and not client.scheduler_info()["workers"]:
                note(f"no worker is at {cluster} yet, so all waits until one starts: `dask worker {cluster}`")
            with _watched(client, cluster, note):
                yield client
    finally:
        if made is not cluster:
            try:
                made.close()
            except (TypeError, ValueError, OSError, RuntimeError) as error:
                # A batch system's tools can fail in many ways; what was extracted is stored by now.
                note(f"could not stop the workers, which may still be running: {error}")


@contextmanager
def _watched(client: Client, cluster: str, note: Note) -> Iterator[None]:
    """Say when no worker is left, such as at the end of the jobs' walltime: dask waits for new ones without a word."""
    ended = threading.Event()

    def watch() -> None:
        had_workers, times_without = False, 0
        while not ended.wait(WATCH_SECONDS):
            try:
                workers = client.scheduler_info()["workers"]
            except Exception:  # The connection is lost, or it ends; the caller reports that.
                return
            had_workers, times_without = had_workers or bool(workers), 0 if workers else times_without + 1
            # A worker that has just died may be started again.
            if had_workers and times_without == 2:
                note(
                    f"--cluster {cluster}: no worker is left, so all waits until one starts. If none will, stop this with Ctrl-C and run the same "
                    f"command again to resume"
                )

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join(CONNECT_SECONDS)


@contextmanager
def _silenced() -> Iterator[None]:
    """Dask logs tracebacks of lost connections, which it then also raises as errors."""
    # Each logger of dask has its own level.
    own = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    loggers = [logging.getLogger(name) for name in (*own, "tornado.application", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


@contextmanager
def executor(cluster: str, num_workers: int | None, options: Path | None, note: Note) -> Iterator[Executor]:
    """The cluster as an executor of the standard library, for callers that do not import dask."""
    with connected(cluster, num_workers, options, note) as client, client.get_executor() as made:
        yield _OnWorkers(made)


class _OnWorkers(Executor):
    """Dask's executor, whose workers never pause."""

    def __init__(self, made: Executor) -> None:
        self._made = made

    def submit(self, call: Callable[..., Result], /, *arguments: object, **named: object) -> Future[Result]:
        return self._made.submit(without_pause, call, *arguments, **named)


def without_pause(call: Callable[..., Result], /, *arguments: object, **named: object) -> Result:
    """As a task: run `call`; the worker takes tasks from now on for as long as it lives. Dask gives none to a worker that has used 80% of its limit, until
    its memory is free again; ours is of networks and features, which stay, so such a worker, and the command, would wait for ever. At 95% of the limit
    it is ended."""
    from distributed import get_worker

    get_worker().memory_manager.memory_pause_fraction = math.inf
    return call(*arguments, **named)


def gpu_count() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _local(num_workers: int | None, device: str) -> Any:
    """A dask cluster of one process for each GPU, or of `num_workers`; they share the cores and the memory. Raises `ExtractError` where they do not start."""
    if starts_again():
        raise ExtractError(f"--cluster {LOCAL}: {EACH_STARTS_AGAIN}")
    import dask
    from distributed import Nanny, Scheduler, SpecCluster

    gpus = gpu_count() if device.startswith("cuda") else 0
    cores = len(processors())
    count = num_workers or (1 if ":" in device else gpus) or max(cores // 4, 1)
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(cores // count, 1))
    workers = {}
    for number in range(count):
        environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        choices: dict[str, object] = {"nthreads": 1, "silence_logs": logging.CRITICAL, "dashboard": False}
        # By default dask ends a worker that uses more than memory / cores, however few workers there are: 4 GB of 256 on 64 cores.
        choices["memory_limit"] = None
        if gpus:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            names = visible.split(",") if visible else [str(index) for index in range(gpus)]
            _, one, index = device.partition(":")
            names = [names[int(index)]] if one else names
            environment["CUDA_VISIBLE_DEVICES"] = names[number % len(names)]
            choices["resources"] = {GPU: 1}
        workers[number] = {"cls": Nanny, "options": {**choices, "env": environment}}
    dashboard = {"dashboard": True, "dashboard_address": ":0"} if find_spec("bokeh") else {"dashboard": False}
    scheduler = {"cls": Scheduler, "options": {**dashboard, "host": "127.0.0.1"}}
    # By default a nanny overrides our numbers of threads with 1.
    with dask.config.set({"distributed.nanny.pre-spawn-environ": {}}):
        try:
            return SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL, name="longtake")
        except (RuntimeError, OSError) as error:
            raise ExtractError(f"--cluster {LOCAL}: its workers do not start: {error.__cause__ or error}") from error


def _batch(cluster: str, num_workers: int, options: Path | None, device: str, note: Note) -> Any:
    """A dask cluster whose workers the batch system starts."""
    if find_spec("dask_jobqueue") is None:
        raise ExtractError(f"--cluster {cluster} needs dask-jobqueue: python -m pip install 'longtake[cluster]'")
    try:
        settings = tomllib.loads(require_regular(options).read_text(encoding="utf-8")) if options else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ExtractError(f"cannot read --cluster-options {options}: {error}") from error
    if device.startswith("cuda"):
        extra = list(settings.get("worker_extra_args", []))
        settings["worker_extra_args"] = extra if "--resources" in extra else [*extra, "--resources", f"{GPU}=1"]
    try:
        made = resolve_name(BATCH_SYSTEMS[cluster])(**settings)
    except (TypeError, ValueError) as error:
        raise ExtractError(
            f"--cluster {cluster}: {error}. Give the options of your site in a TOML file with --cluster-options, such as "
            f'queue = "gpu", cores = 8, memory = "32GB", walltime = "08:00:00"'
        ) from error
    note(f"the job of one worker:\n{made.job_script()}")
    made.scale(jobs=num_workers)
    note(f"{num_workers} jobs submitted; videos wait until the first one starts")
    return made
