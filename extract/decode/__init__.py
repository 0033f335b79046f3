"""Decoders by name. Adding one: a module, and a line in the table; `longtake.extract.decode.base` says what a decoder is."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from longtake.errors import there_are
from longtake.extract.decode.base import Decoder
from longtake.extract.decode.guarded import Guarded
from longtake.extract.errors import ExtractError

TABLE: dict[str, str] = {
    "pyav": "longtake.extract.decode.pyav:PyAVDecoder",
    "decord": "longtake.extract.decode.decord:DecordDecoder",
    "torchcodec": "longtake.extract.decode.torchcodec:TorchCodecDecoder",
    "nvdec": "longtake.extract.decode.torchcodec:NVDECDecoder",
    "auto": "longtake.extract.decode.auto:AutoDecoder",
}
"""Name -> class. Its module may import the decoder's package; nothing else does."""


@dataclass(frozen=True)
class Package:
    """Where a decoder comes from."""

    package: str
    extra: str
    """Of setup.cfg: `pip install 'longtake[EXTRA]'` installs the package."""
    about: str


PACKAGES: dict[str, Package] = {
    "pyav": Package("av", "extract", "FFmpeg's libraries, which it brings; right on every container that was tried"),
    "decord": Package(
        "decord", "decord", "H.264, HEVC, VP9, MPEG-4 of 8 bits; refuses what it gets wrong; unmaintained"
    ),
    "torchcodec": Package("torchcodec", "torchcodec", "with FFmpeg's libraries of this machine; no AVI, no MPEG-TS"),
    "nvdec": Package("torchcodec", "torchcodec", "torchcodec on an NVIDIA GPU; other pixels than the processor's"),
    "auto": Package("av", "extract", "for each file nvdec, where there is a GPU and it decodes such files, else pyav"),
}


def get_decoder(name: str) -> Decoder:
    """It raises `VideoError` or `OSError` for a file, whatever its library raises.

    Raises `ExtractError` for an unknown name, or one whose package is not installed.
    """
    if name not in TABLE:
        raise ExtractError(f"no decoder is called {name!r}{there_are(name, TABLE)}")
    module, _, attribute = TABLE[name].partition(":")
    try:
        return Guarded(getattr(import_module(module), attribute)())
    except ModuleNotFoundError as error:
        needs = PACKAGES[name]
        raise ExtractError(
            f"decoder {name} needs the package {needs.package}: python -m pip install 'longtake[{needs.extra}]'"
        ) from error
