"""A worker process ends with the process that started it."""

import subprocess
import sys

import pytest

from longtake.processes import end_with_starter

STARTS_A_WORKER = """
import multiprocessing, os, sys, time
import pytest

from longtake.processes import end_with_starter

def work(pid):
    end_with_starter()
    pid.put(os.getpid())
    time.sleep(600)

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    pid = context.Queue()
    context.Process(target=work, args=(pid,), daemon=False).start()
    print(pid.get(), flush=True)
    os._exit(9)  # as when it is killed
"""


def test_a_worker_ends_with_its_starter():
    """The worker holds the pipe of its starter's output, so reading that to its end waits for the worker as well."""
    done = subprocess.run([sys.executable, "-c", STARTS_A_WORKER], capture_output=True, text=True, timeout=60)
    assert done.returncode == 9 and done.stdout.strip().isdecimal(), done.stderr


def test_the_main_process_continues():
    end_with_starter()


ASKS = "from longtake.processes import starts_again\nprint(starts_again())\n"


@pytest.mark.parametrize(
    ("script", "said"),
    [(ASKS, "True"), (f"{ASKS}\nif __name__ == '__main__':\n    pass\n", "False")],
    ids=["without a guard", "with one"],
)
def test_a_script_that_each_process_would_run_again(tmp_path, script, said):
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == said, done.stderr


def test_code_without_a_file_does_not_start_again():
    done = subprocess.run([sys.executable, "-c", ASKS], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr
