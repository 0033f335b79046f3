"""MLAVL's modules against plain numpy, every switch, and what sound is good for."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord
from longtake.train.cli import main
from longtake.train.data.batches import BatchMaker
from longtake.train.data.dataset import FeatureSet
from longtake.train.engine.losses import total_loss
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import DataError, SettingsError
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from longtake.train.protocol.run import run
from longtake.train.runs.evaluate import evaluate_run
from tests.train.heads.kit import make_batch, make_head

RNG = np.random.default_rng(3)


SWITCHES = [
    {"s2ce": False}, {"mag2": "gcn"}, {"mag2": "none"}, {"avcf": False}, {"dpg": False}, {"language": False},
    {"s2ce": False, "mag2": "none", "avcf": False, "dpg": False}, {"mag2": "none", "avcf": False, "dpg": False},
]  # fmt: skip
"""Rows of Table 5 and modalities of Figure 4."""


@pytest.mark.parametrize("name", ["avcf", "pgt"])
@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_every_row_of_the_ablation_can_be_trained(name, switches):
    head = make_head(name, **switches).train()
    batch = make_batch([9, 7, 5, 8])
    loss, _ = total_loss(head(batch), batch.target01, TrainSettings(ce_weight=0.01))
    loss.backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, parameter_name
    head.eval()
    with torch.no_grad():
        together = head(batch).score01
        cut = slice(0, 1), slice(9)
        alone = head(type(batch)(batch.clips[cut], batch.mask[cut], batch.target01[:1], (0,), batch.audio[cut])).score01
    np.testing.assert_allclose(alone, together[:1], atol=1e-6)


def test_language_off_needs_no_texts():
    head = make_head("avcf", language=False)
    assert not head.needs(head.settings).texts and not [name for name, _ in head.named_buffers() if "texts" in name]


def test_an_unknown_form_of_mag2():
    with pytest.raises(SettingsError, match="takes one of sage, gcn, none"):
        make_head("pgt", mag2="gat")


def audio_visual_store(path, *, num_train=160, num_test=80, dim=16, shift=False, seed=0):
    """SIMULATED. Each clip has a beat of sound and a beat of movement, +1 or -1 along a direction of each modality. Quality is
    the share of clips in which both agree: neither modality alone says anything about it."""
    rng = np.random.default_rng(seed)
    streams = {name: [] for name in ("video", "audio")}
    ids, splits, scores = [], [], []
    for number in range(num_train + num_test):
        quality, length = rng.uniform(), int(rng.integers(20, 31))
        movement = rng.choice([-1.0, 1.0], length)
        sound = np.where(rng.uniform(size=length) < quality, movement, -movement)
        times = np.arange(length, dtype=float)
        for name, beat in (("video", movement), ("audio", sound)):
            table = 0.3 * rng.normal(size=(length, dim))
            table[:, 0] += 2 * beat
            record = VideoRecord(f"v{number:03d}")
            made = VideoFeatures(record, table.astype(np.float32), times, times + 1)
            if shift and name == "audio" and number == 3:
                made = VideoFeatures(record, made.features[:-1], times[:-1], times[:-1] + 1)
            streams[name].append(made)
        ids.append(f"v{number:03d}")
        splits.append("train" if number < num_train else "test")
        scores.append(10 * quality)
    labels = Labels(tuple(ids), tuple(splits), ("",) * len(ids), ("total",), np.array(scores)[:, None])
    plans = []
    for name, videos in streams.items():
        header = FeatureHeader(name, name, dim, "planted", None, False, 16, 16, "pad", 25.0)
        items = [StreamItem(v.record, len(v.features), lambda v=v: v) for v in videos]
        plans.append(StreamPlan(header, np.dtype(np.float32), items))
    write_store(path, dataset="planted", card=None, labels=labels, streams=plans)
    return path


@pytest.mark.parametrize("head, audio", [("avcf", "audio"), ("pgt", None)])
def test_quality_that_is_only_in_the_agreement(tmp_path, head, audio):
    store = audio_visual_store(tmp_path / "av.h5", num_train=128, num_test=64)
    settings = (
        ("language", False), ("width", 32), ("heads", 4), ("dropout", 0.0), ("epochs", 20), ("batch_size", 32), ("lr", 5e-3),
    )  # fmt: skip
    options = Options(head=head, backbone="video", audio=audio, floor=False, evaluate_every=20, overrides=settings)
    with open_store(store) as opened:
        experiment = prepare(opened, options)
    (result,) = run(experiment, lambda *_: None)
    found = result.fitted.test.spearman
    assert found > 0.8 if audio else abs(found) < 0.3, found


def texts_store(path):
    """A planted store with the action texts of MLAVL's prompts."""
    from longtake.features.parts import add_text
    from longtake.features.types import TextFeatures, TextHeader
    from tests.train.planted import planted_store

    planted_store(path, num_train=12, num_test=6)
    header = TextHeader("planted", 24, "random:0", None, weights_random=True)
    features = RNG.normal(size=(7, 24)).astype(np.float32)
    groups = ("visual_actions",) * 4 + ("visual_grades",) * 3
    text = TextFeatures("mlavl", header, tuple(map(str, range(7))), groups, features)
    add_text(path, "planted", None, text)


