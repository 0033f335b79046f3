"""Decoding threads: one decode for all backbones, and a second decoder where the first one fails."""

from dataclasses import replace

import numpy as np
import pytest

from longtake.extract.decode import TABLE, get_decoder
from longtake.extract.decode.pyav import PyAVDecoder
from longtake.extract.errors import DecoderUnfit
from longtake.extract.plan.plan import Job
from longtake.extract.plan.settle import Extractor
from longtake.features.store import open_store
from tests.extract.runs import extract, extracted, make_dataset, plan_of

pytestmark = pytest.mark.usefixtures("numbers_backbone")


class Refuses(PyAVDecoder):
    """Like a GPU decoder whose pictures differ, which shows only after decoding some."""

    name = "refuses"

    def pictures(self, info, wanted, *, num_threads):
        for number, found in enumerate(super().pictures(info, wanted, num_threads=num_threads)):
            if number == 6 and info.path.stem == "v1":
                raise DecoderUnfit("its frame 6 differs")
            yield number, {rule: np.zeros_like(picture) for rule, picture in found[1].items()}


def test_auto_reads_again_what_the_first_decoder_refuses(tmp_path, numbers_backbone, monkeypatch):
    make_dataset(tmp_path, [16, 16])
    monkeypatch.setitem(TABLE, "nvdec", f"{__name__}:Refuses")
    done = extract(tmp_path, "--decoder", "auto", "--stall-timeout", "0")
    assert "2 new" in done.output
    extract(tmp_path, out="pyav.h5")
    with open_store(tmp_path / "small.h5") as store, open_store(tmp_path / "pyav.h5") as expected:
        assert [record.decoder for record in store.stream().records] == ["refuses", "pyav"]
        assert not store.stream().read(0).features.any()
        np.testing.assert_array_equal(store.stream().read(1).features, expected.stream().read(1).features)


def test_one_decode_for_all_backbones(tmp_path, monkeypatch):
    """Two backbones with rules of their own: each video is opened for its pictures once."""
    plan = plan_of(tmp_path, [10, 5, 7])
    decoder = get_decoder("pyav")
    opened = []
    pictures = type(decoder).pictures

    def counted(self, info, *arguments, **named):
        opened.append(info.path.name)
        return pictures(self, info, *arguments, **named)

    monkeypatch.setattr(type(decoder), "pictures", counted)
    (one,) = plan.extractors
    other = Extractor(
        replace(one.spec, frames=replace(one.spec.frames, short_side=64, crop_height=64, crop_width=64)),
        replace(one.rule, length=3, stride=3),
        replace(one.header, clip_length=3, clip_stride=3),
        one.backbone,
        2,
    )
    jobs = [Job(job.row, (one, other)) for job in plan.jobs]
    found = list(extracted(replace(plan, jobs=tuple(jobs))))
    assert sorted(opened) == ["v0.mp4", "v1.mp4", "v2.mp4"]
    clips = {done.row.video_id: [len(video.features) for video in done.features.values()] for done in found}
    assert clips == {"v0": [3, 4], "v1": [2, 2], "v2": [2, 3]}
