"""Open a file, and say which of its streams can be used."""

from __future__ import annotations

from pathlib import Path

import av
from av.container import InputContainer

from longtake.extract.errors import VideoUnreadable
from longtake.files import require_regular

# FFmpeg's threads must not call back into Python: the callback would wait for the interpreter lock while the thread that holds it waits
# for FFmpeg, a deadlock. So FFmpeg keeps its own callback, silenced; failure rows say what matters.
av.logging.restore_default_callback()
av.logging.set_libav_level(av.logging.PANIC)

_ANY_TITLES = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}


REFUSED_FORMATS = {
    "concat", "dash", "hls", "imf", "image2", "mlv", "vobsub", "webm_dash_manifest",  # refer to other files
    "rtp", "rtsp", "sap", "sdp",  # to addresses
    "avisynth", "lavfi", "vapoursynth",  # are programs
    "alsa", "fbdev", "oss", "video4linux2", "v4l2", "x11grab",  # are devices
    "adf", "bin", "idf", "tty", "xbin",  # show a text as pictures
}  # fmt: skip
"""Names of FFmpeg's formats that are not a file of pictures and sound: what they show is not in the file, which is what is hashed."""
PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"v=0")
XML_PLAYLISTS = (b"<mpd", b"<asx", b"<smil", b"compositionplaylist")
_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": ",".join(sorted(av.formats_available - REFUSED_FORMATS)),
}


def file_url(path: Path) -> str:
    """The file for FFmpeg, for which `concat:a.mp4` or `12:30.mp4` alone would name a protocol."""
    return f"file:{path.absolute()}"


def open_media(path: Path) -> InputContainer:
    """Open a regular file, and no other file or address through it. Raises `VideoUnreadable`, `OSError`, `av.error.FFmpegError`."""
    with require_regular(path).open("rb") as file:
        head = file.read(2048).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(PLAYLISTS) or (head.startswith(b"<") and any(word in head.lower() for word in XML_PLAYLISTS)):
        raise VideoUnreadable(f"{path.name} is a playlist, not a video: name the files that it lists")
    # PyAV 19 reads titles in any encoding; earlier versions need an option.
    return av.open(file_url(path), options=_OPTIONS, **_ANY_TITLES)


def sound_stream(container: InputContainer) -> av.AudioStream | None:
    """The first sound stream that can be decoded."""
    return next((stream for stream in container.streams.audio if stream.codec_context is not None), None)
