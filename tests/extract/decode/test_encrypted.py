"""Encrypted files say so, in every container that knows encryption."""

from __future__ import annotations

import av
import pytest

from longtake.extract.decode.encrypted import ASF_ENCRYPTION, is_encrypted
from longtake.extract.errors import VideoUnreadable
from tests.extract.media import PYAV, WIDTH, numbered_picture, write_video


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4"])
@pytest.mark.parametrize("flags", ["", "faststart", "frag_keyframe+empty_moov"])
def test_mp4(tmp_path, codec, flags):
    path = tmp_path / "a.mp4"
    options = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "01" * 16, "encryption_kid": "02" * 16}
    if flags:
        options["movflags"] = flags
    try:
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = WIDTH, 160, "yuv420p"
            for number in range(3):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_picture(number), "rgb24")))
            container.mux(stream.encode(None))
    except av.error.FFmpegError as error:
        pytest.skip(f"this FFmpeg does not encrypt it: {error}")
    with pytest.raises(VideoUnreadable, match="a.mp4 is encrypted"):
        PYAV.probe(path)


def element(name: str, content: bytes) -> bytes:
    return bytes.fromhex(name) + (len(content) | 1 << 56).to_bytes(8) + content


def test_matroska(tmp_path):
    path = tmp_path / "a.webm"
    for encryption, expected in ((element("5035", b"\x00"), True), (element("5034", b"\x00"), False)):
        track = element("d7", b"\x01") + element("6d80", element("6240", encryption))
        tracks = element("1654ae6b", element("ae", element("d7", b"\x02")) + element("ae", track))
        path.write_bytes(element("1a45dfa3", b"webm") + element("18538067", element("ec", bytes(50)) + tracks))
        assert is_encrypted(path) is expected
    with pytest.raises(VideoUnreadable):
        PYAV.probe(path)
    assert not is_encrypted(write_video(tmp_path / "plain.mkv", 5))


def test_transport_streams(tmp_path):
    path = write_video(tmp_path / "a.ts", 50)
    whole = path.read_bytes()
    data = bytearray(whole)
    assert not is_encrypted(path)
    for at in range(0, len(data), 188):
        if (data[at + 1] & 0x1F, data[at + 2]) == (1, 0):  # the stream of pictures
            data[at + 3] |= 0x80
    other = b"".join(
        whole[at : at + 188] + (bytes((0x47, 5, 0, 0x90)) + bytes(184)) * (at % 5 == 0)
        for at in range(0, len(whole), 188)
    )
    (tmp_path / "many.ts").write_bytes(other)
    assert not is_encrypted(tmp_path / "many.ts"), "an encrypted programme next to one that is not"
    path.write_bytes(data)
    with pytest.raises(VideoUnreadable, match="a.ts is encrypted"):
        PYAV.probe(path)


def test_asf_and_files_of_other_kinds(tmp_path):
    path = write_video(tmp_path / "a.asf", 5, codec="mpeg4")
    assert not is_encrypted(path)
    path.write_bytes(path.read_bytes() + ASF_ENCRYPTION[0])
    assert is_encrypted(path)
    for name, content in (
        ("a", b""),
        ("b", b"ftyp"),
        ("c", b"\x00\x00\x00\x00ftyp" * 3),
        ("d", b"\x1aE\xdf\xa3\xff"),
        ("e", b"\x47" * 300),
    ):
        (tmp_path / name).write_bytes(content)
        assert not is_encrypted(tmp_path / name)


def test_headers_that_lead_nowhere_end(tmp_path):
    """Boxes in a circle, or without end, are read a bounded number of times."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"\x00\x00\x00\x08ftyp" + b"\x00\x00\x00\x08moov" * 30_000)
    assert not is_encrypted(path)
    path.write_bytes(b"\x1aE\xdf\xa3\x80" + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" * 30_000)
    assert not is_encrypted(path)
