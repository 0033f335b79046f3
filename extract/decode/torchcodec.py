"""torchcodec, on the CPU and on NVDEC. PyAV probes each file; torchcodec only decodes pictures.

It decodes whole frames to RGB; libswscale or Pillow resize them. Frames are found by an index of the whole file (`seek_mode` exact):
approximate seeking fails part-way on some Matroska and AVI files.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from longtake.extract.decode.base import Decoder, Pictures, VideoInfo, Wanted, require_time, unfit_turn
from longtake.extract.decode.killable import report_alive
from longtake.extract.decode.pyav import PyAVDecoder, require_undamaged
from longtake.extract.decode.scale import Scaler, rgb_frame
from longtake.extract.decode.streams import file_url
from longtake.extract.errors import DecoderUnfit, ExtractError, FramesNotPackets, VideoTruncated, VideoUnreadable
from longtake.extract.preprocessing import FrameRule

try:
    import torchcodec
    from torchcodec.decoders import VideoDecoder

    # Up to 0.16 the import fails without FFmpeg's libraries; later versions fail at the first file.
    if getattr(torchcodec, "ffmpeg_major_version", 0) is None:
        raise OSError("no FFmpeg")
except (RuntimeError, OSError) as error:
    # torchcodec's own message lists everything it tried, in forty lines.
    raise ExtractError(
        "torchcodec finds no FFmpeg libraries that it can use on this machine: install FFmpeg (apt-get install ffmpeg, "
        "conda install ffmpeg), or use --decoder pyav, which brings its own"
    ) from error

CONTAINERS_WRONG = ("avi", "mpegts")
NVDEC_CODECS, NVDEC_PIXEL_FORMATS = ("h264", "hevc", "vp9", "libdav1d", "av1"), ("yuv420p",)
COMPARED_FRAME = 24
"""About one second in, after a fade from black."""
LARGEST_DIFFERENCE = 3.0
"""Mean difference in levels allowed between a frame of NVDEC and the CPU's, for rounding and chroma filters; wrong or shifted frames
differ by more."""


class TorchCodecDecoder(Decoder):
    name = "torchcodec"
    device = "cpu"
    probe = PyAVDecoder.probe

    def description(self) -> str:
        return f"torchcodec {torchcodec.__version__} on {self.device}, resized from RGB; {PyAVDecoder().description()}"

    def unfit(self, info: VideoInfo) -> str:
        if info.container in CONTAINERS_WRONG:
            return f"it gives frames of {info.container} at wrong times, or none"
        return unfit_turn(info)

    def pictures(self, info: VideoInfo, wanted: Wanted, *, num_threads: int) -> Iterator[tuple[int, Pictures]]:
        index = -1
        if self.sees_damage:
            require_undamaged(info, wanted, num_threads, self.name)
        try:
            decoder = self.open(info, num_threads)
            scaler = Scaler(pixel_aspect=info.pixel_aspect)
            for index in sorted(set().union(*wanted.values())):
                report_alive()
                found = decoder.get_frame_at(index)
                require_time(info, index, found.pts_seconds)
                frame = rgb_frame(found.data.cpu().numpy())
                yield index, {rule: scaler.picture(frame, rule) for rule, frames in wanted.items() if index in frames}
        except (RuntimeError, IndexError) as error:
            raise VideoTruncated(
                f"{info.path.name} breaks at frame {index + 1} of {len(info.timeline)}: {str(error).splitlines()[0]}"
            ) from error

    def open(self, info: VideoInfo, num_threads: int) -> VideoDecoder:
        try:
            decoder = VideoDecoder(
                file_url(info.path), stream_index=info.stream_index, dimension_order="NHWC", num_ffmpeg_threads=num_threads,
                device=self.device, seek_mode="exact",
            )  # fmt: skip
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise VideoUnreadable(f"{info.path.name}: torchcodec cannot open it, though PyAV can: {reason}") from error
        if len(decoder) != len(info.timeline):
            raise FramesNotPackets(
                f"{info.path.name}: torchcodec sees {len(decoder)} frames, PyAV {len(info.timeline)}; use --decoder pyav"
            )
        return decoder


class NVDECDecoder(TorchCodecDecoder):
    """The GPU's video unit. Its pixels differ from the CPU's, so one frame of every file is compared with PyAV's. It does not report
    damaged pictures, and to look for them would take the processor as long as to decode the file; damage of packets is seen."""

    name = "nvdec"
    device = "cuda"
    sees_damage = False

    def __init__(self) -> None:
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ExtractError(
                "decoder nvdec needs an NVIDIA GPU that torch can use, and there is none; use --decoder pyav"
            )

    def description(self) -> str:
        return f"nvdec of {super().description()}, torch {torch.__version__}"

    def unfit(self, info: VideoInfo) -> str:
        if info.codec not in NVDEC_CODECS or info.pixel_format not in NVDEC_PIXEL_FORMATS:
            return f"the GPU does not decode {info.codec} of {info.pixel_format}, or not as the processor does"
        return super().unfit(info)

    def open(self, info: VideoInfo, num_threads: int) -> VideoDecoder:
        decoder = super().open(info, num_threads)
        side = min(info.width, info.height)
        whole = FrameRule(side, side, side, (0.0,) * 3, (1.0,) * 3)
        index = min(COMPARED_FRAME, len(info.timeline) - 1)
        _, expected = next(PyAVDecoder().pictures(info, {whole: {index}}, num_threads=1))
        found = Scaler().picture(rgb_frame(decoder.get_frame_at(index).data.cpu().numpy()), whole)
        difference = float(np.abs(found.astype(np.int16) - expected[whole]).mean())
        if difference > LARGEST_DIFFERENCE:
            raise DecoderUnfit(
                f"{info.path.name}: its frame {index} differs by {difference:.1f} levels on average between {self.device} and the "
                f"processor, at most {LARGEST_DIFFERENCE:g} are allowed; use --decoder pyav"
            )
        return decoder
