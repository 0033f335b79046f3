"""From a video file to its score, through all packages: what a head says of a video is what it says of the video's features."""

import json
from importlib.metadata import EntryPoint

import av
import numpy as np
import pytest
from click.testing import CliRunner

from longtake.extract.cli import main as extract
from longtake.train import extras as bridge
from longtake.train.cli import main as train
from tests.extract.media import HEIGHT, WIDTH

FPS = 12


def run(command, *arguments, status=0):
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert done.exit_code == status, (done.output, done.exception)
    return done.output


def write_bright_video(path, levels, sound=True):
    """One brightness per second, with a tone."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=FPS)
        pictures.width, pictures.height, pictures.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        tone = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for level in np.repeat(levels, FPS):
            frame = np.full((HEIGHT, WIDTH, 3), level, np.uint8)
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(pictures.encode())
        if tone:
            wave = np.sin(np.arange(16000 * len(levels)) * 0.2).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
            frame.sample_rate = 16000
            container.mux(tone.encode(frame))
            container.mux(tone.encode())


@pytest.fixture
def lab(tmp_path, numbers_backbone):
    """Twelve short videos whose brightness is their score, their store, and a run of two heads on it."""
    rng = np.random.default_rng(0)
    (tmp_path / "videos").mkdir()
    lines = ["video_id,split,category,score_light"]
    for index in range(12):
        levels = rng.integers(30, 220, size=4 + index % 3)
        write_bright_video(tmp_path / "videos" / f"v{index:02}.mp4", levels, sound=index % 2 == 0)
        lines.append(f"v{index:02},{'train' if index < 8 else 'test'},Lamp,{levels.mean():.2f}")
    (tmp_path / "lamps.csv").write_text("\n".join(lines) + "\n")
    store = tmp_path / "lamps.h5"
    call = (
        "run",
        "--manifest",
        tmp_path / "lamps.csv",
        "--videos",
        tmp_path / "videos",
        "--backbone",
        numbers_backbone,
    )
    run(extract, *call, "--weights", "random", "--clip-length", FPS, "--out", store)
    heads = ("heads", "--features", store, "--seeds", 2, "--no-floor")
    run(train, *heads, "--head", "gdlt", "--epochs", 2, "--set", "width=16", "--out", tmp_path / "gdlt")
    run(train, "heads", "--features", store, "--head", "ridge", "--out", tmp_path / "ridge")
    return tmp_path


@pytest.mark.parametrize("head", ["gdlt", "ridge"])
def test_a_video_scores_as_its_features_do(lab, head):
    stored = json.loads(
        run(train, "predict", "--run", lab / head, "--features", lab / "lamps.h5", "--only", "v09", "--json")
    )
    call = ("predict", "--run", lab / head, "--video", lab / "videos" / "v09.mp4")
    scored = json.loads(run(train, *call, "--json"))
    # Of a file, nothing is known but its pictures and its sound.
    assert scored[0]["learnt_by"] is None and scored[0]["judges"] is None and stored[0]["learnt_by"] == 0
    assert [{**one, **{name: stored[0][name] for name in ("learnt_by", "judges")}} for one in scored] == stored
    assert stored[0]["category"] == "Lamp" and len(stored[0]["timeline"]["start_seconds"]) == 4


@pytest.mark.parametrize("name, has_sound", [("v08", True), ("v09", False)])
def test_overlay(lab, tmp_path, name, has_sound):
    out = tmp_path / "out.mp4"
    run(train, "predict", "--run", lab / "gdlt", "--video", lab / "videos" / f"{name}.mp4", "--overlay", out)
    with av.open(str(lab / "videos" / f"{name}.mp4")) as before, av.open(str(out)) as after:
        assert bool(after.streams.audio) == has_sound
        assert after.duration == pytest.approx(before.duration, abs=100_000)
        frames = list(after.decode(video=0))
    seconds = 4 + int(name[1:]) % 3
    assert len(frames) == FPS * seconds and frames[0].width == WIDTH and frames[0].height > HEIGHT
    panels = [frame.to_ndarray(format="rgb24")[HEIGHT:].astype(int) for frame in frames]
    # The bar of the clip that is on is another colour: the strip changes from clip to clip.
    assert np.abs(panels[FPS // 2] - panels[-FPS // 2]).max() > 60


def test_the_score_so_far_ends_as_the_score(lab):
    from longtake.train.runs.predict_files import predict_video

    (found,) = predict_video(lab / "gdlt", lab / "videos" / "v10.mp4", running=True)
    assert len(found.timeline.running) == len(found.timeline.start_seconds) == 5
    assert found.timeline.running[-1] == pytest.approx(found.predicted, abs=1e-4)
    assert sum(found.timeline.shares) == pytest.approx(1) and found.grades


def test_what_is_refused(lab, tmp_path, monkeypatch):
    call = ("predict", "--run", lab / "ridge", "--video")
    assert "no video at" in run(train, *call, tmp_path / "none.mp4", status=2)
    (tmp_path / "text.mp4").write_text("no video")
    assert "gives no features (decode)" in run(train, *call, tmp_path / "text.mp4", status=2)
    video = lab / "videos" / "v01.mp4"
    assert "did you mean Lamp?" in run(train, *call, video, "--category", "Lamps", status=2)
    assert "either --features STORE or --video" in run(train, *call, video, "--features", lab / "lamps.h5", status=2)
    assert "goes with --video" in run(
        train, "predict", "--run", lab / "ridge", "--features", "s.h5", "--overlay", "o.mp4", status=2
    )
    other = run(train, *call, video, "--weights", "random:7", status=2)
    assert "made by another recipe" in other and "weights: trained on 'random:0', here 'random:7'" in other
    fields = ("--accept", "weights", "--accept", "weights_sha256")
    assert "Lamp light" in run(train, *call, video, "--weights", "random:7", *fields)
    assert "no field 'wights'; did you mean weights?" in run(train, *call, video, "--accept", "wights", status=2)
    missing = EntryPoint("extract_like", "a_package_that_is_not_here:f", bridge.GROUP)
    monkeypatch.setattr(bridge, "entry_points", lambda **_: [missing])
    assert "pip install 'longtake[extract]'" in run(train, *call, video, status=2)
