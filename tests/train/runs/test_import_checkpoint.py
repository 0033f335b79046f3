"""Checkpoints from elsewhere: what they may not replace, and files that are none."""

import struct
import zipfile
from argparse import Namespace
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from longtake.features.store import open_store
from longtake.train.cli import main
from longtake.train.engine.checkpoint import load_checkpoint
from longtake.train.errors import CheckpointError
from longtake.train.heads.gdlt import GDLT, GDLTSettings
from longtake.train.runs.evaluate import evaluate_run
from longtake.train.runs.import_checkpoint import load_tensors
from tests.calls import invoke
from tests.train.planted import planted_store, with_headers


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status).output


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    store = planted_store(folder / "s.h5", num_train=6, num_test=4, categories=("A", "B"), with_text=False)
    torch.save(GDLT(32, GDLTSettings(width=16)).state_dict(), folder / "best.pth")
    return store, ("import-checkpoint", folder / "best.pth", "--head", "gdlt", "--features", store, "--score", "total")


def test_a_trained_run_is_not_written_into(lab, tmp_path):
    store, call = lab
    out = tmp_path / "run"
    run("heads", "--features", store, "--head", "gdlt", "--epochs", 1, "--set", "width=16", "--no-floor", "--out", out)
    before = {path: path.read_bytes() for path in (out / "checkpoints").iterdir()}
    assert before
    assert "holds a run of `train heads`" in run(*call, "--category", "A", "--out", out, status=2)
    assert {path: path.read_bytes() for path in (out / "checkpoints").iterdir()} == before


@pytest.mark.parametrize(
    "head, reason", [("mscadc", "maps of pixels"), ("tsa-net", "inside I3D"), ("m-bert", "no layers")]
)
def test_heads_whose_published_weights_cannot_be_read_say_why(lab, tmp_path, head, reason):
    said = run(*lab[1], "--head", head, "--out", tmp_path / "run", status=2)
    assert f"published checkpoints of {head} cannot be imported: " in said and reason in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("head", ["sgn", "vatp-net", "sca", "i3d-mlp", "ridge"])
def test_heads_without_published_code_say_so(lab, tmp_path, head):
    said = run(*lab[1], "--head", head, "--out", tmp_path / "run", status=2)
    assert f"no code of {head} was published, so there are no checkpoints to import" in said
    assert "missing" not in said and not (tmp_path / "run").exists()


def test_what_no_weight_shows_is_named_with_the_value_taken(lab, tmp_path):
    said = run(*lab[1], "--category", "A", "--out", tmp_path / "one")
    assert "no weight shows heads=1; if the checkpoint was trained with other values, give them with --set" in said
    assert "no weight shows" not in run(*lab[1], "--category", "A", "--set", "heads=4", "--out", tmp_path / "four")


def test_imports_share_a_folder_that_training_leaves_alone(lab, tmp_path):
    store, call = lab
    for category in ("A", "B"):
        run(*call, "--category", category, "--out", tmp_path / "run")
    with open_store(store) as opened:
        rows = evaluate_run(tmp_path / "run", opened, "test")
    assert [row.checkpoint for row in rows] == ["A-total-seed0", "B-total-seed0"]
    train = ("heads", "--features", store, "--head", "ridge", "--out", tmp_path / "run")
    assert "holds checkpoints of no run of `train heads`" in run(*train, status=2)
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    "words, message",
    [
        (("--category", "Bb"), "has no category 'Bb'; did you mean B? (there are A, B)"),
        (("--category", "Z"), "has no category 'Z' (there are A, B)"),
    ],
)
def test_heads_of_unknown_categories(lab, tmp_path, words, message):
    _, call = lab
    assert message in run(*call, *words, "--out", tmp_path / "run", status=2)
    assert not (tmp_path / "run").exists()


def test_sizes_that_do_not_fit_each_other(lab, tmp_path):
    _, call = lab
    said = run(*call, "--category", "A", "--set", "heads=3", "--out", tmp_path / "run", status=2)
    assert "head gdlt cannot be built with these settings" in said


def test_sound_of_random_weights_marks_an_import(lab, tmp_path):
    store, call = lab
    heard = {"backbone": "heard", "modality": "audio"}
    for name, random in (("random:0", True), ("known", False)):
        sound = {**heard, "weights": name, "weights_random": random}
        path = with_headers(tmp_path / f"{random}.h5", store, lambda one, sound=sound: [one, replace(one, **sound)])
        words = [path if word == store else word for word in call]
        out = tmp_path / name.partition(":")[0]
        run(*words, "--category", "A", "--backbone", "planted", "--audio", "heard", "--out", out)
        (checkpoint,) = (out / "checkpoints").iterdir()
        assert load_checkpoint(checkpoint)[1].random_weights is random


def as_published(state):
    """Layouts of checkpoints that published training code writes, each with the same head."""
    network, rest = {"conv.weight": torch.zeros(3)}, {"epoch": 3, "optimizer": {"state": {}, "param_groups": []}}
    results = {"rho_best": np.float64(0.8), "pred": np.zeros(3), "args": Namespace(lr=0.1)}
    spread = {f"module.{name}": value for name, value in state.items()}
    return {
        "CoRe and HGCN": {"base_model": network, "regressor": spread, **rest, **results},
        "MUSDL": {"i3d": network, "evaluator": state, **rest, **results},
        "TPT": {"model": spread, "backbone": network, **rest},
        "PCLN": {"state_dict": state, **rest},
        "one part": {"weights": state, **rest},
        "joined": {f"regressor.module.{name}": value for name, value in state.items()}
        | {"base_model.x": torch.zeros(1)},
        "a wrapped head": {f"model.head.{name}": value for name, value in state.items()},
        "compiled": {f"_orig_mod.module.{name}".replace("0.", "0._orig_mod."): value for name, value in state.items()},
        "results between the weights": {**state, "best": 0.8, "name": "x", "rho": np.float64(0.8)},
    }


