"""`features compare`: each difference of features gets the cause that produced it. Features are MADE UP here."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from longtake.features.cli import main
from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import write_store
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord

DIM, FRAMES_PER_CLIP = 64, 8


def moments(seed: int, num_frames: int) -> np.ndarray:
    """What happens in a video, frame by frame: a slow walk, like features after a ReLU, far from zero."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(num_frames, DIM))
    walk = np.cumsum(steps, 0)
    walk -= walk.mean(0)
    return np.maximum(walk / walk.std() + 1.5, 0)


def clips(frames: np.ndarray, length: int = FRAMES_PER_CLIP, start: int = 0) -> np.ndarray:
    frames = frames[start:]
    count = len(frames) // length
    return frames[: count * length].reshape(count, length, DIM).mean(1).astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("compare") / "s.h5"
    items = []
    for number in range(3):
        table = clips(moments(number, 400))
        times = np.arange(len(table), dtype=float)
        video = VideoFeatures(VideoRecord(f"v{number}"), table, times, times + 1)
        items.append(StreamItem(video.record, len(table), lambda video=video: video))
    header = FeatureHeader("made-up", "video", DIM, "none", None, False, 8, 8, "drop", None)
    labels = Labels(("v0", "v1", "v2"), ("train",) * 3, ("",) * 3, ("total",), np.zeros((3, 1)))
    plan = StreamPlan(header, np.dtype("f4"), items)
    write_store(path, dataset="d", card=None, labels=labels, streams=[plan])
    return path


def swapped(table: np.ndarray) -> np.ndarray:
    """The same moments through another first layer: a third of the values is mixed again."""
    rng = np.random.default_rng(1)
    mixed = table.copy()
    mixed[:, : DIM // 3] = mixed[:, rng.permutation(DIM // 3)]
    return mixed


RNG = np.random.default_rng(0)
CASES = {
    "the same recipe": lambda f: clips(f),
    "another tail": lambda f: clips(f)[:-1],
    "another start: the reference is -2": lambda f: clips(f, start=2 * FRAMES_PER_CLIP),
    "another frame rate or stride: the reference has 2.00": lambda f: clips(f, FRAMES_PER_CLIP // 2),
    "another scale": lambda f: 3 * clips(f),
    "another decoder": lambda f: clips(f) + 0.05 * RNG.normal(size=clips(f).shape),
    "another crop or size": lambda f: swapped(clips(f)),
    "other weights": lambda f: clips(moments(77, len(f))),
}


@pytest.mark.parametrize("cause", CASES)
def test_causes(tmp_path, store, cause):
    for number in range(3):
        np.save(tmp_path / f"v{number}.npy", CASES[cause](moments(number, 400)).astype(np.float32))
    done = CliRunner().invoke(main, ["compare", str(store), str(tmp_path), "--json"])
    assert done.exit_code == (0 if cause == "the same recipe" else 1), done.output
    facts = json.loads(done.stdout)
    assert facts["cause"].startswith(cause), facts
    assert len(facts["videos"]) == 3
    table = CliRunner().invoke(main, ["compare", str(store), *map(str, sorted(tmp_path.glob("*.npy")))]).output
    assert "likeliest: " + cause in table and "likeness" in table


def test_references_that_the_store_lacks_are_named(tmp_path, store):
    for name, number in (("v0", 0), ("unknown", 1)):
        np.save(tmp_path / f"{name}.npy", clips(moments(number, 400)).astype(np.float32))
    done = CliRunner().invoke(main, ["compare", str(store), str(tmp_path)])
    assert done.exit_code == 1 and "not in the store: unknown" in done.output
    assert json.loads(CliRunner().invoke(main, ["compare", str(store), str(tmp_path), "--json"]).stdout)["lacking"] == [
        "unknown"
    ]


def test_what_cannot_be_compared(tmp_path, store):
    np.save(tmp_path / "unknown.npy", np.zeros((3, DIM), np.float32))
    wide = tmp_path / "wide"
    wide.mkdir()
    np.save(wide / "v0.npy", np.zeros((3, DIM + 1), np.float32))
    for reference, message in (
        (tmp_path / "unknown.npy", "none of the 1 reference videos, such as unknown"),
        (wide, "is 65 wide, our features 64: they are of another backbone or layer"),
        (tmp_path / "nothing", "there is no file or folder"),
    ):
        done = CliRunner().invoke(main, ["compare", str(store), str(reference)])
        assert done.exit_code == 2 and message in done.output
    shutil.copy(wide / "v0.npy", tmp_path / "v0.npy")
    twice = CliRunner().invoke(main, ["compare", str(store), str(wide), str(tmp_path / "v0.npy")])
    assert twice.exit_code == 2 and "both hold v0: compare with one of them at a time" in twice.output
