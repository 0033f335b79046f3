"""Padded clips and packed ones."""

import pytest
import torch

from longtake.train.heads.blocks.packing import Places


@pytest.mark.parametrize("lengths", [[4, 1, 3], [4, 4, 4]])
def test_packing_leaves_out_padding_and_loses_nothing(lengths):
    mask = torch.arange(4)[None] < torch.tensor(lengths)[:, None]
    clips = torch.randn(3, 4, 2) * mask[..., None]
    places = Places.of(mask)
    packed = places.pack(clips)
    assert packed.shape == (sum(lengths), 2) and torch.equal(packed, clips[mask])
    assert torch.equal(places.unpack(packed), clips)
    torch.testing.assert_close(places.sum(packed), clips.sum(1))
    of_videos = torch.randn(3, 2)
    assert torch.equal(places.share(of_videos), of_videos.repeat_interleave(torch.tensor(lengths), dim=0))
    bias = places.bias(torch.float32)
    if min(lengths) == 4:
        assert bias is None, "there is no padding to leave out"
    else:
        assert torch.equal(bias[:, 0, 0] == 0, mask) and (bias[:, 0, 0][~mask] == -torch.inf).all()
