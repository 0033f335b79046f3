"""Networks that OpenVINO runs are compared with torch: every backbone that `auto` gives to it, and each network before its first use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from longtake.extract.backbones import TABLE, build, get_spec
from longtake.extract.backbones.openvino_run import Run, input_of
from longtake.extract.backbones.runtime import FLOAT32_BOUND, has_bfloat16
from longtake.extract.backbones.to_openvino import check, convert, example_clips
from longtake.extract.errors import NotConverted
from longtake.extract.preprocessing import SoundRule
from tests.extract.backbones.inputs import inputs
from tests.extract.backbones.test_openvino import clips, relative, tiny

pytest.importorskip("openvino")


def test_the_last_clip_of_a_batch_is_checked_too():
    backbone, example = tiny()(), clips(1)
    forward = lambda batch: backbone.forward(torch.from_numpy(batch)).numpy()  # noqa: E731
    check(backbone, forward, example, "float32")
    with pytest.raises(NotConverted, match="differs from torch by"):
        check(backbone, lambda batch: forward(batch[[0, 1, 0]]), example, "float32")


PROVEN = [name for name in TABLE if name != "numbers" and get_spec(name).openvino]


@pytest.mark.slow
@pytest.mark.parametrize("name", PROVEN)
def test_backbones_that_auto_runs_by_openvino(name):
    """The conformance of a spec with `openvino=True`: torch's numbers in float32, its stated error in bfloat16, and bits that do not depend on
    the place in a batch."""
    torch.set_num_threads(1)
    spec = get_spec(name)
    if isinstance(spec.frames, SoundRule):
        spec = replace(spec, frames=replace(spec.frames, num_frames=spec.frames.num_frames // 8))
    given = inputs(spec, 2)
    if not isinstance(spec.frames, SoundRule):
        spec = replace(spec, frames=replace(spec.frames, crop_height=given.shape[2], crop_width=given.shape[3]))
    backbone = build(spec)
    backbone.init_random(0)
    expected = backbone.forward(given)
    bounds = {"float32": FLOAT32_BOUND, "bfloat16": spec.bfloat16_error or 0.015}
    if not has_bfloat16():
        del bounds["bfloat16"]
    example = example_clips(spec, 2, given.shape[1])
    for precision, network in zip(bounds, convert(backbone, example, tuple(bounds))):
        run = Run(name, network, *input_of(spec, 2, given.shape[1]), precision)
        found = run(given.numpy())
        assert relative(torch.from_numpy(found), expected) <= bounds[precision]
        assert np.array_equal(run(given.numpy()[::-1]), found[::-1])
