"""Real files: a corrupt one, two picture streams, rotation, 10 bits, AV1, an old AVI. Skipped where the files are missing."""

import math

from longtake.features.store import open_store
from longtake.features.types import FAILED, OK
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
