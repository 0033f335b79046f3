"""The demo dataset: reproducible tables, and a folder of videos that resumes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from longtake.extract.demo.dataset import plan_demo, tables, write_demo
from longtake.extract.demo.routine import CATEGORIES, KINDS
from longtake.extract.errors import ExtractError
from longtake.manifests.table import find_manifest
from tests.calls import group_ends, started, wait_for

ROOT = Path(__file__).resolve().parents[3]


def test_shipped_table_is_the_default_plan():
    assert (ROOT / "manifests" / "demo.csv").read_bytes().decode() == tables(plan_demo())[0]


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
def test_a_small_plan_is_a_part_of_the_shipped_one(num_videos):
    """Otherwise `--dataset demo` would give its videos the scores of other ones."""
    routines = plan_demo(0, num_videos)
    assert len(routines) == num_videos and set(routines) <= set(plan_demo())
    assert {(r.category, r.split) for r in routines} == {(c, s) for c in CATEGORIES for s in ("train", "test")}


@pytest.mark.parametrize("seed, num_videos", [(1, 128), (0, 129), (1, 16)])
def test_another_plan_has_its_own_ids(seed, num_videos):
    ids = {r.video_id for r in plan_demo(seed, num_videos)}
    assert len(ids) == num_videos and not ids & {r.video_id for r in plan_demo()}
    assert not ids & {r.video_id for r in plan_demo(seed, num_videos + 1)}


def test_plan_depends_on_the_seed_alone():
    assert plan_demo(3, 10) == plan_demo(3, 10)
    assert tables(plan_demo(3, 10))[0] != tables(plan_demo(4, 10))[0]


def test_qualities_share_a_skill_and_falls_follow_it():
    routines = plan_demo(seed=1, num_videos=2000)
    values = np.array([(r.amplitude, r.smoothness, r.timing, r.num_falls) for r in routines])
    between = np.corrcoef(values.T)
    assert np.all(np.abs(between[np.triu_indices(3, 1)] - 0.6) < 0.06)
    assert np.all(between[3, :3] < -0.3)
    assert set(values[:, 3]) == {0, 1, 2, 3}
    assert {element.kind for r in routines for element in r.elements} == set(KINDS)


@pytest.mark.parametrize("arguments", [(-1, 80, 20.0), (0, 3, 20.0), (0, 80, 0.0)])
def test_impossible_plans_are_refused(arguments):
    seed, num_videos, seconds = arguments
    with pytest.raises(ExtractError):
        plan_demo(seed, num_videos, duration_seconds=seconds)


def test_importing_the_demo_loads_no_decoder():
    code = "import sys, longtake.extract.demo.dataset; assert not {'av', 'cv2', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_write_demo_resumes_and_is_the_same_with_processes(tmp_path):
    pytest.importorskip("cv2")
    seen = []
    arguments = dict(seed=2, num_videos=4, duration_seconds=0.6)
    manifest = write_demo(tmp_path / "one", **arguments, on_video=lambda routine, path: seen.append((routine, path)))
    plan = plan_demo(2, 4, duration_seconds=0.6)
    assert manifest == tmp_path / "one" / "demo.csv"
    assert [routine for routine, _ in seen] == list(plan)
    assert manifest.read_bytes().decode() == tables(plan)[0]
    assert (tmp_path / "one" / "truth.csv").read_bytes().decode() == tables(plan)[1]
    videos = {path.name: path.read_bytes() for path in (tmp_path / "one" / "videos").iterdir()}
    assert sorted(videos) == sorted(f"{routine.video_id}.mp4" for routine in plan)

    first, second = (path for _, path in seen[:2])
    first.write_bytes(b"kept")
    second.unlink()
    write_demo(tmp_path / "one", **arguments)
    assert first.read_bytes() == b"kept" and second.read_bytes() == videos[second.name]

    write_demo(tmp_path / "two", **arguments, workers=2)
    assert {path.name: path.read_bytes() for path in (tmp_path / "two" / "videos").iterdir()} == videos


def test_worker_processes_end_with_their_parent(tmp_path):
    pytest.importorskip("cv2")
    with started("longtake.extract.cli", "demo", tmp_path / "demo", "--num-videos", 100, "--workers", 2) as drawing:
        wait_for(tmp_path / "demo" / "videos", ".*.partial", 2)
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
