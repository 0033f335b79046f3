"""What a run knows of each video: its row before it is read, its row after a failure, and its result once it is stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from longtake.errors import printable
from longtake.extract.errors import DecoderFailed, VideoError
from longtake.features.types import FAILED, VideoRecord
from longtake.manifests.table import ManifestRow

MAX_MESSAGE = 500
"""Characters of an error message that a row keeps."""


@dataclass(frozen=True)
class VideoResult:
    """A video whose part is on disk."""

    video_id: str
    num_clips: int
    """Over all backbones."""
    num_values: int
    """Clips times their width, over all backbones."""
    failure: VideoRecord | None
    remark: str = ""
    """Something about the file that the user may want to check."""
    warnings: tuple[str, ...] = ()
    """What many files may have; each is printed once a run."""


def source_of(row: ManifestRow) -> tuple[tuple[float | None, float | None], str]:
    """The seconds and the file name that a row asks for; the name is empty where it is not known before the file is found."""
    return (row.start_seconds, row.end_seconds), printable(Path(row.path).name) if row.path else ""


def unread_record(row: ManifestRow) -> VideoRecord:
    """The row of a video before its file is opened."""
    span, name = source_of(row)
    start, end = (float("nan") if value is None else value for value in span)
    return VideoRecord(row.video_id, source_name=name, span_start_seconds=start, span_end_seconds=end)


def failed_with(record: VideoRecord, error: VideoError | OSError) -> VideoRecord:
    """The row of a video that ended with an error."""
    stage = error.stage if isinstance(error, VideoError) else VideoError.stage
    kind = error.kind if isinstance(error, DecoderFailed) else type(error).__name__
    return failed_record(record, stage, kind, str(error))


def failed_record(record: VideoRecord, stage: str, kind: str, message: str) -> VideoRecord:
    """The row of a video without features; the message is cut and made printable."""
    return replace(
        record, status=FAILED, error_stage=stage, error_type=kind, error_message=printable(message)[:MAX_MESSAGE]
    )
