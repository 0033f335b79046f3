"""Fetching from a server that is slow, lying or absent, and files that would like to run code."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import safetensors.torch
import torch

from longtake.extract.backbones import get_spec, weights
from longtake.extract.backbones.download import cached_path, fetch, verify
from longtake.extract.backbones.state_dict import load_state, state_sha256
from longtake.extract.backbones.weights import resolve
from longtake.extract.cli import main
from longtake.extract.errors import WeightsError
from longtake.manifests.pretrained import WeightsEntry
from tests.calls import invoke

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """One file, whatever the path. `cut_after` closes the connection after so many bytes."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.cut_after: int | None = None
        self.knows_ranges = True
        self.requests: list[tuple[str, str | None]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                owner.requests.append((self.path, asked))
                start = int(re.fullmatch(r"bytes=(\d+)-", asked).group(1)) if asked and owner.knows_ranges else 0
                if start and start >= len(owner.content):
                    self.send_error(416)
                    return
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(owner.content) - 1}/{len(owner.content)}")
                self.send_header("Content-Length", str(len(owner.content) - start))
                self.end_headers()
                self.wfile.write(owner.content[start : owner.cut_after])

            def log_message(self, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/some/where/rgb.pt"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LONGTAKE_OFFLINE", "LONGTAKE_MIRROR", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LONGTAKE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def entry_for(url: str, sha256: str | None = SHA256) -> WeightsEntry:
    return WeightsEntry("toy", "i3d", url, "CC0-1.0", "A. Author", "", sha256, len(CONTENT))


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_fetch_verifies_and_then_needs_no_server(server: Server, cache: Path) -> None:
    entry, progress = entry_for(server.url), []
    path = fetch(entry, lambda done, total: progress.append((done, total)))
    assert path == cache / "toy.pt" == cached_path(entry)
    assert path.read_bytes() == CONTENT
    assert files(cache) == {"toy.pt"}
    assert progress[-1] == (len(CONTENT), len(CONTENT))
    fetch(entry)
    assert len(server.requests) == 1
    assert verify(entry) == SHA256


def test_commands_that_fetch_and_verify(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(weights.TABLE, "toy", entry_for(server.url))
    assert "fetch them first" in invoke(main, "weights", "verify", "toy", status=2).output
    assert invoke(main, "weights", "fetch", "toy").stdout == f"{cache / 'toy.pt'}\n"
    assert (cache / "toy.pt").read_bytes() == CONTENT
    assert invoke(main, "weights", "verify", "toy").stdout == f"toy: sha256 {SHA256} is correct\n"
    (row,) = [row for row in json.loads(invoke(main, "weights", "list", "--json").stdout) if row["name"] == "toy"]
    assert row["here"]
    (cache / "toy.pt").write_bytes(b"changed")
    assert f"but {SHA256} is registered" in invoke(main, "weights", "verify", "toy", status=2).output


def test_a_cut_download_is_resumed(server: Server, cache: Path) -> None:
    server.cut_after = 100_000
    with pytest.raises(WeightsError, match=f"cut after 100000 of {len(CONTENT)} bytes"):
        fetch(entry_for(server.url))
    assert files(cache) == {"toy.pt.partial"}
    server.cut_after = None
    assert fetch(entry_for(server.url)).read_bytes() == CONTENT
    assert server.requests[-1][1] == "bytes=100000-"
    assert files(cache) == {"toy.pt"}


def test_a_server_without_ranges_starts_over(server: Server, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "toy.pt.partial").write_bytes(b"x" * 1000)
    server.knows_ranges = False
    assert fetch(entry_for(server.url)).read_bytes() == CONTENT


def test_a_whole_partial_file_is_only_checked(server: Server, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "toy.pt.partial").write_bytes(CONTENT)
    assert fetch(entry_for(server.url)).read_bytes() == CONTENT


def test_the_partial_file_of_a_dead_process_is_taken_and_of_a_live_one_is_not(server: Server, cache: Path) -> None:
    cache.mkdir(parents=True)
    dead, live = cache / "toy.pt.partial.host-1", cache / "toy.pt.partial.host-2"
    for path in (dead, live):
        path.write_bytes(CONTENT[:5000])
    long_ago = time.time() - 3600
    os.utime(dead, (long_ago, long_ago))
    fetch(entry_for(server.url))
    assert server.requests == [("/some/where/rgb.pt", "bytes=5000-")]
    assert files(cache) == {"toy.pt", live.name}


def test_a_wrong_checksum_is_refused_and_nothing_kept(server: Server, cache: Path) -> None:
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(WeightsError, match=f"expected {SHA256}; it was not kept"):
        fetch(entry_for(server.url))
    assert files(cache) == set()
    server.content = CONTENT
    path = fetch(entry_for(server.url))
    path.write_bytes(b"changed")
    with pytest.raises(WeightsError, match="is registered"):
        fetch(entry_for(server.url))


def test_trust_on_first_use_is_said_and_a_change_is_detected(server: Server, cache: Path, caplog) -> None:
    entry = entry_for(server.url, sha256=None)
    with caplog.at_level(logging.WARNING):
        path = fetch(entry)
    assert "trusted at its first use" in caplog.text and SHA256 in caplog.text
    assert (cache / "toy.pt.sha256").read_text().split()[0] == SHA256 == verify(entry)
    caplog.clear()
    fetch(entry)
    assert not caplog.text
    path.write_bytes(b"changed")
    with pytest.raises(WeightsError, match="recorded at first use"):
        fetch(entry)
    path.unlink()  # the record outlives the file: another file from the same address is refused as well
    server.content = b"another file"
    with pytest.raises(WeightsError, match=f"expected {SHA256}"):
        fetch(entry)
    assert files(cache) == {"toy.pt.sha256"}


def test_a_cut_download_without_checksum_starts_over(server: Server, cache: Path) -> None:
    entry = entry_for(server.url, sha256=None)
    server.cut_after = 100_000
    with pytest.raises(WeightsError, match="cut after"):
        fetch(entry)
    server.cut_after, server.content = None, CONTENT[::-1]
    assert fetch(entry).read_bytes() == CONTENT[::-1]
    assert [asked for _, asked in server.requests] == [None, None]


def test_failures_say_what_to_do(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/rgb.pt"
    for wrong in (url, "http://no-such-host.invalid/rgb.pt", "gopher://x/rgb.pt"):
        with pytest.raises(WeightsError) as caught:
            fetch(entry_for(wrong))
        message = str(caught.value)
        for part in (f"could not download the weights toy from {wrong} (", "--weights PATH", "--weights random"):
            assert part in message
        assert "\n" not in message
    monkeypatch.setenv("LONGTAKE_OFFLINE", "1")
    with pytest.raises(WeightsError, match="LONGTAKE_OFFLINE forbids"):
        fetch(entry_for(server.url))
    assert server.requests == []
    with pytest.raises(WeightsError, match="fetch them first"):
        verify(entry_for(server.url))


def test_mirror(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = entry_for("http://no-such-host.invalid/rgb.pt")
    monkeypatch.setenv("LONGTAKE_MIRROR", server.url.rpartition("/")[0] + "/")
    path = fetch(entry)
    assert server.requests == [("/some/where/toy.pt", None)]
    path.unlink()
    (tmp_path / "toy.pt").write_bytes(CONTENT)
    monkeypatch.setenv("LONGTAKE_MIRROR", tmp_path.as_uri())
    assert fetch(entry).read_bytes() == CONTENT


def test_resolve(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = get_spec("i3d")
    monkeypatch.setitem(weights.TABLE, "toy", entry_for(server.url))
    monkeypatch.setitem(weights.TABLE, "alien", replace(entry_for(server.url), name="alien", backbone="vst"))
    random = resolve("random:7", spec)
    assert (random.name, random.path, random.sha256, random.is_random, random.seed) == ("random:7", None, None, True, 7)
    assert resolve("random", spec).name == "random:0"
    named = resolve("toy", spec)
    assert (named.name, named.sha256, named.is_random) == ("toy", SHA256, False)
    assert resolve(None, replace(spec, default_weights="toy")) == named
    own = tmp_path / "mine.pt"
    own.write_bytes(b"abc")
    assert resolve(str(own), spec).sha256 == hashlib.sha256(b"abc").hexdigest()
    for argument, message in (
        ("random:x", "whole number"),
        ("random:-1", "whole number"),
        ("alien", "are for vst, not for i3d"),
        ("i3d_rgb_imagenets", "did you mean i3d_rgb_imagenet"),
        (str(tmp_path), "neither a file nor registered weights"),
        ("", "neither a file nor registered weights"),
    ):
        with pytest.raises(WeightsError, match=message):
            resolve(argument, spec)


def test_the_first_digits_that_a_file_name_states(server: Server, cache: Path) -> None:
    entry = replace(entry_for(server.url, None), sha256_prefix=SHA256[:8])
    assert fetch(entry).read_bytes() == CONTENT
    other = replace(entry, name="other", sha256_prefix="0" * 8)
    with pytest.raises(WeightsError, match="expected 00000000...; it was not kept"):
        fetch(other)
    assert not any("other" in name for name in files(cache))


def test_weights_that_no_program_can_fetch(cache: Path) -> None:
    by_hand = [entry for entry in weights.list_entries() if entry.by_hand]
    assert by_hand
    for entry in by_hand:
        with pytest.raises(
            WeightsError, match="have to be fetched by hand: https://.* Then give the file with --weights"
        ):
            fetch(entry)


def test_registered_entries_are_complete() -> None:
    names = [entry.file_name for entry in weights.list_entries()]
    assert len(set(names)) == len(names)
    for entry in weights.list_entries():
        assert weights.TABLE[entry.name] is entry
        assert entry.url.startswith("https://") and entry.licence and entry.citation
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)


STATE = {"b": torch.arange(3), "a.weight": torch.randn(2, 3, generator=torch.Generator().manual_seed(0))}


def write_state(path: Path, kind: str) -> None:
    if kind == "safetensors":
        safetensors.torch.save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=kind == "zip")


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_load_state_tells_files_by_their_bytes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.bin"  # the suffix says nothing
    write_state(path, kind)
    state = load_state(path)
    assert state_sha256(state) == state_sha256(STATE)
    torch.save({"state_dict": {"module.x": torch.ones(1)}, "epoch": 1}, path)
    assert list(load_state(path)) == ["x"]


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_files_that_are_not_whole_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.bin"
    write_state(path, kind)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="weights.bin"):
            load_state(path)


class CreatesAFile:
    """Unpickled the careless way, it creates the file `path`."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
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


def test_other_files_are_named_for_what_they_are(tmp_path: Path) -> None:
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


def test_state_sha256_sees_names_types_shapes_and_values() -> None:
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
