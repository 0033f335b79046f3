"""Sound: cut by the clock of the pictures, filter banks as Kaldi writes them, and files without any."""

from __future__ import annotations

import csv
import json
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from longtake.extract import backbones
from longtake.extract.backbones.audio_spectrogram import SPEC as AST
from longtake.extract.cli import main
from longtake.extract.decode import get_decoder
from longtake.extract.decode.filter_banks import FLOOR, filter_banks, kaldi_banks
from longtake.extract.decode.killable import InProcess
from longtake.extract.decode.sound import read_sound, sound_seconds
from longtake.extract.errors import SoundMissing
from longtake.extract.pipeline.reader import Files, NoSound, VideoReader
from longtake.extract.plan.job import Extractor, Job
from longtake.extract.preprocessing import ClipRule, SoundRule
from longtake.features.store import open_store
from longtake.manifests.table import ManifestRow
from tests.extract import fake_backbone
from tests.extract.media import HEIGHT, WIDTH, write_video

RNG = np.random.default_rng(0)
NAME = "loudness"


def write_av(
    path: Path, *, seconds: float = 6.0, fps: int = 25, flash: float | None = None, click: float | None = None,
    rate: int = 48_000, layout: str = "stereo", sound_start: float = 0.0, title: str = "",
) -> Path:  # fmt: skip
    """Dark pictures with one bright frame at `flash`, silence with a click of 20 ms at `click`."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("aac" if layout != "5.1" else "ac3", rate=rate, layout=layout)
        channels = len(av.AudioLayout(layout).channels)
        for place in (container, video, audio):
            place.metadata.update({"title": title} if title else {})
        for number in range(round(seconds * fps)):
            bright = flash is not None and number == round(flash * fps)
            picture = np.full((HEIGHT, WIDTH, 3), 235 if bright else 16, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = np.zeros((channels, round((seconds - sound_start) * rate)), np.float32)
        if click is not None:
            begin = round((click - sound_start) * rate)
            samples[:, begin : begin + rate // 50] = np.sin(np.arange(rate // 50) * 2 * np.pi * 1000 / rate) * 0.8
        for begin in range(0, samples.shape[1] - 1535, 1536):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, begin : begin + 1536]), "fltp", layout)
            frame.rate, frame.pts, frame.time_base = rate, begin + round(sound_start * rate), Fraction(1, rate)
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return path


class Loudness:
    """The mean of each clip's banks: a backbone without a network that hears."""

    spec, device = backbones.get_spec("ast"), torch.device("cpu")

    def init_random(self, seed: int) -> None:
        pass

    def state_dict(self) -> dict:
        return {"none": torch.zeros(1)}

    def forward(self, banks: torch.Tensor) -> torch.Tensor:
        assert banks.dtype == torch.float32 and banks.shape[1:] == (128, 128)
        return banks.mean(dim=(1, 2))[:, None]


def build(spec, *, precision: str, device: str) -> Loudness:
    built = Loudness()
    built.spec = spec
    return built


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


def test_a_video_without_sound_fails_for_those_that_hear_only(tmp_path, both):
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
    # A policy for such files, which the recipe names, so that both kinds of features never mix.
    done = extract(tmp_path, *both, "--missing-sound", "silence", "--beside")
    with open_store(tmp_path / "s.h5") as store:
        silent = store.stream(f"{NAME}@{done['recipes'][NAME]}")
        assert silent.header.preprocessing["missing"] == "silent samples"
        features = silent.read("mute").features
        assert len(features) == len(store.stream(fake_backbone.NAME).read("mute").features)
    # As those of a file whose sound is silent.
    write_av(tmp_path / "videos" / "mute.mkv", seconds=2)
    (tmp_path / "videos" / "mute.mp4").unlink()
    extract(tmp_path, *both, "--missing-sound", "silence", "--out", str(tmp_path / "t.h5"))
    with open_store(tmp_path / "t.h5") as store:
        np.testing.assert_allclose(features, store.stream(NAME).read("mute").features, atol=1e-6)


