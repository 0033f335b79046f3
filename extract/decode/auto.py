"""`auto`: choose a decoder for each file by its probe, and record the choice with the video.

The recipe names all candidates, so features of `auto` with a GPU never mix with others. Without a GPU only `pyav` is left, and the recipe
is that of `pyav`. decord and torchcodec on the CPU are never chosen: they are not faster, and right on fewer files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from longtake.extract.decode import get_decoder
from longtake.extract.decode.base import Decoder, Pictures, VideoInfo, Wanted
from longtake.extract.errors import ExtractError

PREFERRED = ("nvdec",)
LAST = "pyav"
"""Right on every file."""


class AutoDecoder(Decoder):
    name = "auto"

    def __init__(self) -> None:
        self._candidates: list[Decoder] = []
        for name in PREFERRED:
            with suppress(ExtractError, ImportError):  # not usable on this machine
                self._candidates.append(get_decoder(name))
        self._candidates.append(get_decoder(LAST))

    def description(self) -> str:
        said = [candidate.description() for candidate in self._candidates]
        return said[0] if len(said) == 1 else f"auto: {'; else '.join(said)}"

    def probe(self, path: Path, *, exact: bool = False) -> VideoInfo:
        return self._candidates[-1].probe(path, exact=exact)

    def for_file(self, info: VideoInfo) -> Sequence[Decoder]:
        return [candidate for candidate in self._candidates if not candidate.unfit(info)]

    def pictures(self, info: VideoInfo, wanted: Wanted, *, num_threads: int) -> Iterator[tuple[int, Pictures]]:
        return self.for_file(info)[0].pictures(info, wanted, num_threads=num_threads)
