"""State dicts are read from untrusted files without executing code from them."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from longtake.errors import LongtakeWarning
from longtake.extract.backbones.state_dict import join_rows, load_state, split_rows, state_sha256
from longtake.extract.errors import WeightsError

STATE = {"b": torch.arange(3), "a.weight": torch.randn(2, 3, generator=torch.Generator().manual_seed(0))}


def write_state(path: Path, kind: str) -> None:
    if kind == "safetensors":
        safetensors.torch.save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=kind == "zip")


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_load_state_recognises_files_by_their_bytes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.bin"  # the suffix does not matter
    write_state(path, kind)
    state = load_state(path)
    assert state_sha256(state) == state_sha256(STATE)
    torch.save({"state_dict": {"_orig_mod.module.x": torch.ones(1)}, "epoch": 1}, path)
    assert list(load_state(path)) == ["x"]


def test_a_second_set_of_the_same_weights_is_named(tmp_path: Path) -> None:
    """Which of the two is meant is not known; buffers and the optimizer's state are no second set."""
    path, average = tmp_path / "weights.pt", {f"module.{name}": value + 1 for name, value in STATE.items()}
    others = {"epoch": 3, "optimizer": {"state": {0: torch.ones(1)}}, "buffers": {"b": torch.ones(3)}}
    torch.save({"model": STATE, **others}, path)
    with warnings.catch_warnings(action="error", category=LongtakeWarning):
        assert state_sha256(load_state(path)) == state_sha256(STATE)
    torch.save({"model_ema": average, "model": STATE, **others}, path)
    with pytest.warns(LongtakeWarning, match="twice: 'model' is taken, not model_ema"):
        assert state_sha256(load_state(path)) == state_sha256(STATE)


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_truncated_files_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.bin"
    write_state(path, kind)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="weights.bin"):
            load_state(path)


class CreatesAFile:
    """Creates the file `path` when it is unpickled without care."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_code_in_a_file_is_not_executed(tmp_path: Path) -> None:
    trap, path = tmp_path / "owned", tmp_path / "weights.pt"
    payload = {"a": torch.ones(1), "state": CreatesAFile(trap)}
    pickle.loads(pickle.dumps(payload["state"]))
    assert trap.exists(), "the trap itself must work"
    trap.unlink()
    for protocol in (2, 4):
        path.write_bytes(pickle.dumps(payload["state"], protocol=protocol))
        with pytest.raises(WeightsError, match="refused.*could run code"):
            load_state(path)
    for zipped in (True, False):
        torch.save(payload, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(WeightsError, match="refused.*could run code") as caught:
            load_state(path)
        assert "\n" not in str(caught.value)
    assert not trap.exists()


def test_a_small_file_of_large_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(20_000_000)}, tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "w.pt") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(WeightsError, match="w.pt is refused: it unpacks to .* bytes, more than .* 64 MiB"):
        load_state(tmp_path / "w.pt")


def test_the_error_names_the_kind_of_other_files(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    for content, message in (
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "begins with b'<!DOCTYPE html><'"),
        (struct.pack("<Q", 10**9) + b"{", "neither a safetensors nor a torch file"),
        (b"", "neither"),
    ):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=message):
            load_state(path)
    with pytest.raises(WeightsError, match="no weights file"):
        load_state(tmp_path / "absent.pt")
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(path))
    with pytest.raises(WeightsError, match="TorchScript"):
        load_state(path)


def test_state_sha256_depends_on_names_types_shapes_and_values() -> None:
    base = {"a": torch.zeros(4), "b": torch.tensor(1.5)}
    others = (
        {"a": torch.zeros(4), "c": torch.tensor(1.5)},
        {"a": torch.zeros(2, 2), "b": torch.tensor(1.5)},
        {"a": torch.zeros(4, dtype=torch.int32), "b": torch.tensor(1.5)},
        {"a": torch.zeros(4), "b": torch.tensor(1.25)},
    )
    assert len({state_sha256(state) for state in (base, *others)}) == 5
    assert state_sha256(dict(reversed(base.items()))) == state_sha256(base)
    assert state_sha256({"h": torch.ones(2, dtype=torch.bfloat16)})
    assert state_sha256({"t": torch.arange(6).view(2, 3).T}) == state_sha256(
        {"t": torch.arange(6).view(2, 3).T.clone()}
    )


def test_rows_are_split_and_joined() -> None:
    state = {"a.qkv.weight": torch.arange(12.0).view(6, 2), "a.qkv.bias": torch.arange(5.0), "b": torch.tensor(1.0)}
    parts = (".q.", ".k.", ".v.")
    split = split_rows(state, ".qkv.", parts)
    assert torch.equal(split["a.k.weight"], state["a.qkv.weight"][2:4])
    assert torch.equal(split["a.qkv.bias"], state["a.qkv.bias"]), "five rows are not three parts"
    again = join_rows(split, parts, ".qkv.")
    assert again.keys() == state.keys() and torch.equal(again["a.qkv.weight"], state["a.qkv.weight"])
    del split["a.v.weight"]
    assert "a.q.weight" in join_rows(split, parts, ".qkv."), "incomplete parts stay, and the check names them"
