"""Batches on a device."""

import numpy as np
import pytest
import torch

from longtake.extract.backbones import build, get_spec
from longtake.extract.backbones.openvino_run import ConvertedBackbone
from longtake.extract.pipeline.device import runner_for


def test_a_runner_fills_up_the_last_batch_and_uses_its_buffer_again():
    shapes = []

    class Counting:
        device = torch.device("cpu")

        def forward(self, clips):
            shapes.append((tuple(clips.shape), clips.data_ptr()))
            return clips.float().mean(dim=(1, 2, 3, 4))[:, None]

    runner = runner_for(Counting(), 3)
    clips = [np.full((2, 4, 4, 3), value, np.uint8) for value in (1, 2, 3)]
    assert runner.start(clips).rows()[:, 0].tolist() == [1, 2, 3]
    assert runner.start(clips[:2]).rows()[:, 0].tolist() == [1, 2, 2]
    assert len(set(shapes)) == 1, "one shape, one buffer"


def test_a_converted_network_is_run_on_arrays_and_the_last_batch_is_filled_up():
    seen = []

    def compute(clips):
        seen.append(clips.copy())
        return clips.mean(axis=(1, 2, 3, 4), dtype=np.float32)[:, None]

    runner = runner_for(ConvertedBackbone(get_spec("i3d"), lambda: None, compute, precision="float32"), 3)
    clips = [np.full((2, 4, 4, 3), value, np.uint8) for value in (1, 2, 3)]
    first = runner.start(clips)
    assert runner.start(clips[:2]).rows()[:, 0].tolist() == [1, 2, 2]
    assert first.rows()[:, 0].tolist() == [1, 2, 3], "rows do not change with the buffer"
    assert seen[0].shape == seen[1].shape and seen[0].dtype == np.uint8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_gives_what_its_network_gives(precision):
    """Through copies, streams and buffers: the rows of a batch are those of the network called by itself."""
    backbone = build("i3d", precision=precision, device="cuda")
    backbone.init_random(0)
    runner = runner_for(backbone, 2)
    assert runner.lag == 1
    rng = np.random.default_rng(0)
    batches = [[rng.integers(0, 255, (16, 224, 224, 3), dtype=np.uint8) for _ in range(2)] for _ in range(5)]
    under_way = []
    found = []
    for batch in batches:
        under_way.append(runner.start(batch))
        if len(under_way) > 1:
            found.append(under_way.pop(0).rows().copy())
    found.append(under_way.pop().rows().copy())
    for batch, rows in zip(batches, found):
        expected = backbone.forward(torch.from_numpy(np.stack(batch)).cuda()).cpu().numpy()
        np.testing.assert_array_equal(rows, expected)
