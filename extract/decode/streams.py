"""Open a file, and say which of its streams can be used."""

from __future__ import annotations

from pathlib import Path

import av
from av.container import InputContainer

# FFmpeg's threads must not call back into Python: the callback would wait for the interpreter lock while the thread that holds it waits
# for FFmpeg, a deadlock. So FFmpeg keeps its own callback, silenced; failure rows say what matters.
av.logging.restore_default_callback()
av.logging.set_libav_level(av.logging.PANIC)

_ANY_TITLES = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}


def open_media(path: Path) -> InputContainer:
    """Open a file with titles in any encoding. PyAV 19 reads them all; earlier versions need an option."""
    return av.open(str(path), **_ANY_TITLES)


def sound_stream(container: InputContainer) -> av.AudioStream | None:
    """The first sound stream that can be decoded."""
    return next((stream for stream in container.streams.audio if stream.codec_context is not None), None)
