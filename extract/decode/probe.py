"""Read what a file holds, without decoding its pictures: PyAV's probe, which all decoders share."""

from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.container import InputContainer

from longtake.extract.decode.base import FRAMES, PACKETS, RATE, VideoInfo
from longtake.extract.decode.clock import Shown, origin_of, require_clock, timeline_of
from longtake.extract.decode.damage import Damage
from longtake.extract.decode.encrypted import is_encrypted
from longtake.extract.decode.joined import late_picture_streams
from longtake.extract.decode.orientation import UPRIGHT, Orientation, orientation_of
from longtake.extract.decode.promise import promise_of
from longtake.extract.decode.streams import (
    covers,
    joined_recordings,
    open_media,
    packets_of,
    picture_stream,
    sound_stream,
)
from longtake.extract.decode.structure import lacks_index, parts_of
from longtake.extract.decode.whole import Ending
from longtake.extract.errors import VideoMissing, VideoTruncated, VideoUnreadable
from longtake.files import require_regular

HIGH_RANGE = {16: "PQ", 18: "HLG"}
"""Transfer characteristics by their numbers in ITU-T H.273."""
MOST_ASPECT = 8
"""Pixels that are wider or higher than this are damage, not a shape."""
UNTIMED_CONTAINERS = ("avi",)
"""They store when a picture is decoded, not when it is shown. FFmpeg guesses the latter, differently for packets and frames, so the two
are not compared."""
STORED_DURATIONS = ("mov,mp4,m4a,3gp,3g2,mj2",)
"""Containers that store how long each picture lasts; for others FFmpeg guesses."""
_CLOCK_MAY_JUMP = 0x200
"""FFmpeg's AVFMT_TS_DISCONT."""


def probe(path: Path, exact: bool) -> VideoInfo:
    """See `longtake.extract.decode.base.Decoder.probe`."""
    if not path.exists():
        raise VideoMissing(f"no file {path}")
    if is_encrypted(require_regular(path)):
        raise VideoUnreadable(f"{path.name} is encrypted: its pictures cannot be read without the key")
    try:
        with open_media(path) as container:
            info = _read(container, path, exact)
        if info is None:
            with open_media(path) as container:
                info = _read(container, path, exact=True)
    except av.error.FFmpegError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise OSError(error.errno, error.strerror, str(path)) from error
        if lacks_index(path):
            raise VideoTruncated(
                f"{path.name} is cut off: its index (moov) is missing, as in a recording or copy that did not end. Copy it again; tools such as "
                f"untrunc make an index from another recording of the same camera"
            ) from error
        raise VideoUnreadable(f"{path.name}: {error.strerror} (is it a video, and whole?)") from error
    assert info is not None, "an exact probe always has a result"
    return info


