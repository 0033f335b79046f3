"""Names and shapes of published weights."""

import torch

from longtake.train.heads.published import num_modules, rename, size, substitute

SHAPES = {"0.a": (2, 3, 1), "1.a": (2, 3, 2), "old": (1,), "b": (4,)}
STATE = {f"net.{name}": torch.zeros(shape) for name, shape in SHAPES.items()}


def test_rename():
    found = rename(STATE, {"net.old": None, "net.0.": "layers.0."})
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "layers.0.a": (2, 3),
        "net.1.a": (2, 3, 2),
        "net.b": (4,),
    }


def test_sizes():
    assert num_modules({"layers.0.a": 0, "layers.0.b": 0, "layers.1.a": 0, "x": 0}, "layers.") == 2
    assert size(STATE, "net.0.a", 1) == 3
    assert size(STATE, "net.b", 1) is None and size(STATE, "nothing") is None


def test_patterns_follow_each_other():
    assert set(substitute({"a.1.x": torch.ones(1)}, ((r"^a\.(\d)", r"b.\1"), (r"b\.1", "c")))) == {"c.x"}
