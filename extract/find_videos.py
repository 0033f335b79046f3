"""Where a run finds its videos: the table of a dataset, the files of its rows, and the default folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import islice
from pathlib import Path

from longtake.collector import paused_collector
from longtake.errors import printable
from longtake.extract.errors import ExtractError, MissingVideo, VideoError, VideoMissing, VideosMissing
from longtake.extract.folders import absent, index_by_stem, stem_of
from longtake.files import require_regular, write_whole
from longtake.manifests.table import Manifest, ManifestRow, composed, find_manifest, read_manifest
from longtake.safe_text import csv_text

SIDECARS = (
    ".txt", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".toml", ".md", ".log", ".nfo", ".html", ".pdf", ".description",
    ".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".svg", ".thm",
    ".srt", ".vtt", ".ass", ".ssa", ".sub", ".idx", ".sbv", ".lrc", ".ttml", ".smi",
    ".npy", ".npz", ".h5", ".hdf5", ".pkl", ".pt", ".pth", ".mat", ".md5", ".sha256", ".part", ".tmp", ".bak",
)  # fmt: skip
"""Endings of files that stand for no video: texts, pictures, subtitles, arrays, checksums, and what is not finished."""
SOUNDS = (".wav", ".mp3", ".m4a", ".mka", ".aac", ".flac", ".opus", ".wma", ".aif", ".aiff", ".ac3", ".oga")
"""Endings of sound without pictures, such as the sound of a video that was saved next to it."""

MOST_NAMED = 10
"""Missing videos that a message names."""
MOST_LOOKED_UP = 10
"""Paths of which one is enough to know that the folder is the right one, before folders are listed."""
BYTES_PER_SECOND = 500_000
"""Of a typical video. It matters only in a table where some rows have an end and others have none."""


def videos_in(folder: Path) -> list[Path]:
    """The videos of a folder by their names, in order, without those of its subfolders."""
    names = sorted(name for same in index_by_stem(folder).values() for name in _without_sound(same))
    return [folder / name for name in names if not _is_sidecar(name)]


def find_video(row: ManifestRow, folder: Path, stems: Mapping[str, list[str]]) -> Path:
    """The row's own path, or the one video of that stem. Raises `VideoMissing`, and `OSError` for what is not a file."""
    if row.path is not None:
        path = folder / row.path
        if not path.exists():
            raise VideoMissing(f"no file {path}")
        return require_regular(path)
    return folder / _only_video(row.video_id, folder, stems)


@paused_collector()
def find_missing(rows: Sequence[ManifestRow], folder: Path, stems: Mapping[str, list[str]]) -> list[MissingVideo]:
    """The rows whose video is not there, or is one of several files. Folders are listed once; no file is opened."""
    without = absent(folder, (row.path for row in rows if row.path is not None))
    missing = []
    for row in rows:
        reason = ""
        if row.path is not None:
            reason = f"no file {folder / row.path}" if row.path in without else ""
        else:
            try:
                _only_video(row.video_id, folder, stems)
            except VideoMissing as error:
                reason = str(error)
        if reason:
            missing.append(MissingVideo(row.video_id, row.path, printable(reason)))
    return missing


def missing_line(missing: Sequence[MissingVideo], num_rows: int) -> str:
    """How many videos are missing, and the first of them with the reason of the first."""
    names = ", ".join(one.video_id for one in missing[:MOST_NAMED])
    more = ", ...; --missing FILE writes them all" if len(missing) > MOST_NAMED else ""
    return f"missing: {len(missing)} of {num_rows} videos: {names}{more} ({missing[0].reason})"


