"""How threads wait: as the user says, else less long than OpenMP's default, and decided before torch is loaded."""

import subprocess
import sys

import pytest

from longtake import threads


@pytest.mark.parametrize("given", [{}, {"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "ACTIVE"}])
def test_what_the_user_says_stays(monkeypatch, given):
    for name in threads.CHOSEN_BY_USERS:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    threads.spin_less()
    found = {name: threads.os.environ[name] for name in threads.CHOSEN_BY_USERS if name in threads.os.environ}
    assert found == (given or {"GOMP_SPINCOUNT": threads.SPIN_COUNT})


@pytest.mark.parametrize("command", ["extract", "train", "features"])
def test_commands_decide_it_before_torch_reads_it(command):
    code = (
        "import sys, os\n"
        f"from longtake.{command}.cli import main\n"
        "assert 'torch' not in sys.modules and 'GOMP_SPINCOUNT' not in os.environ\n"
        "try: main(['--version'])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules, os.environ['GOMP_SPINCOUNT'])"
    )
    clean = {name: value for name, value in threads.os.environ.items() if name not in threads.CHOSEN_BY_USERS}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean, check=True)
    assert done.stdout.splitlines()[-1] == f"False {threads.SPIN_COUNT}"


@pytest.mark.parametrize("given", [{}, pytest.param({"OMP_NUM_THREADS": "100"}, marks=pytest.mark.slow)])
def test_threads_are_counted_as_torch_counts_them(given):
    code = "from longtake.threads import num_threads; found = num_threads(); import torch; print(found, torch.get_num_threads())"
    clean = {name: value for name, value in threads.os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean | given, check=True)
    ours, theirs = done.stdout.split()
    assert ours == theirs


def test_the_count_of_the_user_is_the_first_of_a_list(monkeypatch):
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1,2")
    assert threads.num_threads() == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    most = threads.num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "10000")
    assert threads.num_threads() == most, "no more than there are cores, as MKL has it"


def test_a_system_that_does_not_say_which_processors_a_process_may_use(monkeypatch):
    """macOS does not."""
    here = len(threads.processors())
    monkeypatch.delattr(threads.os, "sched_getaffinity", raising=False)
    assert len(threads.processors()) >= here and threads.num_threads() >= 1
