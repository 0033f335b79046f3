"""Values from files: every fault at once, with its place and the type that belongs there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
import pytest

from longtake.checks import LARGEST, build, read_fields, read_json


@dataclass(frozen=True)
class Range:
    name: str
    low: float
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")


@dataclass(frozen=True)
class Counted:
    template: str
    last: int


@dataclass(frozen=True)
class Sample:
    title: str
    count: int
    rate: float | None
    flag: bool = False
    ranges: dict[str, Range] = field(default_factory=dict)
    one: Range | None = None
    names: tuple[str, ...] = ()
    texts: dict[str, tuple[str, ...] | Counted] = field(default_factory=dict)
    terms: dict[str, list[int]] = field(default_factory=dict)
    rest: Mapping[str, object] = field(default_factory=dict)


GOOD = {
    "title": "t",
    "count": 3,
    "rate": None,
    "ranges": {"a": {"low": 0}, "b c": {"low": 0.5, "high": 2}},
    "one": {"name": "x", "low": -1},
    "names": ["a", "b"],
    "texts": {"g": ["a"], "h": {"template": "{value}", "last": 3}},
    "terms": {"x": [1, 2]},
    "rest": {"anything": [1, {"deep": None}]},
}


def faults_of(**changes: object) -> list[str]:
    with pytest.raises(LookupError) as caught:
        build(Sample, {**GOOD, **changes}, "the sample", LookupError)
    first, *faults = str(caught.value).split("\n  ")
    assert first == "the sample is not valid:"
    return faults


def test_a_valid_table():
    made = build(Sample, GOOD, "the sample", LookupError)
    assert made == Sample(
        "t",
        3,
        None,
        ranges={"a": Range("a", 0), "b c": Range("b c", 0.5, 2)},
        one=Range("x", -1),
        names=("a", "b"),
        texts={"g": ("a",), "h": Counted("{value}", 3)},
        terms={"x": [1, 2]},
        rest=GOOD["rest"],
    )
    assert isinstance(made.ranges["a"].low, int), "numbers stay as they were written: hashes are taken over them"
    assert build(Sample, json.loads(json.dumps(asdict(made))), "its JSON", LookupError) == made


def test_all_faults_together():
    values = {**GOOD, "names": "ab", "coutn": 1, "ranges": {"a": {"low": 3}, "b c": {"low": "3", "extra": 1}}}
    del values["count"]
    with pytest.raises(LookupError) as caught:
        build(Sample, values, "the sample", LookupError)
    assert str(caught.value).split("\n  ") == [
        "the sample is not valid:",
        "unknown entry 'coutn'; did you mean count?",
        "count is missing",
        "ranges.a: low 3 is not below high 1",
        "unknown entry 'extra' in ranges.'b c'",
        "ranges.'b c'.low must be a finite number, got '3'",
        "names must be a list, got 'ab'",
    ]


@pytest.mark.parametrize(
    "changes, fault",
    [
        ({"title": 3}, "title must be text, got 3"),
        ({"title": None}, "title must be text, got None"),
        ({"count": True}, "count must be a whole number, got True"),
        ({"count": 3.0}, "count must be a whole number, got 3.0"),
        ({"count": 10**40}, "count must be a whole number, got 1000"),
        ({"rate": False}, "rate must be a finite number, got False"),
        ({"rate": float("nan")}, "rate must be a finite number, got nan"),
        ({"rate": -LARGEST * 2}, "rate must be a finite number, got -2"),
        ({"flag": 1}, "flag must be true or false, got 1"),
        ({"one": []}, "one must be a table, got []"),
        ({"one": {"low": 0}}, "one.name is missing"),
        ({"names": ["a", 1, "b"]}, "names[1] must be text, got 1"),
        ({"ranges": []}, "ranges must be a table, got []"),
        ({"ranges": {"a": 3}}, "ranges.a must be a table, got 3"),
        ({"ranges": {3: {}}}, "ranges must be a table with texts as keys, got {3"),
        ({"texts": {"g": 7}}, "texts.g must be a list or a table, got 7"),
        ({"texts": {"g": [7]}}, "texts.g[0] must be text, got 7"),
        ({"texts": {"g": {"template": "a", "last": "b"}}}, "texts.g.last must be a whole number, got 'b'"),
        ({"terms": {"x": [1, "2"]}}, "terms.x[1] must be a whole number, got '2'"),
        ({"rest": 3}, "rest must be a table, got 3"),
    ],
)
def test_one_fault(changes, fault):
    (only,) = faults_of(**changes)
    assert only.startswith(fault)


@pytest.mark.parametrize("values", [None, 3, "text", [], [{}]])
def test_what_is_not_a_table(values):
    with pytest.raises(LookupError, match="the sample is not valid:\n  it must be a table, got "):
        build(Sample, values, "the sample", LookupError)


def test_long_values_are_cut_and_deep_ones_do_not_overflow():
    deep: list = []
    for _ in range(50_000):
        deep = [deep]
    for value in (deep, "x" * 10_000, int("f" * 10_000, 16), list(range(10_000))):
        (fault,) = faults_of(title=value) if not isinstance(value, str) else faults_of(count=value)
        assert len(fault) < 200


def test_numbers_of_numpy():
    made = build(
        Sample, {**GOOD, "count": np.int64(3), "rate": np.float32(0.5), "flag": np.bool_(True)}, "", LookupError
    )
    assert (made.count, made.rate, made.flag) == (3, 0.5, True) and type(made.count) is int and type(made.flag) is bool


def test_valid_fields_beside_faults():
    faults: list[str] = []
    made = read_fields(Sample, {"title": "t", "count": "x"}, "part", faults)
    assert made == {"title": "t"}
    assert faults == ["part.count must be a whole number, got 'x'", "part.rate is missing"]


def test_json():
    assert read_json('{"a": [1]}', "the file", LookupError) == {"a": [1]}
    with pytest.raises(LookupError, match="the file is damaged: Expecting value"):
        read_json("[1,", "the file", LookupError)
    with pytest.raises(LookupError, match="the file is damaged"):
        read_json(b"\xff\xfe\x00", "the file", LookupError)
    with pytest.raises(LookupError, match="the file is nested too deeply"):
        read_json("[" * 100_000, "the file", LookupError)