def _read(container: InputContainer, path: Path, exact: bool) -> VideoInfo | None:
    """None if packets are marked as corrupt, so that `exact` is needed."""
    stream, audio = _require_pictures(container, path), sound_stream(container, path)
    # PyAV 17 crashes where it is asked for the format of a stream that has none.
    known = stream.codec_context.format
    orientation, first_format = UPRIGHT, known.name if known else None
    packets, stored, frames, damage = Shown(), Shown(), Shown(), Damage()
    kind, num_packets = container.format.name, 0
    # Damaged pictures depend on the number of threads.
    stream.codec_context.thread_count = 1
    for packet in packets_of(container, path, stream):
        if packet.size:
            # Packets that an edit list discards are in the file, but never shown.
            num_packets += 1
            if packet.is_corrupt and not exact:
                return None
            stored.add(packet, stream.time_base, timed=False)
            if not packet.is_discard:
                packets.add(packet, stream.time_base, timed=kind not in UNTIMED_CONTAINERS)
        if exact or num_packets == 1:
            for frame in damage.decode(packet):
                if not frames.seconds:
                    orientation, first_format = orientation_of(frame), frame.format.name
                frames.add(frame, stream.time_base)
    if not exact and orientation == UPRIGHT:
        orientation = _orientation_of_first(path, stream.index)
    same = exact and kind in UNTIMED_CONTAINERS and len(frames.seconds) == len(packets.seconds)
    shown = frames if exact and not same else packets
    if not shown.seconds:
        raise VideoUnreadable(f"{path.name} has a picture stream without a picture")
    may_jump = bool(container.format.flags & _CLOCK_MAY_JUMP)
    if kind not in UNTIMED_CONTAINERS:
        require_clock(path, shown, back=exact, ahead=may_jump)
    if may_jump:
        # A second recording of another codec gives packets, but no frames.
        require_clock(path, stored, back=True, ahead=False)
    rate = float(stream.average_rate or 25)
    if kind == "mpegts" and late_picture_streams(path, {one.id for one in container.streams}):
        raise joined_recordings(path)
    parts = parts_of(path, kind, stream.index)
    if num_packets < (parts.num_pictures or 0):
        raise VideoUnreadable(
            f"{path.name}: its index names {num_packets} of the {parts.num_pictures} pictures that are there; repair it with "
            f"ffmpeg -fflags +ignidx -i {path.name} -c copy repaired.avi"
        )
    if parts.second_file:
        raise VideoUnreadable(
            f"{path.name}: another file begins at byte {parts.second_file}, and no player shows it: the files were joined byte by byte. Take "
            f"the originals, or join them with ffmpeg -f concat"
        )
    last_seconds, own, gap = packets.last(rate)
    promise = promise_of(container, stream, path, packets.begin, last_seconds + max(own, gap), parts)
    ending = Ending(
        parts=parts,
        num_bytes=path.stat().st_size,
        index_end=max((entry.pos + entry.size for entry in stream.index_entries), default=0)
        if kind in STORED_DURATIONS
        else 0,
        last_seconds=last_seconds,
        own_seconds=own,
        gap_seconds=gap,
        given_seconds=_given(packets, last_seconds) if kind in STORED_DURATIONS else None,
        promised_seconds=promise.end_seconds,
        reached_seconds=promise.reached_seconds,
    )
    _require_whole(path, ending, num_packets, stream.frames, packets.begin)
    origin = origin_of(shown, None if container.start_time is None else container.start_time / av.time_base)
    # The last pictures may be lost: the one before them stays.
    stays = ending.stays_seconds + (last_seconds - shown.last(rate)[0])
    width, height = orientation.shown(stream.width, stream.height)
    return VideoInfo(
        path=path,
        container=kind,
        codec=stream.codec_context.name,
        pixel_format=str(first_format),
        width=width,
        height=height,
        orientation=orientation,
        pixel_aspect=_pixel_aspect(stream, orientation),
        transfer=HIGH_RANGE.get(stream.codec_context.color_trc, "SDR"),
        timeline=timeline_of(path, shown, rate, origin, stays),
        times_from=FRAMES if exact else RATE if kind in UNTIMED_CONTAINERS or None in shown.seconds else PACKETS,
        origin_seconds=origin,
        num_frames_from_header=stream.frames or None,
        duration_seconds_from_header=promise.header_seconds,
        num_video_streams=len(container.streams.video),
        stream_index=stream.index,
        audio=f"{audio.codec_context.name} {audio.rate} Hz {audio.layout.name}" if audio else "",
        damaged_seconds=damage.by_clock(origin, rate) if exact else None,
    )


def _require_pictures(container: InputContainer, path: Path) -> av.VideoStream:
    skipped = covers(container, path)
    stream = picture_stream(container, path, skipped)
    if stream is None:
        kinds = ["a cover" if stream.index in skipped else stream.type for stream in container.streams]
        raise VideoUnreadable(f"{path.name} has no picture stream; it holds {', '.join(kinds) or 'nothing'}")
    if stream.codec_context is None:
        raise VideoUnreadable(f"{path.name}: FFmpeg has no decoder for its pictures; convert the file, say to H.264")
    return stream


def _require_whole(path: Path, ending: Ending, num_packets: int, num_from_header: int, begin: float) -> None:
    missing = ending.missing
    if missing:
        # The header of a file of fragments counts only the first of them.
        counted = (
            f"{num_packets} of {num_from_header} pictures"
            if num_from_header >= num_packets
            else f"{num_packets} pictures"
        )
        end = ending.end_seconds - begin
        raise VideoTruncated(f"{path.name} is cut off: {missing}. {counted} are there, which end at {end:.2f} s")


def _given(packets: Shown, last_seconds: float) -> float:
    """Duration of the last picture as the container stores it. Durations are those between packets in their own order; where that is not
    the order of showing, only their sum says when the last picture ends."""
    if packets.seconds[-1] == last_seconds:
        return packets.durations[-1]
    return packets.begin + sum(packets.durations) - last_seconds


def _pixel_aspect(stream: av.VideoStream, orientation: Orientation) -> Fraction:
    stored = stream.sample_aspect_ratio or Fraction(1)
    if not 1 / MOST_ASPECT <= stored <= MOST_ASPECT:
        return Fraction(1)
    return 1 / stored if orientation.quarter_turns % 2 else Fraction(stored)


def _orientation_of_first(path: Path, stream_index: int) -> Orientation:
    """Orientation of the first decoded picture: a codec with delay returns none for the first packet."""
    with open_media(path) as container:
        damage = Damage()
        for packet in container.demux(container.streams[stream_index]):
            for frame in damage.decode(packet):
                return orientation_of(frame)
    return UPRIGHT
