"""Video files: what is asked for first, where overlays and pages go, and that one bad file does not stop the others."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from longtake.extract.find_videos import videos_in
from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.features.types import VideoFeatures, VideoRecord
from longtake.train.cli import main
from longtake.train.errors import DataError
from longtake.train.runs import predict, predict_files, routine
from tests.calls import invoke
from tests.train.planted import planted_store


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    store = planted_store(folder / "s.h5", num_train=16, num_test=10)
    call = ("--features", store, "--epochs", 1, "--no-floor", "--out", folder / "run")
    invoke(main, "heads", *call, "--head", "gdlt", "--set", "width=16")
    for name in ("one.mp4", "two.mp4", "bad.mp4"):
        (folder / name).write_bytes(b"video")
    return folder


@pytest.fixture(autouse=True)
def extract(lab, monkeypatch):
    """In place of the extract extra: features of the first videos of the store."""

    def extract_like(headers, videos, path, **choices):
        good = [video for video in videos if video.stem != "bad"]
        with open_store(lab / "s.h5") as store:
            stream = store.stream()
            read = [stream.read(f"A_{number:03d}") for number, _ in enumerate(good)]
        fresh = [
            VideoFeatures(VideoRecord(v.stem), one.features, one.start_seconds, one.end_seconds)
            for v, one in zip(good, read)
        ]
        items = [StreamItem.of(one) for one in fresh]
        names = tuple(one.record.video_id for one in fresh)
        labels = Labels(names, ("",) * len(names), ("",) * len(names), (), np.zeros((len(names), 0)))
        write_store(
            path,
            dataset="planted",
            card=None,
            labels=labels,
            streams=[StreamPlan(stream.header, np.dtype("f4"), items)],
        )
        return {video: video.stem for video in good}, {
            video: "gives no features" for video in videos if video not in good
        }

    def playable(video, out, most_bytes):
        out.write_bytes(video.read_bytes())
        return "video/mp4"

    made = {
        "extract_like": extract_like, "videos_in": videos_in, "playable": playable, "track": lambda *values: values,
        "draw_overlay": lambda video, out, tracks: out.write_text(f"{video.name} {len(tracks)}"),
        "thumbnails": lambda folder, video_id, name, seconds, lines: [b"jpeg"] * len(seconds),
    }  # fmt: skip
    for module in (predict, predict_files, routine):
        monkeypatch.setattr(module, "from_extract", lambda name, _: made[name])


def test_one_bad_video_does_not_stop_the_others(lab, tmp_path):
    call = (
        "predict",
        "--run",
        lab / "run",
        "--video",
        lab / "bad.mp4",
        "--video",
        lab / "one.mp4",
        "--csv",
        tmp_path / "s.csv",
    )
    done = invoke(main, *call, status=1)
    assert f"failed: {lab / 'bad.mp4'} gives no features" in done.output and "one: A total" in done.output
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 2
    scored = json.loads(invoke(main, "predict", "--run", lab / "run", "--video", lab / "one.mp4", "--json").output)
    assert scored[0]["learnt_by"] is None


def test_a_folder_of_videos(lab, tmp_path):
    call = ("predict", "--run", lab / "run", "--video", lab / "*o*.mp4")
    invoke(main, *call, "--html", tmp_path / "pages", "--overlay", tmp_path / "overlays")
    assert sorted(path.name for path in (tmp_path / "pages").iterdir()) == ["one.html", "two.html"]
    assert (tmp_path / "overlays" / "two.mp4").read_text() == "two.mp4 1"
    (tmp_path / "file").touch()
    assert "need a folder to write to" in invoke(main, *call, "--html", tmp_path / "file", status=2).output
    refused = invoke(main, *call, "--overlay", lab, status=2).output
    assert "overlays would be among the videos" in refused and (lab / "one.mp4").read_bytes() == b"video"


def test_a_page_that_cannot_be_written_loses_no_score(lab, tmp_path):
    (tmp_path / "pages" / "one.html").mkdir(parents=True)
    call = ("predict", "--run", lab / "run", "--video", lab / "*o*.mp4", "--html", tmp_path / "pages")
    done = invoke(main, *call, "--csv", tmp_path / "s.csv", status=1)
    assert f"failed: {lab / 'one.mp4'} has a score" in done.output and "one: A total" in done.output
    assert (tmp_path / "pages" / "two.html").is_file() and len((tmp_path / "s.csv").read_text().splitlines()) == 3
    call = (*call[:4], lab / "one.mp4", "--html", tmp_path / "pages")
    assert "cannot write the page" in invoke(main, *call, status=2).output, "of one video, there is nothing else"


def test_one_video_and_another_to_compare(lab, tmp_path):
    call = ("predict", "--run", lab / "run", "--video", lab / "one.mp4")
    out = tmp_path / "page.html"
    invoke(main, *call, "--html", out, "--compare", lab / "two.mp4")
    text = out.read_text()
    assert "one and two" in text and text.count('class="routine"') == 2
    assert (
        "bad.mp4 gives no features" in invoke(main, *call, "--html", out, "--compare", lab / "bad.mp4", status=2).output
    )
    several = invoke(main, *call, "--html", out, "--compare", lab / "*o*.mp4", status=2).output
    assert "compares with one video" in several and "names 2" in several
    assert "--compare goes with --html" in invoke(main, *call, "--compare", lab / "two.mp4", status=2).output


def test_what_is_missing_is_asked_for_in_order(lab, tmp_path):
    nothing = ("--html", tmp_path / "no" / "p.html", "--category", "Z")
    call = ("predict", "--run", tmp_path / "run", "--video", tmp_path / "v.mp4", *nothing)
    assert "there is no folder" in invoke(main, *call, status=2).output
    call = ("predict", "--run", lab / "run", "--video", tmp_path / "v.mp4", *nothing)
    assert "no video at" in invoke(main, *call, status=2).output
    call = ("predict", "--run", lab / "run", "--video", lab / "one.mp4", *nothing)
    assert "there is no folder" in invoke(main, *call, status=2).output
    call = ("predict", "--run", lab / "run", "--video", lab / "one.mp4", "--html", lab / "one.mp4")
    assert "name a file that ends in .html" in invoke(main, *call, status=2).output
    assert (lab / "one.mp4").read_bytes() == b"video", "a page never replaces its video"
    call = ("predict", "--run", lab / "run", "--video", lab / "one.mp4", "--category", "Z")
    assert "no heads for category 'Z'" in invoke(main, *call, status=2).output


def test_python(lab):
    found = predict.predict(lab / "run", video=[lab / "one.mp4", lab / "bad.mp4"])
    assert [one.video_id for one in found] == ["one"] and found.failures[0].video.endswith("bad.mp4")
    with pytest.raises(DataError, match="compare= goes with html="):
        predict.predict(lab / "run", video=lab / "one.mp4", compare=Path("x"))


def test_what_is_kept_is_shown_by_view(lab, tmp_path):
    from longtake.train.runs.kept import KEPT, read_kept

    run = Path(shutil.copytree(lab / "run", tmp_path / "lab" / "run"))
    before = {path.name for path in run.iterdir()}
    done = invoke(main, "predict", "--run", run, "--features", lab / "s.h5", "--only", "A_020", "--keep", "--json")
    assert {path.name for path in run.iterdir()} - before == {KEPT}
    (shown,), (kept,) = json.loads(done.stdout), read_kept(run).predictions
    assert kept.video_id == "A_020" and kept.timeline.shares == pytest.approx(shown["timeline"]["shares"], abs=1e-5)
    invoke(main, "view", tmp_path / "lab", lab / "s.h5", "--export", tmp_path / "site")
    assert (tmp_path / "site" / "page" / "routine-0-0.html").exists()
    output = invoke(main, "predict", "--run", run, "--video", lab / "one.mp4", "--keep", status=2).output
    assert "--keep goes with --features" in output
