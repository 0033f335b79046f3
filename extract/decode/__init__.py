"""Decoders by name. Adding one: a module, and a line in the table; `longtake.extract.decode.base` says what a decoder is."""

from __future__ import annotations

from dataclasses import dataclass
from pkgutil import resolve_name

from longtake.errors import there_are
from longtake.extract.decode.base import Decoder
from longtake.extract.decode.guarded import Guarded
from longtake.extract.errors import ExtractError
from longtake.packages import needs

TABLE: dict[str, str] = {
    "pyav": "longtake.extract.decode.pyav:PyAVDecoder",
    "decord": "longtake.extract.decode.decord:DecordDecoder",
    "torchcodec": "longtake.extract.decode.torchcodec:TorchCodecDecoder",
    "nvdec": "longtake.extract.decode.torchcodec:NVDECDecoder",
    "auto": "longtake.extract.decode.auto:AutoDecoder",
}
"""Name -> class. Only that module imports the decoder's package."""


@dataclass(frozen=True)
class Package:
    """The package that a decoder needs."""

    package: str
    extra: str
    """Of setup.cfg: `pip install 'longtake[EXTRA]'` installs the package."""
    about: str


PACKAGES: dict[str, Package] = {
    "pyav": Package("av", "extract", "brings FFmpeg's libraries; right on every container that was tried"),
    "decord": Package(
        "decord", "decord", "8-bit H.264, HEVC, VP9, MPEG-4; refuses files that it gets wrong; unmaintained"
    ),
    "torchcodec": Package("torchcodec", "torchcodec", "uses this machine's FFmpeg libraries; no AVI, no MPEG-TS"),
    "nvdec": Package("torchcodec", "torchcodec", "torchcodec on an NVIDIA GPU; its pixels differ from the CPU's"),
    "auto": Package("av", "extract", "nvdec for files that the GPU decodes, pyav for the others"),
}


def get_decoder(name: str) -> Decoder:
    """A decoder that raises only `VideoError` or `OSError` for a file, for any error of its library.

    Raises `ExtractError` for an unknown name, or one whose package is not installed.
    """
    if name not in TABLE:
        raise ExtractError(f"no decoder is called {name!r}{there_are(name, TABLE)}")
    with needs(
        lambda _: ExtractError(
            f"decoder {name} needs the package {PACKAGES[name].package}: python -m pip install 'longtake[{PACKAGES[name].extra}]'"
        )
    ):
        found = Guarded(resolve_name(TABLE[name])())
    return found
