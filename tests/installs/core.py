"""Run in an environment with the core install only: `train` and `features` work, `extract` says what it lacks.

Not a pytest module: this environment has no pytest, which is part of the proof.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import labels_of
from longtake.features.store import write_store
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord
from longtake.manifests.table import Manifest, ManifestRow

FORBIDDEN = (
    "av",
    "cv2",
    "decord",
    "open_clip",
    "openvino",
    "torchvision",
    "transformers",
    "pytorchvideo",
    "torchcodec",
    "dask",
    "tensorboard",
)


def command(*arguments: str, status: int = 0) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == status, f"{arguments} gave {done.returncode}:\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def make_store(path: Path) -> None:
    rng = np.random.default_rng(0)
    header = FeatureHeader("i3d", "video", 16, "random:0", None, True, 16, 16, "pad", 25.0)
    rows, items = [], []
    for number in range(24):
        score = float(rng.uniform(0, 10))
        split = "train" if number < 16 else "test"
        rows.append(ManifestRow(f"v{number}", split=split, scores={"total": score}))
        table = rng.normal(size=(8, 16)).astype(np.float32) + score
        video = VideoFeatures(VideoRecord(f"v{number}"), table, np.arange(8.0), np.arange(8.0) + 1)
        items.append(StreamItem(video.record, 8, lambda video=video: video))
    labels = labels_of(Manifest("noise", tuple(rows), ("total",)))
    write_store(path, dataset="noise", card=None, labels=labels, streams=[StreamPlan(header, np.dtype("f4"), items)])


def main() -> None:
    there = [name for name in FORBIDDEN if importlib.util.find_spec(name)]
    assert not there, f"the core install brought {', '.join(there)}"
    with tempfile.TemporaryDirectory() as folder:
        store, run = Path(folder) / "noise.h5", Path(folder) / "run"
        make_store(store)
        facts = json.loads(command("features", "info", str(store), "--json"))
        assert facts["streams"][0]["clips"] == 24 * 8
        command("features", "verify", str(store))
        command("features", "convert", str(store), str(Path(folder) / "noise.zarr"))
        command("features", "diff", str(store), str(Path(folder) / "noise.zarr"))
        command("train", "heads", "--features", str(store), "--epochs", "3", "--out", str(run))
        assert (run / "metrics.json").exists() and (run / "epochs.csv").exists()
        command("train", "evaluate", "--run", str(run), "--features", str(store))
        command("train", "report", str(run), "--features", str(store))
        assert "loss over epochs" in (run / "report.html").read_text()
        assert "datasets" in command("extract", "list", "datasets")
        video = Path(folder) / "a.mp4"
        video.write_bytes(b"")
        scoring = ("train", "predict", "--run", str(run), "--video", str(video))
        assert "longtake[extract]" in command(*scoring, status=2)
        assert "longtake[extract]" in command("extract", "probe", str(video), status=2)
        assert "longtake[extract]" in command("extract", "demo", str(Path(folder) / "demo"), status=2)
    print("core: train and features work; extract says what it lacks")


if __name__ == "__main__":
    sys.exit(main())
