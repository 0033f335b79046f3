"""Many models: as one stack, in parallel processes, or one after the other."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from multiprocessing.queues import SimpleQueue
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from longtake.processes import EACH_STARTS_AGAIN, end_with_starter, starts_again
from longtake.threads import processors
from longtake.train.engine.job import Job
from longtake.train.engine.loop import fit, fit_together
from longtake.train.engine.stacked import can_stack, stacks
from longtake.train.engine.state import Epoch, Fitted
from longtake.train.errors import SettingsError, TrainError, require_one_of
from longtake.train.heads import TABLE, get_head

AUTO, NONE, STACKED, PROCESSES = "auto", "none", "stacked", "processes"
WAYS = (AUTO, NONE, STACKED, PROCESSES)
WORTH_SECONDS = 30.0
"""Of remaining training. Below it, processes cost more to start than they save."""
SHARED_MEMORY = Path("/dev/shm")


def _frozen(mapping: dict) -> MappingProxyType:
    return MappingProxyType(mapping)


# Headers hold read-only mappings, which pickle does not support.
ForkingPickler.register(MappingProxyType, lambda mapping: (_frozen, (dict(mapping),)))

OnEpoch = Callable[[int, Epoch], None]
"""Index of the job, and its finished epoch."""


def require_way(jobs: Sequence[Job], way: str) -> None:
    """Raises `SettingsError` for an unknown way, or one that does not work for these models."""
    require_one_of("--parallel", way, WAYS)
    if way == STACKED and not all(map(can_stack, jobs)):
        heads = {name: get_head(name) for name in TABLE}
        always = [name for name, head in heads.items() if head.stacks_padded]
        whole = [name for name, head in heads.items() if head.stacks and name not in always]
        raise SettingsError(
            f"--parallel stacked: these models cannot be stacked. On one stream and without plug-ins, heads {', '.join(always)} can, "
            f"and {', '.join(whole)} where no training video is shorter than the window; take --parallel auto"
        )
    problem = _why_no_processes(jobs) if way == PROCESSES else None
    if problem:
        raise SettingsError(f"--parallel processes: {problem}")


def train_all(jobs: Sequence[Job], way: str, on_epoch: OnEpoch) -> Iterator[tuple[int, Fitted]]:
    """Index and result of every job, as soon as it is trained.

    `auto` gives the same bits as one after the other. It trains the first model; where there are more processors than threads in use
    (OMP_NUM_THREADS), the rest go to processes with as many threads, if that saves more time than starting them costs. Raises
    `TrainError` when a loss is no longer finite or a process dies.
    """
    left = list(range(len(jobs)))
    if not jobs:
        return
    if way == STACKED:
        for group in stacks(jobs):
            if len(group) > 1:
                mine = [jobs[index] for index in group]
                yield from zip(group, fit_together(mine, partial(_epoch_of_stack, group, on_epoch)))
                left = [index for index in left if index not in group]
    threads = torch.get_num_threads()
    if way == PROCESSES:
        yield from _in_processes(jobs, left, threads, 1, on_epoch)
        return
    workers = len(processors()) // threads
    for done, index in enumerate(left):
        began = time.perf_counter()
        yield index, fit(jobs[index], partial(on_epoch, index))
        rest = left[done + 1 :]
        seconds = time.perf_counter() - began
        if way == AUTO and workers > 1 and len(rest) > 1 and seconds * len(rest) > WORTH_SECONDS:
            if not _why_no_processes(jobs):
                yield from _in_processes(jobs, rest, workers, threads, on_epoch)
                return


def _epoch_of_stack(group: Sequence[int], on_epoch: OnEpoch, place: int, epoch: Epoch) -> None:
    on_epoch(group[place], epoch)


def how_numbers_differ(way: str) -> str | None:
    """What a user should know of a way whose numbers are not those of training one after the other; None for the others."""
    if way == STACKED:
        return "--parallel stacked: numbers differ from those of --parallel none, by rounding and by which values dropout drops"
    threads = torch.get_num_threads()
    if way == PROCESSES and threads > 1:
        return (
            f"--parallel processes: each trains with one thread and --parallel none with {threads}, so numbers differ by rounding. "
            f"With OMP_NUM_THREADS=1, --parallel auto takes processes and gives the same numbers"
        )
    return None


def _why_no_processes(jobs: Sequence[Job]) -> str | None:
    data, device = jobs[0].task.data, jobs[0].task.device
    if device.type != "cpu":
        return f"they are for models on the CPU, and these are on {device}"
    if data.on_disk:
        return "they share the features in memory, and these do not fit there, so that they are read from the disk; --memory allows more"
    if starts_again():
        return EACH_STARTS_AGAIN
    needed = data.num_bytes
    if SHARED_MEMORY.exists() and shutil.disk_usage(SHARED_MEMORY).free < 1.2 * needed:
        return f"they share the features through {SHARED_MEMORY}, which has less than the {1.2 * needed / 2**20:.0f} MiB free"
    return None


def _in_processes(
    jobs: Sequence[Job], indices: Sequence[int], workers: int, threads: int, on_epoch: OnEpoch
) -> Iterator[tuple[int, Fitted]]:
    """In processes of so many threads each, which share the features in memory."""
    # Not forked, since torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    epochs, stop = context.SimpleQueue(), context.Event()
    mine = {index: jobs[index] for index in indices}
    pool = ProcessPoolExecutor(min(workers, len(indices)), context, _begin, (threads, mine, epochs, stop))
    futures: dict[Future[tuple[Fitted, dict[str, Any]]], int] = {}
    try:
        # The longest job first, so that it does not run alone at the end.
        by_work = sorted(indices, key=lambda i: jobs[i].settings.epochs * len(jobs[i].task.train_rows), reverse=True)
        futures.update((pool.submit(_train, index), index) for index in by_work)
        while futures:
            done, _ = wait(futures, timeout=0.2, return_when=FIRST_COMPLETED)
            _pass_on(epochs, on_epoch)
            for future in done:
                index = futures.pop(future)
                fitted, state = future.result()
                head = jobs[index].build_head()
                head.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
                yield index, replace(fitted, head=head.eval())
    except BrokenProcessPool as error:
        raise TrainError(
            "a training process died, possibly for lack of memory; finished models are kept. Use --parallel none"
        ) from error
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        # A process that waits for a full queue to be read would not see the stop event.
        while not all(future.done() for future in futures):
            _pass_on(epochs, lambda *_: None)
            time.sleep(0.02)
        # A process that is still starting opens the queue and the event, which disappear with this function.
        pool.shutdown(wait=True)


def _pass_on(epochs: SimpleQueue[tuple[int, Epoch]], on_epoch: OnEpoch) -> None:
    while not epochs.empty():
        on_epoch(*epochs.get())


class _Stopped(Exception):
    """The run was interrupted."""


_SHARED: tuple[Any, ...] = ()
"""In a training process: jobs by index, the queue of epochs, and the stop event."""


def _begin(threads: int, *shared: object) -> None:
    """First call in a training process."""
    global _SHARED
    _SHARED = shared
    end_with_starter()
    torch.set_num_threads(threads)
    # Ctrl-C reaches every process of a terminal; only the main process handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _train(index: int) -> tuple[Fitted, dict[str, Any]]:
    """In a training process: train one job, and return the weights of its head as arrays."""
    jobs, epochs, stop = _SHARED

    def report(epoch: Epoch) -> None:
        if stop.is_set():
            raise _Stopped
        epochs.put((index, epoch))

    fitted = fit(jobs[index], report)
    assert fitted.head is not None
    state = {name: value.detach().numpy() for name, value in fitted.head.state_dict().items()}
    return replace(fitted, head=None), state
