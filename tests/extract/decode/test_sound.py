"""Sound is cut by the clock of the pictures, in files with and without sound."""

from __future__ import annotations

import csv
import json
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from longtake.extract import backbones
from longtake.extract.backbones.spec import Network
from longtake.extract.cli import main
from longtake.extract.clips import Timeline
from longtake.extract.decode import clock, get_decoder, sound
from longtake.extract.decode.base import RATE
from longtake.extract.decode.killable import InProcess
from longtake.extract.decode.sound import original_rate, read_sound, sound_seconds
from longtake.extract.errors import (
    SoundMissing,
    SoundUnreadable,
)
from longtake.extract.pipeline.reader import Begin, Files, NoSound, VideoReader
from longtake.extract.plan.plan import Job
from longtake.extract.plan.settle import Extractor
from longtake.extract.preprocessing import ClipRule, SoundRule
from longtake.extract.views.overlay import draw_overlay
from longtake.features.store import open_store
from longtake.manifests.table import ManifestRow
from tests.extract import fake_backbone
from tests.extract.media import PYAV, write_av, write_video

NAME = "loudness"


def loudness(network: torch.nn.Module, banks: torch.Tensor) -> torch.Tensor:
    """The mean of each clip's banks: a backbone without a network that hears."""
    assert banks.dtype == torch.float32 and banks.shape[1:] == (128, 128)
    return banks.mean(dim=(1, 2))[:, None]


def build(spec) -> Network:
    return Network(lambda num_classes: torch.nn.LayerNorm(1), features=loudness)


SPEC = backbones.BackboneSpec(
    name=NAME, title="Loudness (a test's)", modality="audio", dim=1,
    frames=SoundRule(16_000, 128, 128, mean=-4.27, std=4.57), clips=ClipRule(25, 25, "pad"), default_weights="none",
    citation="none", batch_size=3,
)  # fmt: skip


@pytest.fixture
def both(numbers_backbone, monkeypatch):
    """A backbone that sees and one that hears."""
    backbones.TABLE[NAME] = f"{__name__}:SPEC"
    return ["--backbone", fake_backbone.NAME, "--backbone", NAME]