@pytest.mark.parametrize("head", ["gdlt", "gslm", "pgt"])
def test_mag2_before_any_visual_head(tmp_path, head):
    store = tmp_path / "p.h5"
    texts_store(store)
    call = [
        "heads",
        "--features",
        str(store),
        "--head",
        head,
        "--epochs",
        "2",
        "--no-floor",
        "--out",
        str(tmp_path / "run"),
    ]
    call += ["--plugin", "mag2", *(("--set", "scores=11") if head == "gslm" else ())]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 0, done.output
    (model,) = json.loads((tmp_path / "run" / "metrics.json").read_text())["models"]
    with open_store(store) as opened:
        (row,) = evaluate_run(tmp_path / "run", opened, "test")
    assert row.metrics.mse == pytest.approx(model["test"]["mse"], rel=1e-5), "the plug-in is in the checkpoint"
    assert row.random_weights, "its texts were encoded by random weights"
    done = CliRunner().invoke(
        main, ["sweep", *call[1:5], "--set", "epochs=2", *call[10:], "--out", str(tmp_path / "sweep"), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["lines"][0]["mse"] == pytest.approx(model["test"]["mse"], rel=1e-5)
    refused = CliRunner().invoke(main, [*call[:4], "ridge", *call[5:]])
    assert refused.exit_code == 2 and "nothing for a plug-in to learn" in refused.output
    refused = CliRunner().invoke(main, [*call, "--plugin", "mag3"])
    assert refused.exit_code == 2 and "did you mean mag2" in refused.output


def test_sound_and_pictures_have_the_same_clips(tmp_path):
    with open_store(audio_visual_store(tmp_path / "av.h5", num_train=6, num_test=2, shift=True)) as store:
        with pytest.raises(DataError, match="1 videos have other clips of sound than of pictures, such as v003"):
            FeatureSet.load(store, "video", "audio")
        with pytest.raises(DataError, match="needs sound: name its features with --audio"):
            prepare(store, Options(head="avcf", backbone="video", overrides=(("language", False),)))
    with open_store(audio_visual_store(tmp_path / "b.h5", num_train=6, num_test=2)) as store:
        data = FeatureSet.load(store, second="audio")
        assert data.header.backbone == "video" and data.second_header.backbone == "audio"
        rows = np.array([2, 5])
        batch = next(BatchMaker(data).test(rows, np.zeros(2), window=9, test_window="centre", batch_size=2))
        for place, row in enumerate(batch.rows):
            whole = store.stream("audio").read(data.video_ids[row]).features
            start = (len(whole) - 9) // 2
            np.testing.assert_array_equal(batch.audio[place], whole[start : start + 9])
