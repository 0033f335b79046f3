"""The speech embedding as a backbone: the real weights give what the library gives."""

from __future__ import annotations

import numpy as np
import torch

from longtake.extract.backbones import build
from longtake.extract.backbones.state_dict import load_state
from longtake.extract.backbones.weights import TABLE, resolve
from longtake.extract.cli import main as extract
from longtake.extract.decode import get_decoder
from longtake.extract.decode.sound import read_sound
from longtake.features.store import open_store
from tests.calls import invoke
from tests.extract.backbones.test_speech_embedding_network import embeddings, sound

ENTRY = TABLE["speech_embedding_openwakeword"]


def test_features_are_the_mean_of_the_librarys_embeddings_with_the_real_weights() -> None:
    backbone = build("speech-embedding")
    weights = resolve(None, backbone.spec)
    assert (weights.name, weights.sha256) == (ENTRY.name, ENTRY.sha256)
    backbone.load_weights(load_state(weights.path))
    samples = sound(40_000)
    expected = embeddings(samples)
    assert expected.shape == (22, 96)
    clips = torch.full((2, 50_000, 1), float("nan"))
    clips[0, :40_000, 0] = torch.from_numpy(samples / 32768)
    clips[1, :20_000, 0] = clips[0, 7_000:27_000, 0]
    found = backbone.forward(clips)
    apart = (found[0] - torch.from_numpy(expected.mean(0))).norm() / found[0].norm()
    assert float(apart) < 1e-4
    assert torch.equal(found[1], backbone.forward(clips.flip(0))[0]), "another place in the batch"
    other = embeddings(samples[7_000:27_000]).mean(0)
    torch.testing.assert_close(found[1], torch.from_numpy(other), rtol=1e-3, atol=1e-3)


def test_sound_of_a_real_recording(shared, tmp_path) -> None:
    """The rows of a store are the library's embeddings of the same seconds of speech."""
    (tmp_path / "m.csv").write_text("video_id,path\nnasa,nasa_13013.mp4\n")
    call = ["run", "--manifest", tmp_path / "m.csv", "--videos", shared / "videos", "--backbone", "speech-embedding"]
    invoke(extract, *map(str, [*call, "--clip-length", "64", "--out", tmp_path / "s.h5"]), status=0)
    with open_store(tmp_path / "s.h5") as store:
        video = store.stream().read("nasa")
    spans = list(zip(video.start_seconds, video.end_seconds))
    samples = list(read_sound(get_decoder("pyav").probe(shared / "videos" / "nasa_13013.mp4"), spans, 16_000))
    assert len(samples) == len(video.features) > 3
    for found, clip in zip(video.features, samples):
        expected = embeddings((clip * 32768).round().clip(-32768, 32767)).mean(0)
        assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)
    middle = video.features - video.features.mean(0)
    assert np.linalg.norm(middle, axis=1).min() > 0.05 * np.linalg.norm(video.features, axis=1).max(), "clips differ"
