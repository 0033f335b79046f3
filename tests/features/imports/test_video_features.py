"""Folders of video_features, with the times of their files."""

import numpy as np
import pytest

from tests.features.imports.trees import clips, holds, imported, write_table

FPS = 25.0


def write(tree, name, kind, num_rows, num_frames=None, fps=FPS):
    tree.mkdir(exist_ok=True)
    np.save(tree / f"{name}_{kind}.npy", clips(name, num_rows))
    if fps:
        np.save(tree / f"{name}_fps.npy", np.array(fps))
    if num_frames:
        np.save(tree / f"{name}_timestamps_ms.npy", np.arange(num_frames) * 1000 / fps)


def test_a_row_for_each_frame(tmp_path):
    tree = tmp_path / "clip"
    write(tree, "my_video_1", "clip", 5, 5)
    imported(tree, "--manifest", write_table(tmp_path / "m.csv", ["my_video_1"]), layout="video_features")
    videos, _, header = holds(tree, {"my_video_1": clips("my_video_1", 5)})
    np.testing.assert_allclose(videos["my_video_1"].start_seconds, np.arange(5) / FPS)
    np.testing.assert_allclose(videos["my_video_1"].end_seconds, np.arange(1, 6) / FPS)
    assert header.origin == "imported: video_features"


@pytest.mark.parametrize("has_times", [True, False])
def test_a_row_for_each_stack(tmp_path, has_times):
    """i3d writes times of frames; r21d and s3d may have the rate alone."""
    tree = tmp_path / "i3d"
    write(tree, "a1", "rgb", 4, 16 * 4 + 3 if has_times else None)
    write(tree, "a1", "flow", 4, 16 * 4 + 3 if has_times else None)
    table = write_table(tmp_path / "m.csv", ["a1"])
    call = ("--manifest", table)
    assert "of the kinds flow, rgb: choose one with --features KIND" in imported(
        tree, *call, layout="video_features", status=2
    )
    message = imported(tree, *call, "--features", "rgb", layout="video_features", status=2)
    assert "--clip-length and --clip-stride" in message
    frames = ("--clip-length", 16, "--clip-stride", 16)
    imported(tree, *call, "--features", "rgb", *frames, layout="video_features")
    videos, _, header = holds(tree, {"a1": clips("a1", 4)})
    np.testing.assert_allclose(videos["a1"].start_seconds, 16 * np.arange(4) / FPS)
    np.testing.assert_allclose(videos["a1"].end_seconds, 16 * np.arange(1, 5) / FPS)
    assert header.origin == "imported: video_features; features rgb"
    if has_times:
        wrong = ("--clip-length", 16, "--clip-stride", 8)
        message = imported(tree, *call, "--features", "rgb", *wrong, layout="video_features", out="n.h5", status=2)
        assert "4 clips, but 67 frames make 7 clips of 16 frames every 8" in message


def test_times_of_i3d_are_the_ends_of_its_stacks(tmp_path):
    tree = tmp_path / "i3d"
    write(tree, "a1", "rgb", 4)
    np.save(tree / "a1_timestamps_ms.npy", np.arange(1, 5) * 1000 * 16 / FPS)
    call = ("--manifest", write_table(tmp_path / "m.csv", ["a1"]))
    assert "say --clip-length" in imported(tree, *call, layout="video_features", status=2)
    imported(tree, *call, "--clip-length", 16, "--clip-stride", 16, layout="video_features")
    videos, _, _ = holds(tree, {"a1": clips("a1", 4)})
    np.testing.assert_allclose(videos["a1"].start_seconds, 16 * np.arange(4) / FPS)
    np.testing.assert_allclose(videos["a1"].end_seconds, 16 * np.arange(1, 5) / FPS)


def test_a_rate_that_cannot_be_read_is_not_unknown_times(tmp_path):
    tree = tmp_path / "s3d"
    for name in ("a1", "a2"):
        write(tree, name, "s3d", 3)
    (tree / "a2_fps.npy").write_bytes(b"nothing")
    table = write_table(tmp_path / "m.csv", ["a1", "a2"])
    frames = ("--clip-length", 16, "--clip-stride", 16)
    said = imported(tree, "--manifest", table, *frames, layout="video_features", status=1)
    assert "a2_s3d.npy: its rate is unknown" in said
    holds(tree, {"a1": clips("a1", 3)})


def test_without_times_they_are_unknown(tmp_path):
    tree = tmp_path / "vggish"
    write(tree, "a1", "vggish", 3, fps=None)
    shown = imported(tree, "--manifest", write_table(tmp_path / "m.csv", ["a1"]), "--dry-run", layout="video_features")
    assert "unknown" in shown and "a1_vggish.npy" in shown
