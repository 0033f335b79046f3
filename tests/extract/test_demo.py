"""The demo dataset: its table is reproducible, and what decides the score can be seen and heard."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from longtake.extract.demo.dataset import manifest_text, plan_demo, truth_text, write_demo
from longtake.extract.demo.render import render_routine
from longtake.extract.demo.routine import CATEGORIES, KINDS, Element, Routine
from longtake.extract.errors import ExtractError
from longtake.manifests.table import find_manifest
from tests.calls import group_ends, started, wait_for

ROOT = Path(__file__).resolve().parents[2]


def make_routine(category: str = "Allegro", seconds: float = 4.0, falling: int | None = None, **changes) -> Routine:
    kinds = ("leap", "eights", "kicks", "spirals", "balance")
    elements = tuple(Element(kind, 1.0, index == falling) for index, kind in enumerate(kinds))
    values = dict(amplitude=0.8, smoothness=1.0, timing=1.0) | changes
    return Routine("r", category, "train", **values, elements=elements, nuisance_seed=11, duration_seconds=seconds)


def decode(path: Path) -> tuple[np.ndarray, np.ndarray, dict]:
    """Pictures `(frames, height, width, 3)` in RGB, samples `(samples,)`, and what the streams say."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        facts = {
            "video": (video.codec_context.name, video.width, video.height, float(video.average_rate)),
            "audio": (audio.codec_context.name, audio.rate, audio.channels),
            "video_seconds": float(video.duration * video.time_base),
            "audio_seconds": float(audio.duration * audio.time_base),
        }
        pictures, samples = [], []
        for frame in container.decode(video, audio):
            if isinstance(frame, av.VideoFrame):
                pictures.append(frame.to_ndarray(format="rgb24"))
            else:
                samples.append(frame.to_ndarray()[0])
    return np.stack(pictures), np.concatenate(samples), facts


def render(tmp_path: Path, routine: Routine) -> tuple[np.ndarray, np.ndarray, dict]:
    return decode(render_routine(routine, tmp_path / "routine.mp4"))


def moving(pictures: np.ndarray) -> np.ndarray:
    """Which pixels differ from the arena, `(frames, height, width)`."""
    return np.abs(pictures.astype(int) - np.median(pictures, axis=0)).max(axis=3) > 40


def ranks(values: list[float]) -> np.ndarray:
    return np.argsort(np.argsort(values))


def test_shipped_table_is_the_default_plan():
    assert (ROOT / "manifests" / "demo.csv").read_bytes().decode() == manifest_text(plan_demo())


