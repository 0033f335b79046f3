"""Downloads from a server that is slow, wrong or absent."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from longtake.extract.backbones import weights
from longtake.extract.backbones.download import cached_path, fetch, verify
from longtake.extract.cli import main
from longtake.extract.errors import WeightsError
from tests.calls import invoke
from tests.extract.backbones.server import CONTENT, SHA256, Server, entry_for


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


def test_an_interrupted_download_is_resumed(server: Server, cache: Path) -> None:
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


def test_a_complete_partial_file_is_only_verified(server: Server, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "toy.pt.partial").write_bytes(CONTENT)
    assert fetch(entry_for(server.url)).read_bytes() == CONTENT


def test_only_the_partial_file_of_a_dead_process_is_reused(server: Server, cache: Path) -> None:
    cache.mkdir(parents=True)
    dead, live = cache / "toy.pt.partial.host-1", cache / "toy.pt.partial.host-2"
    for path in (dead, live):
        path.write_bytes(CONTENT[:5000])
    long_ago = time.time() - 3600
    os.utime(dead, (long_ago, long_ago))
    fetch(entry_for(server.url))
    assert server.requests == [("/some/where/rgb.pt", "bytes=5000-")]
    assert files(cache) == {"toy.pt", live.name}


def test_a_file_with_a_wrong_checksum_is_refused_and_deleted(server: Server, cache: Path) -> None:
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(WeightsError, match=f"expected {SHA256}; it was not kept"):
        fetch(entry_for(server.url))
    assert files(cache) == set()
    server.content = CONTENT
    path = fetch(entry_for(server.url))
    path.write_bytes(b"changed")
    with pytest.raises(WeightsError, match="is registered"):
        fetch(entry_for(server.url))


def test_trust_at_first_use_is_logged_and_a_change_is_detected(server: Server, cache: Path, caplog) -> None:
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


def test_an_interrupted_download_without_checksum_starts_over(server: Server, cache: Path) -> None:
    entry = entry_for(server.url, sha256=None)
    server.cut_after = 100_000
    with pytest.raises(WeightsError, match="cut after"):
        fetch(entry)
    server.cut_after, server.content = None, CONTENT[::-1]
    assert fetch(entry).read_bytes() == CONTENT[::-1]
    assert [asked for _, asked in server.requests] == [None, None]


def test_failed_downloads_say_what_to_do(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_mirror_replaces_the_address(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = entry_for("http://no-such-host.invalid/rgb.pt")
    monkeypatch.setenv("LONGTAKE_MIRROR", server.url.rpartition("/")[0] + "/")
    path = fetch(entry)
    assert server.requests == [("/some/where/toy.pt", None)]
    path.unlink()
    (tmp_path / "toy.pt").write_bytes(CONTENT)
    monkeypatch.setenv("LONGTAKE_MIRROR", tmp_path.as_uri())
    assert fetch(entry).read_bytes() == CONTENT


def test_the_first_digits_of_a_checksum_are_compared(server: Server, cache: Path) -> None:
    entry = replace(entry_for(server.url, None), sha256_prefix=SHA256[:8])
    assert fetch(entry).read_bytes() == CONTENT
    other = replace(entry, name="other", sha256_prefix="0" * 8)
    with pytest.raises(WeightsError, match="expected 00000000...; it was not kept"):
        fetch(other)
    assert not any("other" in name for name in files(cache))


@pytest.mark.parametrize(
    "status, headers, message",
    [
        (200, {"Content-Length": "many"}, "announces 'many' bytes"),
        (200, {"Content-Length": "-5"}, "announces '-5' bytes"),
        (200, {"Content-Length": str(10**15)}, f"announces {10**15} bytes, at most {len(CONTENT)} are expected"),
        (200, {"Content-Encoding": "gzip"}, "compressed, as 'gzip'"),
        (200, {"Content-Type": "text/html; charset=utf-8"}, "a web page in place of the file"),
        (204, {}, "answers with status 204"),
        (206, {"Content-Range": "bytes 5-9/10"}, "answers with status 206"),
        (302, {"Location": "ftp://127.0.0.1/x"}, "could not download"),
        (302, {"Location": "file:///etc/passwd"}, "could not download"),
        (302, {"Location": "/some/where/rgb.pt"}, "could not download"),
        (500, {}, "HTTP Error 500"),
    ],
)
@pytest.mark.parametrize("sha256", [SHA256, None])
def test_odd_answers_are_one_line_and_leave_nothing(
    server: Server, cache: Path, status, headers, message, sha256
) -> None:
    server.status, server.headers = status, headers
    with pytest.raises(WeightsError, match=message) as caught:
        fetch(entry_for(server.url, sha256))
    assert "\n" not in str(caught.value)
    assert not {"toy.pt", "toy.pt.sha256"} & files(cache)


def test_a_body_without_end_is_cut(server: Server, cache: Path) -> None:
    server.headers, server.content = {"Content-Length": None}, CONTENT * 20
    with pytest.raises(WeightsError, match=f"sends more than {len(CONTENT)} bytes"):
        fetch(entry_for(server.url))
    assert not any(path.name.startswith("toy.pt.partial") for path in cache.iterdir())
    server.content = CONTENT
    assert fetch(entry_for(server.url)).read_bytes() == CONTENT


def test_an_empty_file_is_no_file(server: Server, cache: Path) -> None:
    server.content = b""
    with pytest.raises(WeightsError, match="an empty file"):
        fetch(entry_for(server.url, None))
    assert not {"toy.pt", "toy.pt.sha256"} & files(cache)


def test_a_file_always_has_its_record(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is written before the file gets its name, in one step."""
    entry, replace_file = entry_for(server.url, sha256=None), os.replace

    def killed(source, target):
        if Path(target).name == "toy.pt":
            raise KeyboardInterrupt
        replace_file(source, target)

    monkeypatch.setattr("longtake.extract.backbones.download.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        fetch(entry)
    monkeypatch.undo()
    monkeypatch.setenv("LONGTAKE_CACHE", str(cache.parent))
    assert (cache / "toy.pt.sha256").read_text().startswith(SHA256) and not (cache / "toy.pt").exists()
    assert fetch(entry).exists() and verify(entry) == SHA256


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"not a checksum\n", b"0" * 63])
def test_a_damaged_record_is_one_line(server: Server, cache: Path, content: bytes) -> None:
    entry = entry_for(server.url, sha256=None)
    fetch(entry)
    (cache / "toy.pt.sha256").write_bytes(content)
    with pytest.raises(WeightsError, match="toy.pt.sha256 is damaged: it has no sha256. Remove it and toy.pt"):
        fetch(entry)


@pytest.mark.parametrize(
    "mirror", ["http://[bad", "http://host:port", "no address", "http://" + "a" * 300, "ftp://host"]
)
def test_a_mirror_that_is_no_address(cache: Path, monkeypatch: pytest.MonkeyPatch, mirror: str) -> None:
    monkeypatch.setenv("LONGTAKE_MIRROR", mirror)
    with pytest.raises(WeightsError, match="could not download the weights toy"):
        fetch(entry_for("https://unused.invalid/rgb.pt"))


def test_a_mirror_of_pipes(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "toy.pt")
    monkeypatch.setenv("LONGTAKE_MIRROR", tmp_path.as_uri())
    with pytest.raises(WeightsError, match="a named pipe"):
        fetch(entry_for("https://unused.invalid/rgb.pt"))


def test_a_user_without_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LONGTAKE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: Path("~/.cache") / name)
    message = "no home folder for downloaded weights: name a folder with LONGTAKE_CACHE"
    assert message in invoke(main, "weights", "where", status=2).output
    assert message in invoke(main, "weights", "fetch", "i3d_rgb_imagenet", status=2).output
    assert json.loads(invoke(main, "weights", "list", "--json").stdout)
