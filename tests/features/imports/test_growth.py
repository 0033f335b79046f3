"""What a small pickle may describe is limited."""

import io
import pickle

import pytest

from longtake.features.imports import growth
from longtake.features.imports.growth import Budget, refuse_growth


def test_the_budget_is_for_the_sum(monkeypatch):
    monkeypatch.setattr(growth, "SPARE_BYTES", 1000)
    budget = Budget(100)
    for _ in range(3):
        budget.take(600)
    with pytest.raises(pickle.UnpicklingError, match="its values take more than 1800 bytes"):
        budget.take(1)


def test_ordered_dictionaries_take_of_the_budget(monkeypatch):
    monkeypatch.setattr(growth, "SPARE_BYTES", 1000)
    budget = Budget(0)
    assert budget.ordered() == {} and budget.ordered([("a", 1), ("b", 2)]) == {"a": 1, "b": 2}
    with pytest.raises(pickle.UnpicklingError, match="its values take more than"):
        for _ in range(10):
            budget.ordered([("a", 1)])


def test_values_are_counted_as_often_as_they_are_used(monkeypatch):
    monkeypatch.setattr(growth, "MOST_VALUES", 1000)
    value = (1,)
    for _ in range(8):
        value = (value, value)
    refuse_growth(io.BytesIO(pickle.dumps(value)))
    with pytest.raises(pickle.UnpicklingError, match="grow beyond 1000"):
        refuse_growth(io.BytesIO(pickle.dumps(((value, value), (value, value)))))


def test_a_value_with_an_enormous_number():
    """A reader would make room for as many values: 16 GiB for these nine bytes."""
    with pytest.raises(pickle.UnpicklingError, match="it numbers a value 2147483647"):
        refuse_growth(io.BytesIO(b"\x80\x02Nr\xff\xff\xff\x7f."))
