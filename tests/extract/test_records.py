"""The rows of videos without features."""

import math

import pytest

from longtake.extract.errors import DecoderFailed, SoundMissing, VideoTruncated
from longtake.extract.records import MAX_MESSAGE, failed_record, failed_with, unread_record
from longtake.manifests.table import ManifestRow


def test_a_video_before_it_is_read():
    record = unread_record(ManifestRow("a", path="folder/a\x1b.mp4", start_seconds=2.0))
    assert (record.video_id, record.source_name, record.span_start_seconds) == ("a", "a .mp4", 2.0)
    assert math.isnan(record.span_end_seconds)


@pytest.mark.parametrize(
    "error, stage, kind",
    [
        (VideoTruncated("short"), "decode", "VideoTruncated"),
        (SoundMissing("mute"), "sound", "SoundMissing"),
        (DecoderFailed("broken", "KeyError", "find"), "find", "KeyError"),
        (PermissionError(13, "not allowed"), "decode", "PermissionError"),
    ],
)
def test_an_error_names_its_stage_and_type(error, stage, kind):
    record = failed_with(unread_record(ManifestRow("a")), error)
    assert (record.status, record.error_stage, record.error_type) == ("failed", stage, kind)
    assert record.error_message == str(error)


def test_a_long_message_is_cut_and_on_one_line():
    record = failed_record(unread_record(ManifestRow("a")), "decode", "E", "line\nline" * 1000)
    assert len(record.error_message) == MAX_MESSAGE and "\n" not in record.error_message
