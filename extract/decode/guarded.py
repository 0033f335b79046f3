"""Turn every unexpected error of a decoder's library into a failure of one video, reported with the library's version.

A new version of a library may fail on every file, and a single file may make it fail. Neither is a reason to end a run.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from longtake.errors import LongtakeError
from longtake.extract.decode.base import Decoder, Pictures, VideoInfo, Wanted, require_fit
from longtake.extract.errors import DecoderFailed


@contextmanager
def unexpected_errors(path: Path, description: Callable[[], str], stage: str = "decode") -> Iterator[None]:
    """Raise `DecoderFailed` in place of any error but ours and those of the operating system, which pass."""
    try:
        yield
    except (LongtakeError, OSError):
        raise
    except Exception as error:
        kind, place = type(error).__name__, traceback.extract_tb(error.__traceback__)[-1]
        message = " ".join(str(error).split())
        raise DecoderFailed(
            f"{path.name}: {kind} in {description()}: {message} ({Path(place.filename).name}, line {place.lineno})",
            kind,
            stage,
        ) from error


class Guarded(Decoder):
    """A decoder that raises only `VideoError` and `OSError` when it reads a file, and refuses files that it is unfit for."""

    def __init__(self, decoder: Decoder) -> None:
        self.name, self.sees_damage, self._decoder = decoder.name, decoder.sees_damage, decoder

    def description(self) -> str:
        return self._decoder.description()

    def probe(self, path: Path, *, exact: bool = False) -> VideoInfo:
        with unexpected_errors(path, self.description):
            return self._decoder.probe(path, exact=exact)

    def for_file(self, info: VideoInfo) -> Sequence[Decoder]:
        readers = self._decoder.for_file(info)
        return [self if reader is self._decoder else reader for reader in readers]

    def unfit(self, info: VideoInfo) -> str:
        return self._decoder.unfit(info)

    def pictures(self, info: VideoInfo, wanted: Wanted, *, num_threads: int) -> Iterator[tuple[int, Pictures]]:
        with unexpected_errors(info.path, self.description):
            require_fit(self._decoder, info)
            yield from self._decoder.pictures(info, wanted, num_threads=num_threads)
