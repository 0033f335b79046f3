"""Open a file, and say which of its streams can be used: those with content, not those that the file only mentions."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Stream

from longtake.extract.decode.killable import report_alive
from longtake.extract.errors import VideoUnreadable
from longtake.files import require_regular

# FFmpeg's threads must not call back into Python: the callback would wait for the interpreter lock while the thread that holds it waits
# for FFmpeg, a deadlock. So FFmpeg keeps its own callback, silenced; failure rows say what matters.
av.logging.restore_default_callback()
av.logging.set_libav_level(av.logging.PANIC)

_ANY_TITLES = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
STILL_CODECS = ("mjpeg", "png", "bmp", "gif", "tiff", "webp")
"""Covers are pictures of these. Some muxers do not mark them as covers."""


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
NO_VIDEOS = {
    b"<!doctype html": "a web page, as a failed download leaves it: download the video again",
    b"<html": "a web page, as a failed download leaves it: download the video again",
    b"version https://git-lfs": "a pointer of Git LFS, not the video: run git lfs pull",
}
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
    if not head and not path.stat().st_size:
        raise VideoUnreadable(f"{path.name} is empty: it has 0 bytes")
    for begin, what in NO_VIDEOS.items():
        if head.lower().startswith(begin):
            raise VideoUnreadable(f"{path.name} is {what}")
    if head.startswith(PLAYLISTS) or (head.startswith(b"<") and any(word in head.lower() for word in XML_PLAYLISTS)):
        raise VideoUnreadable(f"{path.name} is a playlist, not a video: name the files that it lists")
    # PyAV 19 reads titles in any encoding; earlier versions need an option.
    return av.open(file_url(path), options=_OPTIONS, **_ANY_TITLES)


def picture_stream(container: InputContainer, path: Path, skipped: Collection[int] = ()) -> av.VideoStream | None:
    """Of the streams that are not `skipped`, such as covers: FFmpeg's best picture stream, which is the largest, unless it is skipped or has no pictures; then the largest of the others."""
    best = container.streams.best("video")
    streams = sorted(container.streams.video, key=lambda stream: (stream is not best, -_num_pixels(stream)))
    usable = [stream for stream in streams if stream.index not in skipped]
    if len(usable) > 1:
        filled = _with_packets(path, {stream.index for stream in usable}, usable[0].index)
        usable = [stream for stream in usable if stream.index in filled] or usable
    return usable[0] if usable else None


def sound_stream(container: InputContainer, path: Path) -> av.AudioStream | None:
    """The first sound stream that can be decoded and has packets. Recorders list streams that never came."""
    known = [stream for stream in container.streams.audio if stream.codec_context is not None]
    if not known:
        return None
    filled = _with_packets(path, {stream.index for stream in known}, known[0].index)
    return next((stream for stream in known if stream.index in filled), None)


def _with_packets(path: Path, wanted: set[int], first: int) -> set[int]:
    """Which of the wanted streams have packets. Looks no further than the first packet of `first`; without one, reads the file once."""
    filled = set[int]()
    with open_media(path) as container:
        for packet in packets_of(container, path, *(container.streams[index] for index in sorted(wanted))):
            if packet.size:
                filled.add(packet.stream.index)
                if packet.stream.index == first:
                    break
    return filled


def covers(container: InputContainer, path: Path) -> set[int]:
    """Indices of the streams that are the picture on a record's sleeve: marked so, or a single still picture next to sound. The file is read at
    most once, also with many such streams, and only until each has a second picture."""
    marked = {s.index for s in container.streams.video if s.disposition & av.stream.Disposition.attached_pic}
    if not container.streams.audio:
        return marked
    stills = {
        stream.index: 0
        for stream in container.streams.video
        if stream.index not in marked and stream.codec_context and stream.codec_context.name in STILL_CODECS
    }
    if stills:
        with open_media(path) as again:
            for packet in packets_of(again, path, *(again.streams[index] for index in stills)):
                stills[packet.stream.index] += packet.size > 0
                if min(stills.values()) > 1:
                    break
    return marked | {index for index, count in stills.items() if count == 1}


def packets_of(container: InputContainer, path: Path, *streams: Stream) -> Iterator[av.Packet]:
    """The packets of these streams. Raises `VideoUnreadable` for joined recordings, of which the second has other streams."""
    try:
        for packet in container.demux(*streams):
            report_alive()
            yield packet
    except IndexError:
        # PyAV 17 and 18 do not know streams that begin inside a file.
        raise joined_recordings(path) from None


def joined_recordings(path: Path) -> VideoUnreadable:
    return VideoUnreadable(
        f"{path.name}: another stream begins inside the file, as in joined recordings; convert it with ffmpeg, or cut it there"
    )


def _num_pixels(stream: av.VideoStream) -> int:
    return stream.width * stream.height if stream.codec_context else 0