def test_equal_parts_of_the_sound_of_a_span(both, tmp_path):
    """A routine in a long file hears its own seconds, not the file's."""
    row = ManifestRow("a", path="a.mkv", start_seconds=2.0, end_seconds=4.0)
    path = write_av(tmp_path / "a.mkv", seconds=6, click=3.5)
    spec = backbones.get_spec(NAME)
    spec = replace(spec, frames=replace(spec.frames, spans="equal parts"))
    info = get_decoder("pyav").probe(path)

    def heard(row: ManifestRow) -> list:
        extractor = Extractor(spec, ClipRule(25, 25, "pad"), None, None, 1)
        sent = []
        files = Files(tmp_path, {}, get_decoder("pyav"), num_threads=1, stall_seconds=0)
        reader = VideoReader(files, InProcess(), sent.append, threading.Event())
        reader.send_clips(Job(row, (extractor,)), info, files.decoder)
        return sent

    quiet, loud = (clip.frames.mean() for clip in heard(row))
    assert loud > quiet + 0.01, (
        "the click is in the second half of the span, and in no half of the file's first seconds"
    )
    info = get_decoder("pyav").probe(write_av(tmp_path / "late.mkv", seconds=6, sound_start=4.5))
    (nothing,) = heard(row)
    assert isinstance(nothing, NoSound) and "no sound in the span" in str(nothing.error)


def test_spans_in_any_place(tmp_path):
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


def kaldi(samples: np.ndarray, rate: int, bins: int) -> np.ndarray:
    """Kaldi's compute-fbank-feats written out: window by window, filter by filter."""
    length, hop = rate * 25 // 1000, rate * 10 // 1000
    fft = 1
    while fft < length:
        fft *= 2
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / (length - 1))

    def mel(hertz):
        return 1127 * np.log(1 + hertz / 700)

    edges = np.linspace(mel(20), mel(rate / 2), bins + 2)
    rows = []
    for begin in range(0, len(samples) - length + 1, hop):
        frame = samples[begin : begin + length].astype(float)
        frame = frame - frame.mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft(frame * window, fft)) ** 2
        at = mel(np.arange(len(power)) * rate / fft)
        row = []
        for left, centre, right in zip(edges, edges[1:], edges[2:]):
            weights = np.maximum(0, np.minimum((at - left) / (centre - left), (right - at) / (right - centre)))
            weights[-1] = 0  # Kaldi leaves out the highest frequency
            row.append(np.log(max(weights @ power, FLOOR)))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_banks_are_kaldis(rate):
    samples = RNG.normal(size=20_480) * 0.1
    found = kaldi_banks(samples, rate, 128)
    # 1.28 s at 16 kHz give 126 frames; taken for 48 kHz, as one release of features did, they give 41.
    assert found.shape == ({16_000: 126, 48_000: 41}[rate], 128)
    np.testing.assert_allclose(found, kaldi(samples, rate, 128), atol=1e-3)


def test_the_two_recipes():
    samples = (RNG.normal(size=20_480) * 0.1 + 0.05).astype(np.float32)
    right = filter_banks(samples, AST.frames, 48_000)
    assert right.shape == (1024, 128)
    expected = (kaldi(samples - samples.mean(), 16_000, 128) + 4.2677393) / (2 * 4.5689974)
    np.testing.assert_allclose(right[:126], expected, atol=1e-3)
    np.testing.assert_allclose(right[126:], 4.2677393 / (2 * 4.5689974), rtol=1e-6)
    from longtake.extract.plan.recipes import apply_recipe

    released = apply_recipe("pamfn", AST).frames
    other = filter_banks(samples, released, 48_000)
    expected = (kaldi(samples + samples.mean(), 48_000, 128) + 4.2677393) / (2 * 4.5689974)
    np.testing.assert_allclose(other[:41], expected, atol=1e-3)
    assert (other[41:] == other[41, 0]).all()
    assert np.ptp(filter_banks(np.zeros(100, np.float32), AST.frames, 48_000)) == 0, "too short for a window"


def test_sound_is_cut_like_the_pictures_beside_it(both):
    from longtake.extract.plan.options import RunOptions
    from longtake.extract.plan.settle import clip_rules

    specs = [backbones.get_spec(name) for name in ("clip", "ast", "i3d")]
    rules = clip_rules(specs, None, RunOptions())
    assert [rule.length for rule in rules] == [1, 16, 16]
    assert [rule.length for rule in clip_rules(specs[:2], None, RunOptions())] == [1, 32]
