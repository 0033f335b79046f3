"""The garbage collector, paused and never left so."""

import gc
import os

import pytest

from longtake.collector import paused_collector


def test_it_runs_again_afterwards_also_after_an_error():
    with pytest.raises(ValueError), paused_collector():
        assert not gc.isenabled()
        with paused_collector():
            pass
        assert not gc.isenabled(), "the inner one leaves it to the outer one"
        raise ValueError
    assert gc.isenabled()


def test_a_process_that_has_switched_it_off_keeps_it_so():
    gc.disable()
    try:
        with paused_collector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_process_that_is_forked_meanwhile_has_it():
    with paused_collector():
        child = os.fork()
        if child == 0:
            os._exit(0 if gc.isenabled() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
