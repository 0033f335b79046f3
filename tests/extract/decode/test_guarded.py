"""Unexpected errors of a decoder: each is a failure of its video, and the run continues."""

from __future__ import annotations

import json
import pickle

import av
import pytest
from click.testing import CliRunner

from longtake.extract import decode
from longtake.extract.cli import main
from longtake.extract.decode import get_decoder
from longtake.extract.decode.pyav import PyAVDecoder
from longtake.extract.decode.sound import original_rate, sound_seconds
from longtake.extract.errors import DecoderFailed, VideoTruncated, VideoUnreadable
from longtake.extract.pipeline import reader as reading
from longtake.extract.preprocessing import FrameRule
from longtake.extract.views.overlay import Track, draw_overlay
from longtake.extract.views.thumbnails import thumbnails
from longtake.features.store import open_store
from tests.extract.media import write_av, write_video


@pytest.fixture
def faulty(tmp_path, numbers_backbone, monkeypatch):
    """The arguments of a run with a decoder that fails on two of three videos in different ways."""
    monkeypatch.setattr(decode, "TABLE", {**decode.TABLE, "faulty": "tests.extract.hanging:Faulty"})
    (tmp_path / "videos").mkdir()
    names = ("header", "frame", "good")
    for name in names:
        write_video(tmp_path / "videos" / f"{name}.mp4", 12)
    (tmp_path / "m.csv").write_text("video_id\n" + "\n".join(names) + "\n")
    return ["run", "--manifest", str(tmp_path / "m.csv"), "--videos", str(tmp_path / "videos"), "--weights", "random",
            "--backbone", numbers_backbone, "--decoder", "faulty", "--out", str(tmp_path / "m.h5")]  # fmt: skip


@pytest.mark.parametrize("seconds", ["0", "60"], ids=["here", "apart"])
def test_a_failure_row_with_type_message_and_version(tmp_path, faulty, seconds):
    done = CliRunner().invoke(main, [*faulty, "--stall-timeout", seconds])
    assert done.exit_code == 1 and "1 new" in done.output, done.output
    with open_store(tmp_path / "m.h5") as store:
        rows = {r.video_id: (r.status, r.error_stage, r.error_type) for r in store.stream().records}
        messages = {r.video_id: r.error_message for r in store.stream().records}
    assert rows == {
        "header": ("failed", "decode", "TypeError"),
        "frame": ("failed", "decode", "CannotBeRebuilt"),
        "good": ("ok", "", ""),
    }
    said = "header.mp4: TypeError in faulty 1.2: open() got an unexpected keyword (hanging.py, line "
    assert messages["header"].startswith(said)
    assert messages["frame"].startswith("frame.mp4: CannotBeRebuilt in faulty 1.2: 1 is not 2 (hanging.py, line ")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_probe_reports_one_line(tmp_path, faulty, options):
    done = CliRunner().invoke(main, ["probe", str(tmp_path / "videos" / "header.mp4"), "--decoder", "faulty", *options])
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr.startswith("error: header.mp4: TypeError in faulty 1.2: ") and done.stderr.count("\n") == 1
    good = CliRunner().invoke(main, ["probe", str(tmp_path / "videos" / "good.mp4"), "--decoder", "faulty", "--json"])
    assert good.exit_code == 0 and json.loads(good.stdout)["num_frames"] == 12


@pytest.mark.parametrize("seconds", ["0", "60"], ids=["here", "apart"])
def test_an_unexpected_error_outside_a_decoder_ends_the_run(faulty, monkeypatch, seconds):
    def defect(*arguments):
        raise TypeError("our own bug")

    monkeypatch.setattr(reading, "plan_clips", defect)
    done = CliRunner().invoke(main, [*faulty, "--stall-timeout", seconds])
    assert isinstance(done.exception, TypeError) and done.exit_code == 1


def test_errors_of_ours_pass_unchanged(tmp_path, monkeypatch):
    def pictures(self, info, wanted, *, num_threads):
        raise VideoTruncated("as it was said")

    info = get_decoder("pyav").probe(write_video(tmp_path / "a.mp4", 5))
    monkeypatch.setattr(PyAVDecoder, "pictures", pictures)
    with pytest.raises(VideoTruncated, match="^as it was said$"):
        list(get_decoder("pyav").pictures(info, {}, num_threads=1))
    monkeypatch.setattr(PyAVDecoder, "probe", lambda self, path, exact: path.stat())
    with pytest.raises(FileNotFoundError):
        get_decoder("pyav").probe(tmp_path / "none.mp4")


def test_an_unknown_version_of_the_library(tmp_path, monkeypatch):
    """Like PyAV 19 for a Longtake written for PyAV 18."""
    path = write_av(tmp_path / "a.mkv", seconds=2)
    decoder = get_decoder("pyav")
    info = decoder.probe(path)

    def open_without_old_options(*arguments, **options):
        raise TypeError("open() got an unexpected keyword argument 'metadata_errors'")

    monkeypatch.setattr(av, "open", open_without_old_options)
    version = decoder.description()
    assert version.startswith(f"pyav {av.__version__}")
    for call in (
        lambda: decoder.probe(path),
        lambda: list(decoder.pictures(info, {FrameRule(8, 8, 8, (0.0,) * 3, (1.0,) * 3): {0}}, num_threads=1)),
        lambda: original_rate(info),
        lambda: sound_seconds(info, 16_000),
        lambda: thumbnails(tmp_path, "a", "a.mkv", [0.0]),
        lambda: draw_overlay(path, tmp_path / "out.mp4", [Track("score", [0.0], [2.0], [], [1.0], "whole: 1.00")]),
    ):
        with pytest.raises(DecoderFailed, match="a.mkv: TypeError in pyav .*metadata_errors") as caught:
            call()
        assert version in str(caught.value)
    with pytest.raises(DecoderFailed) as caught:
        original_rate(info)
    assert (caught.value.kind, caught.value.stage) == ("TypeError", "sound")


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(DecoderFailed("a.mp4: it fails", "TypeError", "sound")))
    assert (str(error), error.kind, error.stage) == ("a.mp4: it fails", "TypeError", "sound")


def test_a_file_that_is_not_a_video_is_still_unreadable(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(VideoUnreadable):
        get_decoder("pyav").probe(tmp_path / "a.mp4")
