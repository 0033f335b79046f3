"""Heads at other settings than those of the golden files, against numbers of the published modules.

`other_settings.npz` holds numbers alone: names and shapes of the published weights, whose values follow from the names (`goldens.by_rule`), what the
published module gave in evaluation mode for clips of `features_by_rule`, and the norms of the gradients of its squared distance to 0, ..., 1.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.train.heads import get_head
from longtake.train.heads.base import SecondStream
from tests.train.heads.goldens import batch_of, by_rule, check_gradients, features_by_rule, load

NUMBERS = Path(__file__).with_name("other_settings.npz")
with np.load(NUMBERS) as arrays:
    CASES = sorted({name.partition("|")[0] for name in arrays.files})
SECOND = {"action-net": "pictures", "skating-mixer": "audio"}


def numbers_of(case):
    with np.load(NUMBERS) as arrays:
        return {name.partition("|")[2]: arrays[name] for name in arrays.files if name.startswith(f"{case}|")}


def inputs_of(name, numbers):
    """(batch, width of its second stream, widths of its further streams)."""
    said = json.loads(str(numbers["shapes"]))
    clips, *more = (torch.from_numpy(features_by_rule(j, *shape)) for j, shape in enumerate(said["shapes"]))
    batch = batch_of(clips, np.linspace(0, 1, len(clips)))
    if len(more) == 2:
        return replace(batch, streams={"flow": more[0]}, audio=more[1]), more[1].shape[2], {"flow": more[0].shape[2]}
    if not more:
        return batch, 0, {}
    (one,) = more
    if SECOND[name] == "audio":
        return replace(batch, audio=one), one.shape[2], {}
    there = torch.ones(one.shape[:2], dtype=torch.bool)
    return replace(batch, second_stream=SecondStream(one, there, torch.zeros(*there.shape, 2))), one.shape[2], {}


@pytest.mark.parametrize("case", CASES)
def test_published_numbers(case):
    numbers = numbers_of(case)
    name, state = str(numbers["head"]), by_rule(numbers)
    head_class = get_head(name)
    batch, second, streams = inputs_of(name, numbers)
    found = {key: value for key, value in head_class.settings_in_published(state).items() if value is not None}
    settings = {**found, **json.loads(str(numbers["settings"]))}
    head = head_class(batch.clips.shape[2], head_class.Settings(**settings), None, second, streams)
    score01 = load(head, state).eval()(batch).score01
    np.testing.assert_allclose(score01.detach(), numbers["output"], atol=1e-5)
    if "grad_norm" not in numbers:
        return
    ((score01 - batch.target01) ** 2).mean().backward()
    norms = dict(zip(json.loads(str(numbers["keys"])), torch.from_numpy(numbers["grad_norm"])))
    wanted = {ours for ours, _ in head.named_parameters()}
    expected = {
        ours: torch.zeros(()) if norm.isnan() else norm
        for key, norm in norms.items()
        for ours in head.from_published({key: state[key]})
        if ours in wanted
    }
    check_gradients(head, expected)


def test_every_case_has_numbers():
    assert len(CASES) == 14 and all("output" in numbers_of(case) for case in CASES)
