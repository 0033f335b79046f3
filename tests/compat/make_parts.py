"""Make the fixture parts/: a store that is being filled, with the parts of the releases that wrote one HDF5 file per video.

Run this only with the code of commit a74723e or before, which writes such parts:

    python -m tests.compat.make_parts

The parts are of one video of two backbones, of a failed video, and of an import of several videos. The test compares what a later release packs
with `expected.json`. All data is SIMULATED: noise.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import write_store
from longtake.features.types import FAILED, FeatureHeader, VideoFeatures, VideoRecord, sha256_of

FOLDER = Path(__file__).parent / "parts"
IDS = ("a", "b", "c", "d", "e", "f")


def header(backbone: str, modality: str, dim: int) -> FeatureHeader:
    return FeatureHeader(
        backbone, modality, dim, "simulated", None, False, 16, 16, "pad", 6.25, {"note": "SIMULATED"}, "none"
    )


VIDEO, SOUND, IMPORTED = header("planted", "video", 6), header("sound", "audio", 3), header("imported", "video", 4)
LABELS = Labels(
    IDS, ("train", "test") * 3, ("Ball",) * 6, ("total", "artistry"), np.arange(12.0).reshape(6, 2),
    np.array([[1.0, 2.0]] * 5 + [[np.nan, np.nan]]), {"skater": ("s", "t") * 3},
)  # fmt: skip


def made(video_id: str, head: FeatureHeader) -> VideoFeatures:
    rng = np.random.default_rng(IDS.index(video_id) + head.dim)
    table, times = rng.normal(size=(5, head.dim)).astype(np.float32), np.arange(5.0)
    about = VideoRecord(
        video_id, source_name=f"{video_id}.mp4", source_sha256="ab" * 32, duration_seconds=5.0, fps=25.0,
        finished_utc="2026-11-30T00:00:00+00:00", decoder="simulated", damaged_frames=1.0, pixel_aspect=1.0, transfer="SDR",
    )  # fmt: skip
    return VideoFeatures(about, table, times, times + 1)


def main() -> None:
    # Names of that commit.
    from longtake.features.parts import pack, parts_folder, write_part

    if (FOLDER / "store.tar.xz").exists():
        sys.exit(f"{FOLDER} exists: it is made once, by code that wrote such parts")
    FOLDER.mkdir(exist_ok=True)
    failed = VideoRecord("c", FAILED, "decode", "InvalidDataError", "SIMULATED failure", source_name="c.mp4")
    with TemporaryDirectory() as folder:
        store = Path(folder) / "s.h5"
        one = {head: made("a", head) for head in (VIDEO, SOUND)}
        write_part(store, "d", LABELS.subset([0]), one)
        pack(store, dataset="d", card=None, labels=LABELS.subset([0, 1, 2]))
        write_part(store, "d", LABELS.subset([1]), {head: made("b", head) for head in (VIDEO, SOUND)})
        failures = {head: VideoFeatures.failure(failed, head.dim) for head in (VIDEO, SOUND)}
        write_part(store, "d", LABELS.subset([2]), failures)
        several = [made(name, IMPORTED) for name in "ade"]
        plan = StreamPlan(IMPORTED, np.dtype(np.float32), [StreamItem.of(one) for one in several])
        write_store(
            parts_folder(store) / f"import@{IMPORTED.recipe_id}.h5", dataset="d", card=None, labels=LABELS, streams=[plan],
            named_axes=False,
        )  # fmt: skip
        shutil.make_archive(str(FOLDER / "store"), "xztar", folder)
    found = {
        head.stream_name: {name: sha256_of(made(name, head).features) for name in names}
        for head, names in ((VIDEO, "ab"), (SOUND, "ab"), (IMPORTED, "ade"))
    }
    (FOLDER / "expected.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