def test_card_says_simulated_and_fits_the_table():
    manifest = find_manifest("demo")  # checks splits, categories and the range of scores
    card = manifest.card
    assert card.simulated and "simulated" in card.title and "CC0" in card.licence
    assert [(r.video_id, r.scores["total"]) for r in manifest.rows] == [(r.video_id, r.score) for r in plan_demo()]
    assert {r.category for r in manifest.rows} == set(CATEGORIES) == set(card.categories)
    assert -(-20.0 * card.clips.fps // card.clips.stride) == card.window_clips == 8
    groups = card.prompts["qgvl"].groups
    assert len(groups["scores"]) == 101 and len(groups["grades"]) == 4
    assert all(text.startswith("a video of a ribbon routine with") for text in card.prompts["qgvl"].texts)


def test_plan_is_balanced_and_spans_the_range():
    routines = plan_demo()
    assert len({r.video_id for r in routines}) == 128
    for category in CATEGORIES:
        for split, count in (("train", 45), ("test", 19)):
            scores = [r.score for r in routines if (r.category, r.split) == (category, split)]
            assert len(scores) == count
            assert min(scores) < 2 and max(scores) > 7 and len(set(scores)) > 0.9 * count


@pytest.mark.parametrize("num_videos", [4, 5, 16, 127])
def test_a_small_plan_is_a_part_of_what_ships(num_videos):
    """Else `--dataset demo` would give its videos the scores of others."""
    routines = plan_demo(0, num_videos)
    assert len(routines) == num_videos and set(routines) <= set(plan_demo())
    assert {(r.category, r.split) for r in routines} == {(c, s) for c in CATEGORIES for s in ("train", "test")}


@pytest.mark.parametrize("seed, num_videos", [(1, 128), (0, 129), (1, 16)])
def test_another_plan_has_ids_of_its_own(seed, num_videos):
    ids = {r.video_id for r in plan_demo(seed, num_videos)}
    assert len(ids) == num_videos and not ids & {r.video_id for r in plan_demo()}
    assert not ids & {r.video_id for r in plan_demo(seed, num_videos + 1)}


def test_plan_depends_on_the_seed_alone():
    assert plan_demo(3, 10) == plan_demo(3, 10)
    assert manifest_text(plan_demo(3, 10)) != manifest_text(plan_demo(4, 10))


def test_qualities_share_a_skill_and_falls_follow_it():
    routines = plan_demo(seed=1, num_videos=2000)
    values = np.array([(r.amplitude, r.smoothness, r.timing, r.num_falls) for r in routines])
    between = np.corrcoef(values.T)
    assert np.all(np.abs(between[np.triu_indices(3, 1)] - 0.6) < 0.06)
    assert np.all(between[3, :3] < -0.3)
    assert set(values[:, 3]) == {0, 1, 2, 3}
    assert {element.kind for r in routines for element in r.elements} == set(KINDS)


def test_score_rule():
    for r in plan_demo():
        by_hand = 5 * r.amplitude + 3 * r.smoothness + 2 * r.timing - r.num_falls
        assert r.score == pytest.approx(min(max(by_hand, 0), 10), abs=1e-9)
    assert make_routine(amplitude=1).score == 10
    assert make_routine(amplitude=1, falling=0).score == 9
    assert make_routine(amplitude=0, smoothness=0, timing=0, falling=0).score == 0


@pytest.mark.parametrize("changes", [{"amplitude": 1.2}, {"category": "Presto"}, {"seconds": 21.0}])
def test_impossible_routines_are_refused(changes):
    with pytest.raises(ValueError, match="r:"):
        make_routine(**changes)


@pytest.mark.parametrize("arguments", [(-1, 80, 20.0), (0, 3, 20.0), (0, 80, 0.0)])
def test_impossible_plans_are_refused(arguments):
    seed, num_videos, seconds = arguments
    with pytest.raises(ExtractError):
        plan_demo(seed, num_videos, duration_seconds=seconds)


def test_importing_the_demo_loads_no_decoder():
    code = "import sys, longtake.extract.demo.dataset; assert not {'av', 'cv2', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_missing_opencv_is_explained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ExtractError, match="pip install"):
        render_routine(make_routine(), tmp_path / "routine.mp4")
    assert not list(tmp_path.iterdir())


def test_same_routine_same_bytes(tmp_path):
    routine = make_routine(seconds=1.5, smoothness=0.3)
    first, second = (render_routine(routine, tmp_path / name).read_bytes() for name in ("a.mp4", "b.mp4"))
    assert first == second
    other = render_routine(replace(routine, amplitude=0.2), tmp_path / "c.mp4").read_bytes()
    assert other != first


@pytest.mark.parametrize("category", CATEGORIES)
def test_streams_are_as_promised(tmp_path, category):
    pictures, samples, facts = render(tmp_path, make_routine(category, seconds=3.0))
    assert facts["video"] == ("h264", 320, 240, 25) and facts["audio"] == ("aac", 44100, 1)
    assert len(pictures) == 75
    assert abs(facts["video_seconds"] - 3.0) < 0.05 and abs(facts["audio_seconds"] - 3.0) < 0.05
    assert abs(len(samples) / 44100 - 3.0) < 0.05


def test_amplitude_is_visible_across_routines():
    """Whatever the order of elements, the colours and the camera: gymnast and ribbon together reach over more."""
    pytest.importorskip("cv2")
    from longtake.extract.demo.scene import draw_frames

    routines = plan_demo(seed=5, num_videos=12)
    extents = []
    for routine in routines:
        steady = replace(routine, elements=tuple(replace(element, falls=False) for element in routine.elements))
        seen = moving(np.stack([picture[::2, ::2] for picture in list(draw_frames(steady))[::5]]))
        extents.append(float(np.mean(seen.any(axis=1).sum(axis=1) * seen.any(axis=2).sum(axis=1))))
    correlation = np.corrcoef(ranks([r.amplitude for r in routines]), ranks(extents))[0, 1]
    assert correlation > 0.5, list(zip([r.amplitude for r in routines], extents))


def test_roughness_is_visible(tmp_path):
    """Bursts make the change from picture to picture uneven."""
    unevenness = []
    for smoothness in (0.1, 0.5, 0.95):
        pictures, _, _ = render(tmp_path, make_routine(smoothness=smoothness))
        change = np.abs(np.diff(pictures.astype(int), axis=0)).mean(axis=(1, 2, 3))[15:]
        unevenness.append(np.abs(np.diff(change)).mean() / change.mean())
    assert unevenness[0] > 1.2 * unevenness[1] > 1.2 * 1.2 * unevenness[2], unevenness


@pytest.mark.parametrize("category", CATEGORIES)
def test_beats_are_heard_where_the_tempo_says(tmp_path, category):
    routine = make_routine(category)
    _, samples, _ = render(tmp_path, routine)
    hop = 220
    windows = np.lib.stride_tricks.sliding_window_view(samples, 441)[::hop]
    spectra = np.abs(np.fft.rfft(windows * np.hanning(441), axis=1))
    rise = np.maximum(np.diff(np.log1p(20 * spectra[:, :4]), axis=0), 0).sum(axis=1)  # below 400 Hz: the drum
    beats = np.arange(0, routine.duration_seconds, 60 / CATEGORIES[category].bpm)[1:]
    found = []
    for _ in beats:
        peak = int(rise.argmax())
        found.append((peak * hop + 441) / 44100)
        rise[max(0, peak - 20) : peak + 20] = 0
    assert np.abs(np.sort(found) - beats).max() < 0.030


def test_poor_timing_is_seen_and_heard():
    from longtake.extract.demo.motion import move
    from longtake.extract.demo.sound import play

    good, poor = make_routine(timing=1.0), make_routine(timing=0.0)
    beats = np.array(good.starts_seconds()) / good.beat_seconds
    assert np.allclose(beats, np.round(beats), atol=1e-9)
    delay_seconds = poor.starts_seconds()[0] - good.starts_seconds()[0]
    assert delay_seconds == pytest.approx(0.45 * good.beat_seconds)

    shift = round(25 * delay_seconds)
    on_time, late = move(good).joints[20:45], move(poor).joints
    assert np.abs(late[20 + shift : 45 + shift] - on_time).mean() < 0.35 * np.abs(late[20:45] - on_time).mean()

    extra = np.abs(play(poor) - play(good))  # only the taps differ
    for start in poor.starts_seconds()[:2]:
        at = round(start * 44100)
        assert extra[at : at + 882].max() > 0.05 > 100 * extra[at - 882 : at].max()


def test_a_fall_is_seen_and_heard(tmp_path):
    from longtake.extract.demo.scene import choose_look

    routine = make_routine(falling=0)
    (fall,) = routine.falls_seconds()
    pictures, samples, _ = render(tmp_path, routine)
    _, without, _ = render(tmp_path, make_routine())
    near_leotard = np.abs(pictures.astype(int) - np.array(choose_look(routine).leotard)).max(axis=3) < 45
    heights = np.array([rows.mean() if len(rows := np.nonzero(picture)[0]) else np.nan for picture in near_leotard])
    lying, before = int(25 * (fall + 0.6)), int(25 * (fall - 0.3))
    assert heights[lying] > heights[before] + 25
    assert heights[int(25 * (fall + 1.3))] < heights[lying] - 25

    thud = round((fall + 0.28) * 44100)
    span = slice(thud, thud + 6000)
    assert np.square(samples[span]).mean() > 1.5 * np.square(without[span]).mean()


def test_write_demo_resumes_and_is_the_same_with_processes(tmp_path):
    pytest.importorskip("cv2")
    seen = []
    arguments = dict(seed=2, num_videos=4, duration_seconds=0.6)
    manifest = write_demo(tmp_path / "one", **arguments, on_video=lambda routine, path: seen.append((routine, path)))
    plan = plan_demo(2, 4, duration_seconds=0.6)
    assert manifest == tmp_path / "one" / "demo.csv"
    assert [routine for routine, _ in seen] == list(plan)
    assert manifest.read_bytes().decode() == manifest_text(plan)
    assert (tmp_path / "one" / "truth.csv").read_bytes().decode() == truth_text(plan)
    videos = {path.name: path.read_bytes() for path in (tmp_path / "one" / "videos").iterdir()}
    assert sorted(videos) == sorted(f"{routine.video_id}.mp4" for routine in plan)

    first, second = (path for _, path in seen[:2])
    first.write_bytes(b"kept")
    second.unlink()
    write_demo(tmp_path / "one", **arguments)
    assert first.read_bytes() == b"kept" and second.read_bytes() == videos[second.name]

    write_demo(tmp_path / "two", **arguments, workers=2)
    assert {path.name: path.read_bytes() for path in (tmp_path / "two" / "videos").iterdir()} == videos


def test_processes_end_with_the_one_that_started_them(tmp_path):
    pytest.importorskip("cv2")
    with started("longtake.extract.cli", "demo", tmp_path / "demo", "--num-videos", 100, "--workers", 2) as drawing:
        wait_for(tmp_path / "demo" / "videos", "*.mp4", 2)
        drawing.kill()
        assert group_ends(drawing)


def test_write_demo_refuses_a_folder_of_other_videos(tmp_path, monkeypatch):
    monkeypatch.setattr("longtake.extract.demo.dataset.render_routine", lambda routine, path: path)
    write_demo(tmp_path / "demo", seed=0, num_videos=4)
    with pytest.raises(ExtractError, match="holds another demo"):
        write_demo(tmp_path / "demo", seed=1, num_videos=4)
    (tmp_path / "mine" / "videos").mkdir(parents=True)
    (tmp_path / "mine" / "videos" / "adagio_001.mp4").write_bytes(b"")
    with pytest.raises(ExtractError, match="did not make"):
        write_demo(tmp_path / "mine", num_videos=4)
