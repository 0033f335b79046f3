"""The garbage collector, paused and never left so."""

import gc

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
