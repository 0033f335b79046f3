"""The published implementations' own numbers: outputs, patterns, logits, losses, gradients, and the user's road to them."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.features.types import FeatureHeader, TextFeatures, TextHeader, VideoFeatures, VideoRecord
from longtake.train.cli import main
from longtake.train.engine.losses import total_loss
from longtake.train.engine.settings import TrainSettings
from longtake.train.heads.base import Batch, Prototypes
from longtake.train.heads.gdlt import GDLT, GDLTSettings
from longtake.train.heads.gslm import GSLM, GSLMSettings
from longtake.train.heads.mlavl import MLAVL, MLAVLSettings, VisualMLAVL
from longtake.train.heads.published import rename
from longtake.train.runs.evaluate import evaluate_run

NUM_SCORES = 101
MLAVL_GROUPS = {"visual_actions": 7, "audio_actions": 7, "audio_visual_grades": 12, "visual_grades": 6}
BEFORE_A_NORM = tuple(
    f"{projection}.{layer}.bias"
    for projection in ("context.projection", "visual", "audio", "text", "avcf.clip_wise")
    for layer in ("linear1", "linear2")
)
"""A batch norm takes their shift away again: their gradients are zero but for rounding."""


def golden(shared, name):
    with np.load(shared / "golden" / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def weights_of(numbers):
    return {k.removeprefix("weight/"): torch.from_numpy(v) for k, v in numbers.items() if k.startswith("weight/")}


def mlavl_texts(numbers):
    ends = np.cumsum(list(MLAVL_GROUPS.values()))
    return dict(zip(MLAVL_GROUPS, np.split(numbers["text"], ends[:-1])))


@pytest.fixture(params=["gdlt", "qgvl", "mlavl"])
def published(request, shared):
    """(numbers, our head with their weights, their loss weights, a batch of their inputs)."""
    numbers = golden(shared, request.param)
    if request.param == "gdlt":
        head = GDLT(96, GDLTSettings(width=64, heads=4, dropout=0.0))
        losses = TrainSettings(mse_weight=1.0, triplet_weight=1.0, ce_weight=0.0)
    elif request.param == "mlavl":
        settings = MLAVLSettings(width=64, heads=4, grading_layers=2, dropout=0.0)
        head = MLAVL(96, settings, Prototypes(mlavl_texts(numbers), False), audio_dim=768)
        losses = TrainSettings(ce_weight=0.01)
    else:
        texts = {"grades": numbers["text"][NUM_SCORES:], "scores": numbers["text"][:NUM_SCORES]}
        head = GSLM(96, GSLMSettings(heads=4, dropout=0.0), Prototypes(texts, False))
        losses = TrainSettings()
    missing, unexpected = head.load_state_dict(rename(weights_of(numbers), head.KEY_MAP), strict=False)
    assert not unexpected and all(name.endswith("_texts") for name in missing)
    clips = torch.from_numpy(numbers["clips"])
    audio = torch.from_numpy(numbers["audio"]) if "audio" in numbers else None
    mask = torch.ones(clips.shape[:2], dtype=torch.bool)
    batch = Batch(clips, mask, torch.from_numpy(numbers["target"]), (0,) * 5, audio)
    return numbers, head, losses, batch


def test_evaluation(published):
    numbers, head, losses, batch = published
    head.eval()
    with torch.no_grad():
        output = head(batch)
        loss, _ = total_loss(output, batch.target01, losses)
    np.testing.assert_allclose(output.score01, numbers["eval/output"], atol=1e-5)
    np.testing.assert_allclose(output.patterns[0], numbers["eval/embed"], atol=1e-5)
    if "audio" in numbers:
        # Patterns of both branches, then the projected texts, which are the same for every video.
        for number, patterns in enumerate(output.patterns[1:], 2):
            expected = numbers[f"eval/embed{number}"]
            np.testing.assert_allclose(patterns.expand(expected.shape), expected, atol=1e-5)
        for number, logits in enumerate(output.logits, 1):
            np.testing.assert_allclose(logits, numbers[f"eval/logits{number}"], atol=1e-5)
    elif len(output.patterns) > 1:
        np.testing.assert_allclose(output.patterns[1], numbers["eval/embed2"], atol=1e-5)
        # Cosines times 100: to 1e-5 of their scale.
        np.testing.assert_allclose(output.logits[0] / 100, numbers["eval/clip_grade"] / 100, atol=1e-5)
        np.testing.assert_allclose(output.logits[1] / 100, numbers["eval/clip_score"] / 100, atol=1e-5)
    assert float(loss) == pytest.approx(float(numbers["eval/loss"]), abs=1e-5)


def test_training_step(published):
    numbers, head, losses, batch = published
    head.train()
    output = head(batch)
    loss, _ = total_loss(output, batch.target01, losses)
    loss.backward()
    np.testing.assert_allclose(output.score01.detach(), numbers["train/output"], atol=1e-5)
    assert float(loss.detach()) == pytest.approx(float(numbers["train/loss"]), abs=1e-5)
    names = rename(
        {k.removeprefix("grad_norm/"): torch.tensor(v) for k, v in numbers.items() if "grad_norm/" in k}, head.KEY_MAP
    )
    parameters = dict(head.named_parameters())
    assert set(names) == set(parameters), "every parameter has a published gradient"
    for name, expected in names.items():
        found = float(parameters[name].grad.norm())
        if name in BEFORE_A_NORM:
            assert found < 1e-6 and float(expected) < 1e-6
        else:
            assert found == pytest.approx(float(expected), rel=1e-4), name


@pytest.mark.parametrize("kind", ["torch", "safetensors", "npz"])
@pytest.mark.parametrize("name", ["gdlt", "qgvl", "mlavl"])
def test_import_checkpoint_and_evaluate(shared, tmp_path, name, kind):
    """What a user with a published checkpoint does: import it, score a store with it."""
    numbers = golden(shared, name)
    checkpoint = tmp_path / "best.pth"
    state = weights_of(numbers)
    if kind == "torch":
        torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, checkpoint)
    elif kind == "safetensors":
        from safetensors.torch import save_file

        save_file(state, checkpoint)
    else:
        with checkpoint.open("wb") as file:
            np.savez(file, **{key: value.numpy() for key, value in state.items()})
    store = tmp_path / "golden.h5"
    make_store(store, numbers)
    head = {"gdlt": "gdlt", "qgvl": "gslm", "mlavl": "avcf"}[name]
    call = ["import-checkpoint", str(checkpoint), "--head", head, "--features", str(store), "--score", "total"]
    call += ["--audio", "sound"] if name == "mlavl" else []
    done = CliRunner().invoke(main, [*call, "--set", "heads=4", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    with open_store(store) as opened:
        (row,) = evaluate_run(tmp_path / "run", opened, None)
    # The labels' largest value is the top of the scale, and the lowest is 0.
    predicted = np.array([row.predicted[f"v{i}"] for i in range(5)]) / numbers["target"].max()
    np.testing.assert_allclose(predicted, numbers["eval/output"], atol=1e-5)


def test_the_visual_branch_of_published_weights(shared):
    """A published checkpoint of the whole model gives the branch that needs no sound."""
    numbers = golden(shared, "mlavl")
    texts = {name: rows for name, rows in mlavl_texts(numbers).items() if name.startswith("visual")}
    head = VisualMLAVL(96, MLAVLSettings(width=64, heads=4, grading_layers=2, dropout=0.0), Prototypes(texts, False))
    state = VisualMLAVL.from_published(weights_of(numbers))
    assert not head.load_state_dict(state, strict=False).unexpected_keys
    clips = torch.from_numpy(numbers["clips"])
    batch = Batch(clips, torch.ones(clips.shape[:2], dtype=torch.bool), torch.zeros(5), (0,) * 5)
    with torch.no_grad():
        found = head.eval()(batch).patterns[0]
    np.testing.assert_allclose(found, numbers["eval/embed2"], atol=1e-5)


def make_store(path, numbers):
    header = FeatureHeader("golden", "video", 96, "none", None, False, None, None, None, None)
    times = np.arange(17.0)
    videos = [VideoFeatures(VideoRecord(f"v{i}"), numbers["clips"][i], times, times + 1) for i in range(5)]
    items = [StreamItem(video.record, 17, lambda video=video: video) for video in videos]
    target = numbers["target"].astype(float)[:, None]
    labels = Labels(tuple(f"v{i}" for i in range(5)), ("test",) * 5, ("",) * 5, ("total",), target)
    texts = []
    streams = [StreamPlan(header, np.dtype(np.float32), items)]
    if "audio" in numbers:
        header = FeatureHeader("sound", "audio", 768, "none", None, False, None, None, None, None)
        sounds = [VideoFeatures(VideoRecord(f"v{i}"), numbers["audio"][i], times, times + 1) for i in range(5)]
        items = [StreamItem(sound.record, 17, lambda sound=sound: sound) for sound in sounds]
        streams.append(StreamPlan(header, np.dtype(np.float32), items))
        groups = tuple(group for group, count in MLAVL_GROUPS.items() for _ in range(count))
        header_text = TextHeader("golden", 512, "none", None, False)
        texts = [TextFeatures("mlavl", header_text, tuple(map(str, range(32))), groups, numbers["text"])]
    elif "text" in numbers:
        groups = ("scores",) * NUM_SCORES + ("grades",) * 4
        header_text = TextHeader("golden", 64, "none", None, False)
        texts = [TextFeatures("qgvl", header_text, tuple(map(str, range(105))), groups, numbers["text"])]
    write_store(path, dataset="golden", card=None, labels=labels, streams=streams, texts=texts)


def test_a_checkpoint_that_does_not_fit_is_refused_with_the_list(tmp_path):
    from tests.train.planted import planted_store

    store = planted_store(tmp_path / "p.h5", num_train=4, num_test=4)
    torch.save({"in_proj.0.weight": torch.zeros(3, 32, 1), "surprise": torch.zeros(1)}, tmp_path / "x.pth")
    call = [
        "import-checkpoint",
        str(tmp_path / "x.pth"),
        "--head",
        "gdlt",
        "--features",
        str(store),
        "--score",
        "total",
    ]
    done = CliRunner().invoke(main, [*call, "--out", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert "missing: " in done.output and "unexpected: surprise" in done.output and "of another shape" in done.output


def test_a_malicious_checkpoint_is_not_run(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"state_dict": Evil()}))
    from tests.train.planted import planted_store

    store = planted_store(tmp_path / "p.h5", num_train=4, num_test=4)
    call = [
        "import-checkpoint",
        str(tmp_path / "evil.pth"),
        "--head",
        "gdlt",
        "--features",
        str(store),
        "--score",
        "total",
    ]
    done = CliRunner().invoke(main, [*call, "--out", str(tmp_path / "run")])
    assert done.exit_code == 2 and "Traceback" not in done.output
    assert "what only code could load" in done.output and "weights_only" not in done.output
    assert not (tmp_path / "owned").exists()