def write_missing(path: Path, missing: Sequence[MissingVideo]) -> None:
    """Write the CSV of `--missing`; without a missing video, it has its header only. Raises `OSError`, and `ExtractError` for a file that is not such
    a table, such as the manifest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [field.name for field in fields(MissingVideo)]
    head = ",".join(columns).encode()
    if path.exists():
        with require_regular(path).open("rb") as file:
            start = file.read(len(head))
        if start not in (head, b""):
            raise ExtractError(
                f"--missing {path}: the file there is not a table of missing videos; choose another name"
            )
    write_whole(path, csv_text(columns, ([one.video_id, one.path or "", one.reason] for one in missing)))


def _only_video(video_id: str, folder: Path, stems: Mapping[str, list[str]]) -> str:
    """The name of the one video of that id. Raises `VideoMissing`."""
    usual = stems.get(composed(video_id), ())
    if len(usual) == 1 and not _is_sidecar(usual[0]):
        return usual[0]
    names = _named(video_id, stems)
    # Text or pictures of the same name, as many tools write them next to a video, are no second video.
    videos = _without_sound([name for name in names if not _is_sidecar(name)])
    if len(videos) == 1:
        return videos[0]
    if videos:
        raise VideoMissing(f"{folder} holds {', '.join(videos)}: name one of them in the manifest's column path")
    if names:
        raise VideoMissing(
            f"{folder} holds {', '.join(names)}, which are not videos by their ending, and no other file of that name"
        )
    raise VideoMissing(f"{folder} holds no file {video_id}.*")


def known_seconds(row: ManifestRow, folder: Path, stems: Mapping[str, list[str]]) -> float:
    """Length of a video before its file is opened: the manifest's span, else by the size of the file; 0 where there is none."""
    if row.end_seconds is not None:
        return row.end_seconds - (row.start_seconds or 0.0)
    try:
        size = find_video(row, folder, stems).stat().st_size
    except (VideoError, OSError):
        return 0.0
    return max(size / BYTES_PER_SECOND - (row.start_seconds or 0.0), 0.0)


def _named(video_id: str, stems: Mapping[str, list[str]]) -> list[str]:
    """File names whose stem is the id, or else the file whose whole name it is: many tables write the ending too."""
    name = composed(video_id)
    names = sorted(stems.get(name, []))
    # Next to `a.mp4`, the file `a.mp4.md5` has the stem `a.mp4`.
    if not all(map(_is_sidecar, names)):
        return names
    return [file for file in stems.get(composed(stem_of(video_id)), []) if composed(file) == name] or names


def _without_sound(names: list[str]) -> list[str]:
    """Of files of one name: those with pictures by their endings; all where there are none."""
    return [name for name in names if not name.lower().endswith((*SOUNDS, *SIDECARS))] or names


def _is_sidecar(name: str) -> bool:
    return name.lower().endswith(SIDECARS)


def require_videos(manifest: Manifest, folder: Path) -> dict[str, list[str]]:
    """The folder's files by stem. Raises `VideosMissing` when none of the videos is in it, `ExtractError` without the folder; the message says where to put them."""
    advice = manifest.card.where_videos if manifest.card else "Name their folder with --videos DIR."
    if not folder.is_dir():
        raise ExtractError(f"no folder {folder} with the videos of {manifest.name}. {advice}")
    stems = index_by_stem(folder)
    paths = [row.path for row in manifest.rows if row.path is not None]
    if not (
        any(row.path is None and _named(row.video_id, stems) for row in manifest.rows)
        or any(not absent(folder, [path]) for path in islice(paths, MOST_LOOKED_UP))
        or len(absent(folder, paths)) < len(set(paths))
    ):
        first = manifest.rows[0].video_id
        if (folder / first).is_dir():
            advice = (
                f"{first} is a folder there, and a video is one file. Of pictures, ffmpeg makes one: "
                f"ffmpeg -framerate 25 -i {first}/%05d.jpg {first}.mp4"
            )
        raise VideosMissing(
            f"none of the {len(manifest.rows)} videos of {manifest.name} is in the folder {str(folder)!r}. {advice}",
            find_missing(manifest.rows, folder, stems),
        )
    return stems


def find_source(dataset: str | None, manifest: Path | None) -> Manifest:
    """The table of videos of a dataset that Longtake knows, or of the user's own CSV. Raises `ExtractError`, `ManifestError`."""
    if dataset is not None and manifest is None:
        return find_manifest(dataset)
    if manifest is not None and dataset is None:
        return read_manifest(manifest)
    raise ExtractError("name the videos with either --dataset NAME or --manifest FILE")


def default_videos(dataset: str) -> Path:
    return Path("videos") / dataset


def default_store(dataset: str) -> Path:
    return Path("features") / f"{dataset}.h5"
