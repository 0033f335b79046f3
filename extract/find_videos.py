"""Where a run finds its videos: the table of a dataset, the files of its rows, and the default folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from longtake.extract.errors import ExtractError, VideoError, VideoMissing
from longtake.files import require_regular
from longtake.manifests.table import Manifest, ManifestRow, composed, find_manifest, read_manifest

SIDECARS = (
    ".txt", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".toml", ".md", ".log", ".nfo", ".html", ".pdf", ".description",
    ".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".svg", ".thm",
    ".srt", ".vtt", ".ass", ".ssa", ".sub", ".idx", ".sbv", ".lrc", ".ttml", ".smi",
    ".npy", ".npz", ".h5", ".hdf5", ".pkl", ".pt", ".pth", ".mat", ".md5", ".sha256", ".part", ".tmp", ".bak",
)  # fmt: skip
"""Endings of files that stand for no video: texts, pictures, subtitles, arrays, checksums, and what is not finished."""


BYTES_PER_SECOND = 500_000
"""Of a typical video. It matters only in a table where some rows have an end and others have none."""


def index_by_stem(folder: Path) -> dict[str, list[str]]:
    """File names of a folder by their stem, with its accents composed; read once for all rows."""
    found: dict[str, list[str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file() and not entry.name.startswith("."):
                # Names are UTF-8, also where the locale takes them for something else.
                name = os.fsencode(entry.name).decode(errors="surrogateescape")
                found.setdefault(composed(Path(name).stem), []).append(entry.name)
    return found


def videos_in(folder: Path) -> list[Path]:
    """The videos of a folder by their names, in order, without those of its subfolders."""
    names = sorted(name for same in index_by_stem(folder).values() for name in same)
    return [folder / name for name in names if not _is_sidecar(name)]


def find_video(row: ManifestRow, folder: Path, stems: Mapping[str, list[str]]) -> Path:
    """The row's own path, or the one video of that stem. Raises `VideoMissing`, and `OSError` for what is not a file."""
    if row.path is not None:
        path = folder / row.path
        if not path.exists():
            raise VideoMissing(f"no file {path}")
        return require_regular(path)
    names = _named(row.video_id, stems)
    # Text or pictures of the same name, as many tools write them next to a video, are no second video.
    videos = [name for name in names if not _is_sidecar(name)]
    if len(videos) == 1:
        return folder / videos[0]
    if videos:
        raise VideoMissing(f"{folder} holds {', '.join(videos)}: name one of them in the manifest's column path")
    if names:
        raise VideoMissing(
            f"{folder} holds {', '.join(names)}, which are not videos by their ending, and no other file of that name"
        )
    raise VideoMissing(f"{folder} holds no file {row.video_id}.*")


def known_seconds(row: ManifestRow, folder: Path, stems: Mapping[str, list[str]]) -> float:
    """Length of a video before its file is opened: the manifest's span, else by the size of the file; 0 where there is none."""
    try:
        size = find_video(row, folder, stems).stat().st_size
    except (VideoError, OSError):
        return 0.0
    end = size / BYTES_PER_SECOND if row.end_seconds is None else row.end_seconds
    return max(end - (row.start_seconds or 0.0), 0.0)


def _named(video_id: str, stems: Mapping[str, list[str]]) -> list[str]:
    """File names whose stem is the id, or else the file whose whole name it is: many tables write the ending too."""
    name = composed(video_id)
    whole = [file for file in stems.get(composed(Path(video_id).stem), []) if composed(file) == name]
    names = sorted(stems.get(name, []))
    # Next to `a.mp4`, the file `a.mp4.md5` has the stem `a.mp4`.
    return whole if all(map(_is_sidecar, names)) and whole else names


def _is_sidecar(name: str) -> bool:
    return name.lower().endswith(SIDECARS)


def require_videos(manifest: Manifest, folder: Path) -> dict[str, list[str]]:
    """The folder's files by stem. Raises `ExtractError` when none of the videos is in it; the message says where to put them."""
    advice = manifest.card.where_videos if manifest.card else "Name their folder with --videos DIR."
    if not folder.is_dir():
        raise ExtractError(f"no folder {folder} with the videos of {manifest.name}. {advice}")
    stems = index_by_stem(folder)
    if not any((folder / row.path).is_file() if row.path else _named(row.video_id, stems) for row in manifest.rows):
        raise ExtractError(
            f"none of the {len(manifest.rows)} videos of {manifest.name} is in the folder {str(folder)!r}. {advice}"
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
