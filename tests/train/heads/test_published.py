"""Names and shapes of published weights."""

import pytest
import torch

from longtake.train.heads import TABLE, get_head
from longtake.train.heads.published import num_modules, rename, size, substitute
from tests.train.heads.kit import make_head

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


SIZES = {
    "gdlt": [
        {"width": 24, "encoder_layers": 2, "decoder_layers": 1, "grades": 5},
        {"encoder_layers": 0, "decoder_layers": 3},
    ],
    "gslm": [{"encoder_layers": 2, "decoder_layers": 1}, {"encoder_layers": 0, "decoder_layers": 3}],
    "avcf": [{"width": 24, "encoder_layers": 2, "fusion_layers": 2, "grading_layers": 1}],
    "pgt": [{"width": 24, "encoder_layers": 2, "grading_layers": 1}],
    "usdl": [{"bins": 25, "width": 24}, {"bins": 11, "width": 8}],
    "musdl": [{"bins": 5, "width": 24}, {"bins": 11, "width": 8}],
    "core": [{"width": 8, "depth": 4}, {"width": 24, "depth": 3}],
    "tpt": [
        {"width": 24, "queries": 7, "layers": 3, "feed_forward": 20, "groups": 8},
        {"width": 16, "queries": 3, "layers": 1, "feed_forward": 12, "groups": 16},
    ],
    "skating-mixer": [{"width": 24, "layers": 3, "tokens": 4}, {"width": 8, "layers": 1, "tokens": 1}],
    "action-net": [{"width": 24, "attention": 12, "last": 10}, {"width": 8, "attention": 5, "last": 3}],
    "hgcn": [
        {"clips": 19, "scenes": 5, "width": 32, "groups": 2, "factor": 2, "motion": False},
        {"clips": 21, "scenes": 3, "width": 16, "groups": 1, "factor": 6, "motion": True},
        {"clips": 9, "width": 16, "factor": 2, "motion": True, "refine": False, "construct": False},
        {"width": 16, "motion": False, "construct": False},
    ],
    "ms-lstm": [
        {"width": 24, "attention": 12, "descriptors": 6, "filters": 10, "hidden": 14, "last": 9},
        {"width": 8, "hidden": 4},
    ],
    "cofinal": [
        {"width": 24, "grades": 5, "values": 1, "encoder_layers": 2, "decoder_layers": 1, "reverted": False},
        {"width": 16, "grades": 3, "values": 0, "decoder_layers": 3},
    ],
    "qtd": [
        {"queries": 9, "layers": 3, "feed_forward": 20, "hidden": 12},
        {"queries": 21, "layers": 1, "feed_forward": 8, "hidden": 6},
    ],
    "c3d-lstm": [{"width": 24}, {"width": 8}],
    "t2cr": [
        {"width": 16, "hidden": 24, "layers": 2, "rows": 20, "thin": 7, "classes": 5, "squeezed": 1},
        {"width": 8, "hidden": 12, "layers": 1, "rows": 12, "thin": 6, "squeezed": 1},
    ],
    "pamfn": [{"width": 16, "fusions": 3, "reduction": 4}, {"width": 8, "fusions": 6, "reduction": 1}],
    "pcln": [{"rows": 40, "hidden": 20}, {"rows": 24, "hidden": 12}],
}
"""Settings of every head whose published weights can be read, none of which is its default. Those of `tsa` take clips sixteen times as wide as its
layers: tests/train/heads/test_tsa.py."""


@pytest.mark.parametrize(
    "name", [one for one in TABLE if get_head(one).SOURCE.code and not get_head(one).why_no_import and one != "tsa"]
)
def test_sizes_are_read_from_the_weights(name):
    """A head that is made of what its weights show, and of what no weight shows, has the same weights."""
    head_class = get_head(name)
    for settings in SIZES[name]:
        head = make_head(name, **settings)
        found = {key: value for key, value in head_class.settings_in(head.state_dict()).items() if value is not None}
        shown = {key: value for key, value in settings.items() if key not in head_class.not_in_weights and value}
        assert {key: found.get(key) for key in shown} == shown
        rest = {key: getattr(head.settings, key) for key in head_class.not_in_weights}
        again = make_head(name, **{**rest, **found})
        shapes = [{key: value.shape for key, value in one.state_dict().items()} for one in (head, again)]
        assert shapes[0] == shapes[1]
