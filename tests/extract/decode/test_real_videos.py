"""Real files: a corrupt one, two picture streams, rotation, 10 bits, AV1, an old AVI. Skipped where the files are missing."""

import math

import pytest

from longtake.extract.decode.damage import num_damaged
from longtake.extract.decode.sound import read_sound
from longtake.extract.errors import SoundMissing, VideoDamaged, VideoTruncated, VideoUnreadable
from longtake.features.store import open_store
from longtake.features.types import FAILED, OK
from tests.extract.media import PYAV
from tests.extract.runs import extract

FRAMES = {
    "av1_video": 125,
    "bigbuckbunny": 132,
    "carphone_pristine": 120,
    "h264_10bits": 30,
    "h265_10bits": 30,
    "nasa_13013": 390,
    "test": 164,
    "video_0": 3,
    "video_90": 3,
}
"""By `ffprobe -v error -count_frames -select_streams v -show_entries stream=nb_read_frames FILE`; of nasa's two streams, 325
and 390 frames, the larger picture's."""


def test_clips_of_real_files(shared, tmp_path, numbers_backbone):
    lines = ["video_id,split,score_quality", "corrupted,train,5", *(f"{name},train,5" for name in FRAMES)]
    (tmp_path / "small.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "videos").symlink_to(shared / "videos")
    done = extract(tmp_path, "--workers", "2", status=1)
    assert "failed: corrupted (decode)" in done.output and "9 new" in done.output
    with open_store(tmp_path / "small.h5") as store:
        stream = store.stream()
        clips = {
            record.video_id: (record.status, int(stream.offsets[row + 1] - stream.offsets[row]))
            for row, record in enumerate(stream.records)
        }
    assert clips.pop("corrupted") == (FAILED, 0)
    assert clips == {name: (OK, math.ceil(frames / 4)) for name, frames in FRAMES.items()}


@pytest.mark.parametrize(
    "name, frames, begin, end",
    [
        ("last-picture-stays/nulls.avi", 75, 0.0, 5.0),
        ("last-picture-stays/stays.mkv", 50, 0.0, 5.96),
        ("last-picture-stays/stays.mp4", 50, 0.0, 5.96),
        ("mkv-clock/lt5.mkv", 300, 0.0, 12.0),
        ("mkv-clock/mmcut3.mkv", 87, 2.514, 5.994),
        ("vfr-end/slides.mp4", 3, 0.0, 2.16),
        ("pictures-begin-late/latev.mkv", 100, 2.023, 6.023),
    ],
)
def test_files_of_editors_and_recorders(shared, name, frames, begin, end):
    """Counts and times by ffprobe; mmcut3's container begins at 0.009 s."""
    timeline = PYAV.probe(shared / "cases" / "video" / name).timeline
    assert (len(timeline), timeline.seconds[0], timeline.end_seconds) == (
        frames,
        pytest.approx(begin, abs=1e-6),
        pytest.approx(end, abs=1e-6),
    )


@pytest.mark.parametrize(
    "name, error, said",
    [
        ("mkv-clock/lt5_70.mkv", VideoTruncated, "cut off: .*200 pictures are there, which end at 8.00 s"),
        (
            "clock-jumps-forward/jumpfwd30.ts",
            VideoUnreadable,
            "its clock jumps ahead at frame 100, from 3.96 to 30.00 s",
        ),
        ("cover-art/song.mka", VideoUnreadable, "no picture stream; it holds audio, a cover"),
        ("cover-art/song.m4a", VideoUnreadable, "no picture stream; it holds audio, a cover"),
    ],
)
def test_files_that_are_refused(shared, name, error, said):
    with pytest.raises(error, match=said):
        PYAV.probe(shared / "cases" / "video" / name)


@pytest.mark.parametrize("name", ["emptyaud.mkv", "ea1.ts"])
def test_listed_sound_that_is_not_there(shared, name):
    with pytest.raises(SoundMissing, match="a sound stream without sound"):
        list(read_sound(PYAV.probe(shared / "cases" / "video" / "empty-sound" / name), [(0, 1)], 16_000))


def test_a_file_with_changed_bytes(shared):
    info = PYAV.probe(shared / "cases" / "video" / "damaged-pictures" / "dam.mp4", exact=True)
    with pytest.raises(VideoDamaged, match="64 of 100 pictures are damaged or lost, the first at 1.44 s"):
        num_damaged(info, None, None)
