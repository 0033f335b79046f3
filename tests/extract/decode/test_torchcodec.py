"""torchcodec and NVDEC without a GPU or FFmpeg libraries, and NVDEC's comparison with the CPU."""

import sys

import numpy as np
import pytest

from longtake.extract.decode import get_decoder
from longtake.extract.decode.scale import rgb_frame
from longtake.extract.errors import (
    DecoderUnfit,
    ExtractError,
)
from tests.extract.media import everything, numbers, write_video


def test_nvdec_is_compared_with_the_cpu(tmp_path, monkeypatch):
    """Run on the CPU, as there may be no GPU: equal frames pass, others are refused."""
    try:
        from longtake.extract.decode import torchcodec
    except ExtractError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(torchcodec.NVDECDecoder, "device", "cpu")
    decoder = torchcodec.NVDECDecoder()
    info = decoder.probe(write_video(tmp_path / "a.mp4", 12))
    assert numbers(decoder, info.path)[1] == list(range(12))
    monkeypatch.setattr(torchcodec, "rgb_frame", lambda picture: rgb_frame(np.roll(picture, 8, axis=1)))
    with pytest.raises(DecoderUnfit, match="frame 11 differs by"):
        list(decoder.pictures(info, everything(info), num_threads=1))


def test_nvdec_without_a_gpu():
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchcodec")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ExtractError, match="nvdec needs an NVIDIA GPU|no FFmpeg libraries"):
        get_decoder("nvdec")


def test_torchcodec_without_ffmpeg(monkeypatch):
    """Its import fails with a page of text; the error is one line."""

    class Fails:
        def find_spec(self, name, path=None, target=None):
            if name.startswith("torchcodec"):
                raise RuntimeError("Could not load libtorchcodec. " + "tried this\n" * 40)

    for name in [n for n in sys.modules if n.startswith(("torchcodec", "longtake.extract.decode.torchcodec"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Fails(), *sys.meta_path])
    with pytest.raises(ExtractError, match=r"^torchcodec finds no FFmpeg libraries.*brings its own$"):
        get_decoder("torchcodec")
