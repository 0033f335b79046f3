"""Where a run finds its videos: the table of a dataset, the files of its rows, and the default folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from longtake.extract.errors import ExtractError, VideoMissing
from longtake.manifests.table import Manifest, ManifestRow, composed, find_manifest, read_manifest


def index_by_stem(folder: Path) -> dict[str, list[str]]:
    """File names of a folder by their stem, with its accents composed; read once for all rows."""
    found: dict[str, list[str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file() and not entry.name.startswith("."):
                found.setdefault(composed(Path(entry.name).stem), []).append(entry.name)
    return found


def find_video(row: ManifestRow, folder: Path, stems: Mapping[str, list[str]]) -> Path:
    """The row's own path, or the one file of that stem. Raises `VideoMissing`."""
    if row.path is not None:
        path = folder / row.path
        if not path.is_file():
            raise VideoMissing(f"no file {path}")
        return path
    names = stems.get(composed(row.video_id), [])
    if len(names) == 1:
        return folder / names[0]
    if names:
        raise VideoMissing(f"{folder} holds {', '.join(sorted(names))}: name one of them in the manifest's column path")
    raise VideoMissing(f"{folder} holds no file {row.video_id}.*")


def require_videos(manifest: Manifest, folder: Path) -> dict[str, list[str]]:
    """The folder's files by stem. Raises `ExtractError` when none of the videos is in it; the message says where to put them."""
    advice = manifest.card.where_videos if manifest.card else "Name their folder with --videos DIR."
    if not folder.is_dir():
        raise ExtractError(f"no folder {folder} with the videos of {manifest.name}. {advice}")
    stems = index_by_stem(folder)
    if not any((folder / row.path).is_file() if row.path else composed(row.video_id) in stems for row in manifest.rows):
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