def extract(folder: Path, *arguments: str, status: int = 0) -> dict:
    videos = sorted(path.stem for path in (folder / "videos").iterdir())
    with (folder / "m.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["video_id"], *([name] for name in videos)])
    call = ["run", "--manifest", str(folder / "m.csv"), "--videos", str(folder / "videos"), "--weights", "random",
            "--out", str(folder / "s.h5"), "--json", *arguments]  # fmt: skip
    done = CliRunner().invoke(main, call)
    assert done.exit_code == status, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("layout, rate", [("mono", 44_100), ("stereo", 48_000), ("5.1", 48_000)])
def test_a_flash_and_a_click_fall_into_the_same_clip(tmp_path, both, layout, rate):
    (tmp_path / "videos").mkdir()
    write_av(tmp_path / "videos" / "a.mkv", flash=3.5, click=3.5, rate=rate, layout=layout)
    write_av(tmp_path / "videos" / "late.mkv", flash=4.5, click=4.5, rate=rate, layout=layout, sound_start=2.0)
    extract(tmp_path, *both, "--clip-length", "25")
    with open_store(tmp_path / "s.h5") as store:
        seen, heard = store.stream(fake_backbone.NAME), store.stream(NAME)
        assert heard.header.clip_length == 25 and heard.header.preprocessing["sample_rate"] == 16_000
        for video_id, second in (("a", 3), ("late", 4)):
            pictures, sound = seen.read(video_id), heard.read(video_id)
            assert pictures.start_seconds.tolist() == sound.start_seconds.tolist() == [0, 1, 2, 3, 4, 5]
            assert pictures.end_seconds.tolist() == sound.end_seconds.tolist()
            assert int(sound.features[:, 0].argmax()) == second
            quiet = np.delete(sound.features[:, 0], second)
            assert sound.features[second, 0] > quiet.max() + 0.01
    info = get_decoder("pyav").probe(tmp_path / "videos" / "a.mkv")
    (whole,) = read_sound(info, [(0.0, 6.0)], 16_000)
    assert len(whole) == 96_000 and np.abs(whole).argmax() / 16_000 == pytest.approx(3.51, abs=0.03)


def test_a_video_without_sound_fails_for_audio_backbones_only(tmp_path, both):
    (tmp_path / "videos").mkdir()
    write_av(tmp_path / "videos" / "loud.mkv", seconds=2, click=0.5)
    write_video(tmp_path / "videos" / "mute.mp4", 50)
    done = extract(tmp_path, *both, status=1)
    assert done["failed"] == [
        {"video_id": "mute", "stage": "sound", "type": "SoundMissing", "message": "mute.mp4 has no sound"}
    ]
    with open_store(tmp_path / "s.h5") as store:
        assert len(store.stream(fake_backbone.NAME).read("mute").features) > 0
        assert store.stream(NAME).videos.statuses[1] == "failed"
    # The recipe names this policy, so that both kinds of features never mix.
    done = extract(tmp_path, *both, "--missing-sound", "silence", "--beside")
    with open_store(tmp_path / "s.h5") as store:
        silent = store.stream(f"{NAME}@{done['recipes'][NAME]}")
        assert silent.header.preprocessing["missing"] == "silent samples"
        features = silent.read("mute").features
        assert len(features) == len(store.stream(fake_backbone.NAME).read("mute").features)
    # The same features as those of a file with silent sound.
    write_av(tmp_path / "videos" / "mute.mkv", seconds=2)
    (tmp_path / "videos" / "mute.mp4").unlink()
    extract(tmp_path, *both, "--missing-sound", "silence", "--out", str(tmp_path / "t.h5"))
    with open_store(tmp_path / "t.h5") as store:
        np.testing.assert_allclose(features, store.stream(NAME).read("mute").features, atol=1e-6)


def test_equal_parts_of_the_sound_of_a_span(both, tmp_path):
    """The sound of a routine in a long file is that of its own seconds."""
    row = ManifestRow("a", path="a.mkv", start_seconds=2.0, end_seconds=4.0)
    path = write_av(tmp_path / "a.mkv", seconds=6, click=3.5)
    spec = backbones.get_spec(NAME)
    spec = replace(spec, frames=replace(spec.frames, spans="equal parts"))
    info = get_decoder("pyav").probe(path)

    def heard(row: ManifestRow) -> list:
        extractor = Extractor(spec, ClipRule(25, 25, "pad"), None, None, 1)
        sent = []
        files = Files(tmp_path, {}, get_decoder("pyav"), stall_seconds=0)
        reader = VideoReader(files, InProcess(), sent.append, threading.Event())
        reader.send_clips(Job(row, (extractor,)), info, files.decoder)
        return [message for message in sent if not isinstance(message, Begin)]

    quiet, loud = (clip.frames.mean() for clip in heard(row))
    assert loud > quiet + 0.01, (
        "the click is in the second half of the span, and in no half of the file's first seconds"
    )
    info = get_decoder("pyav").probe(write_av(tmp_path / "late.mkv", seconds=6, sound_start=4.5))
    (nothing,) = heard(row)
    assert isinstance(nothing, NoSound) and "no sound in the span" in str(nothing.error)


def test_spans_anywhere_in_the_file(tmp_path):
    info = get_decoder("pyav").probe(write_av(tmp_path / "a.mkv", seconds=2, click=1.0, sound_start=0.5))
    (whole,) = read_sound(info, [(0, 2)], 16_000)
    assert np.abs(whole[: 16_000 * 45 // 100]).max() == 0, "no sound yet"
    spans = [(0, 0.3), (0.2, 0.9), (0.2, 0.4), (0.9, 1.2), (1.9, 2.6)]
    for (start, end), samples in zip(spans, read_sound(info, spans, 16_000), strict=True):
        a, b = round(start * 16_000), round(start * 16_000) + round((end - start) * 16_000)
        assert len(samples) == b - a
        np.testing.assert_array_equal(samples[: len(whole[a:b])], whole[a:b])
        assert not samples[len(whole[a:b]) :].any(), "zeros after the end"
    assert sound_seconds(info, 16_000) == pytest.approx((0.5, 2.0), abs=0.1)
    with pytest.raises(SoundMissing, match="has no sound"):
        list(read_sound(get_decoder("pyav").probe(write_video(tmp_path / "m.mp4", 10)), [(0, 1)], 16_000))


def test_sound_is_cut_like_the_pictures(both):
    from longtake.extract.plan.options import RunOptions
    from longtake.extract.plan.settle import clip_rules

    specs = [backbones.get_spec(name) for name in ("clip", "ast", "i3d")]
    rules = clip_rules(specs, None, RunOptions())
    assert [rule.length for rule in rules] == [1, 16, 16]
    assert [rule.length for rule in clip_rules(specs[:2], None, RunOptions())] == [1, 32]


def test_sound_without_a_decoder(tmp_path):
    path = write_av(tmp_path / "a.mkv", seconds=2)
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    info = PYAV.probe(path)
    assert info.audio == "" and len(info.timeline) == 50
    for hear in (lambda: original_rate(info), lambda: list(read_sound(info, [(0, 1)], 16_000))):
        with pytest.raises(SoundUnreadable, match="no decoder for its sound"):
            hear()
    draw_overlay(path, tmp_path / "drawn.mp4", [])
    assert PYAV.probe(tmp_path / "drawn.mp4").audio == ""


def test_sound_that_changes_its_channels(tmp_path):
    """A stream of two joined recordings, as in television."""
    one = write_av(tmp_path / "one.ts", seconds=2, click=1.0, layout="mono")
    other = write_av(tmp_path / "other.ts", seconds=2, click=1.0, layout="stereo")
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + other.read_bytes())
    with av.open(str(both)) as container:
        assert {frame.layout.name for frame in container.decode(audio=0)} == {"mono", "stereo"}
    info = replace(PYAV.probe(one), path=both)
    (samples,) = read_sound(info, [(0, 2)], 16_000)
    assert np.abs(samples).max() > 0.3


def test_sound_keeps_its_clock_where_pictures_have_none(tmp_path, monkeypatch):
    """A recorder's clock starts anywhere, and some of its pictures have no time stamp."""
    write_av(tmp_path / "whole.mkv", seconds=2, click=1.0)
    path = tmp_path / "late.ts"
    with (
        av.open(str(tmp_path / "whole.mkv")) as before,
        av.open(str(path), "w", options={"output_ts_offset": "3600"}) as after,
    ):
        streams = {stream.index: after.add_stream_from_template(stream) for stream in before.streams}
        for packet in before.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                after.mux(packet)
    add = clock.Shown.add

    def without_every_third(shown, packet, time_base, **options):
        add(shown, packet, time_base, **options)
        if len(shown.seconds) % 3 == 0:
            shown.seconds[-1] = None

    monkeypatch.setattr(clock.Shown, "add", without_every_third)
    info = PYAV.probe(path)
    assert info.times_from == RATE and info.origin_seconds > 3599
    (samples,) = read_sound(info, [(0, 2)], 16_000)
    assert np.abs(samples).argmax() / 16_000 == pytest.approx(1.0, abs=0.1)


def test_a_hole_in_the_sound_takes_no_memory(tmp_path, monkeypatch):
    """A wrong time stamp makes a hole of days; only the part inside a span is in memory."""
    tone = np.ones(16_000, np.float32)
    blocks = [(0, tone), (16_000 * 3600 * 24 * 3, tone)]
    monkeypatch.setattr(sound, "_blocks", lambda info, rate: (block for block in blocks))
    largest = 0
    zeros = np.zeros

    def watched(shape, *arguments, **options):
        nonlocal largest
        largest = max(largest, int(np.prod(shape)))
        return zeros(shape, *arguments, **options)

    monkeypatch.setattr(sound.np, "zeros", watched)
    info = SimpleNamespace(timeline=Timeline(np.array([0.0]), 1.0))
    first, second, third = read_sound(info, [(0, 0.5), (0.5, 1.5), (259_200, 259_200.5)], 16_000)
    assert largest <= 16_000
    assert first.all() and second[:8000].all() and not second[8000:].any() and third.all()