@pytest.mark.parametrize("layout", as_published({}))
def test_layouts_of_published_checkpoints(tmp_path, layout):
    state = {"first.weight": torch.ones(2), "second.0.bias": torch.ones(1)}
    torch.save(as_published(state)[layout], tmp_path / "best.pth")
    assert load_tensors(tmp_path / "best.pth").keys() == state.keys()


def test_wrappers_in_safetensors(tmp_path):
    save_file({"module._orig_mod.first.weight": torch.ones(2)}, tmp_path / "best.safetensors")
    assert set(load_tensors(tmp_path / "best.safetensors")) == {"first.weight"}


def test_weights_of_a_training_that_diverged_are_refused(lab, tmp_path):
    state = GDLT(32, GDLTSettings(width=16)).state_dict()
    state["decoder.norm.bias"][1] = float("nan")
    torch.save(state, tmp_path / "best.pth")
    _, call = lab
    call = (call[0], tmp_path / "best.pth", *call[2:], "--category", "A", "--out", tmp_path / "run")
    assert "has weights that are NaN, such as decoder.norm.bias: its training diverged" in run(*call, status=2)
    assert not (tmp_path / "run").exists()


def test_parts_of_a_head_keep_their_names(tmp_path):
    parts = {name: {"module.fc.weight": torch.ones(1)} for name in ("taa", "regressor", "decoder", "base_model")}
    torch.save({**parts, "L2_min": np.float64(1.0)}, tmp_path / "last.pth")
    assert set(load_tensors(tmp_path / "last.pth")) == {"taa.fc.weight", "regressor.fc.weight", "decoder.fc.weight"}


def test_weights_whose_names_would_be_the_same_stay(tmp_path):
    torch.save({"module.a": torch.zeros(1), "a": torch.ones(1)}, tmp_path / "two.pth")
    assert set(load_tensors(tmp_path / "two.pth")) == {"module.a", "a"}


@pytest.mark.parametrize("kind", ["torch", "npz", "safetensors"])
def test_weights_of_half_precision_without_counts_of_batches(lab, tmp_path, kind):
    store, call = lab
    state = {name: value.half() for name, value in GDLT(32, GDLTSettings(width=16)).state_dict().items() if value.dim()}
    path = tmp_path / "half.bin"
    if kind == "torch":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    elif kind == "npz":
        with path.open("wb") as file:
            np.savez(file, **{name: value.numpy() for name, value in state.items()})
    else:
        save_file(state, path)
    run(call[0], path, *call[2:], "--category", "A", "--out", tmp_path / "run")
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    head = load_checkpoint(checkpoint)[0]
    torch.testing.assert_close(head.prototypes.detach(), state["prototypes"].float())


@pytest.mark.parametrize(
    "head, name",
    [
        ("tsa", "decoder.sa.fc_i.weight"),
        ("core", "clf_layers.x.weight"),
        ("tpt", "pair_encoder.mlp.0.weight"),
        ("tsa", "decoder"),
        ("gdlt", "module"),
    ],
)
def test_weights_of_another_network_are_refused(lab, tmp_path, head, name):
    store, call = lab
    torch.save({name: torch.zeros(2)}, tmp_path / "other.pth")
    words = [head if word == "gdlt" else word for word in call]
    words[1] = tmp_path / "other.pth"
    said = run(*words, "--category", "A", "--out", tmp_path / "run", status=2)
    assert "does not fit the head" in said or f"does not hold the weights of a published {head}" in said
    assert not (tmp_path / "run").exists()


def test_settings_that_the_weights_contradict_are_named(lab, tmp_path):
    said = run(*lab[1], "--category", "A", "--set", "width=24", "--out", tmp_path / "run", status=2)
    assert "of another shape: " in said and "--set width=24, and the weights show width=16" in said


def cut(path):
    torch.save({"a": torch.zeros(999)}, path)
    directory = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 46, 0, 0)
    path.write_bytes(path.read_bytes()[:-30] + directory)


def of_words(path):
    with path.open("wb") as file:
        np.savez(file, a=np.array(["words"]))


def flipped(path):
    with path.open("wb") as file:
        np.savez_compressed(file, a=np.arange(9999.0))
    whole = bytearray(path.read_bytes())
    whole[200:260] = bytes(60)
    path.write_bytes(whole)


def no_array(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"not an array")


def of_numbers(path):
    torch.save({0: torch.zeros(1)}, path)


@pytest.mark.parametrize("make", [cut, of_words, flipped, no_array, of_numbers, lambda path: path.write_bytes(b"")])
def test_files_that_are_not_checkpoints(tmp_path, make):
    make(tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="x.pth (is not a file of plain tensors: .|does not hold a state dict)"):
        load_tensors(tmp_path / "x.pth")


def packed_zeros(path):
    with path.open("wb") as file:
        np.savez_compressed(file, a=np.zeros(20_000_000, np.float32))


def packed_torch(path):
    torch.save({"a": torch.zeros(20_000_000)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def one_number_repeated(path):
    torch.save({"a": torch.zeros(1).expand(10**12)}, path)


@pytest.mark.parametrize("make", [packed_zeros, packed_torch, one_number_repeated])
def test_small_files_of_large_tensors(tmp_path, make):
    make(tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="x.pth unpacks to .* bytes, more than .* 64 MiB"):
        load_tensors(tmp_path / "x.pth")
