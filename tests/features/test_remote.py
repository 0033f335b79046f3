"""Stores at URLs: read from a web server and from an object store, fetching only what is needed."""

import io
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from click.testing import CliRunner

from longtake.features import remote
from longtake.features.cli import main
from longtake.features.errors import NotAStore
from longtake.features.formats import hdf5
from longtake.features.store import open_store, write_store
from longtake.features.tools.inspect import diff
from tests.features.fakes import header, labels, make_store, plan, video
from tests.features.servers import failing_server, forget_clients, http_server, s3_server

WIDE = header(dim=256)
LENGTHS = {f"v{number:03d}": 60 + number % 7 for number in range(200)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One store in both kinds: 200 videos, 12 MB, of which one video is 64 kB."""
    folder = tmp_path_factory.mktemp("stores")
    for suffix in (".h5", ".zarr"):
        make_store(folder / f"big{suffix}", LENGTHS, head=WIDE)
    return folder


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_reading_one_video_transfers_about_that_video(folder, suffix):
    with http_server(folder) as (url, sent), open_store(f"{url}/big{suffix}") as store:
        opened = sum(sent)
        video_there = store.stream().read("v100")
        one = sum(sent) - opened
        again = len(store.stream().read("v101").features)
        whole = (folder / "big.h5").stat().st_size
        assert again and opened < 0.06 * whole, f"opening took {opened} of {whole} bytes"
        # Chunks are read whole, and the first video also brings the list of ids.
        assert video_there.features.nbytes < one + 1 < video_there.features.nbytes + 600_000
    with open_store(folder / f"big{suffix}") as store:
        np.testing.assert_array_equal(store.stream().read("v100").features, video_there.features)


@contextmanager
def anywhere(place, folder, monkeypatch):
    """The folder's stores at URLs."""
    if place == "http":
        with http_server(folder) as (url, _):
            yield url
        return
    with s3_server(monkeypatch) as bucket:
        import fsspec

        fsspec.filesystem("s3").put(f"{folder}/", f"{bucket}/x/", recursive=True)
        yield f"s3://{bucket}/x"


@pytest.mark.parametrize("place", ["http", "s3"])
@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_the_commands_take_urls(tmp_path, monkeypatch, place, suffix):
    from longtake.train.cli import main as train

    folder = tmp_path / "stores"
    local = make_store(folder / f"some store{suffix}", {f"v{number}": 9 for number in range(12)})
    with anywhere(place, folder, monkeypatch) as base:
        url = f"{base}/some store{suffix}"
        with open_store(local) as one, open_store(url) as other:
            assert diff(one, other) == []
        done = CliRunner().invoke(main, ["info", url])
        assert done.exit_code == 0 and "12 videos, 108 clips x 3" in done.output
        done = CliRunner().invoke(
            train, ["heads", "--features", url, "--head", "ridge", "--folds", "2", "--out", str(tmp_path / "run")]
        )
        assert done.exit_code == 0, done.output
        done = CliRunner().invoke(main, ["info", f"{base}/none{suffix}"])
        assert done.exit_code == 2 and f"none{suffix}" in done.output and done.output.count("error:") == 1


def test_writing_to_an_object_store(tmp_path, monkeypatch):
    with s3_server(monkeypatch) as bucket:
        url = f"s3://{bucket}/features/rg.zarr"
        for length in (3, 4, 5):
            videos = [video("a", length)]
            write_store(url, dataset="d", card=None, labels=labels(["a"]), streams=[plan(header(), videos)])
            with open_store(url) as store:
                np.testing.assert_array_equal(store.stream().read("a").features, videos[0].features)
        import fsspec

        there = [Path(name).name for name in fsspec.filesystem("s3").ls(f"{bucket}/features/rg.zarr", refresh=True)]
        assert len(there) == 3 and "zarr.json" in there, "the current generation and the one before"
        local = make_store(tmp_path / "b.h5", {"b": 9})
        for call in (["convert", str(local), url], ["merge", str(local), "--out", url]):
            done = CliRunner().invoke(main, call)
            assert done.exit_code == 2 and f"{url} exists; choose another name" in done.output, done.output
        with open_store(url) as store:
            assert store.stream().videos.video_ids == ("a",)
        done = CliRunner().invoke(main, ["convert", str(local), f"s3://{bucket}/features/new.zarr"])
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    "url, message",
    [
        ("http://127.0.0.1:9/x.h5", "127.0.0.1:9"),
        ("http://127.0.0.1:9/x.zarr", "127.0.0.1:9"),
        ("abc://lab/x.h5", "abc"),
        ("https://example.org/x.npy", "must end in"),
    ],
)
def test_places_that_cannot_be_reached(url, message):
    with pytest.raises(NotAStore, match=message) as caught:
        open_store(url)
    assert str(caught.value).count("cannot read") <= 1


def test_a_server_that_fails_while_it_is_read(tmp_path, monkeypatch):
    """Errors of clients of remote servers pass through h5py unchanged."""
    path = make_store(tmp_path / "s.h5", {"a": 3, "b": 200})

    class Flaky(io.FileIO):
        works = True

        def readinto(self, buffer):
            if not self.works:
                raise aiohttp.ClientPayloadError("503")
            return super().readinto(buffer)

    source = Flaky(path)
    monkeypatch.setattr(hdf5, "open_binary", lambda url: source)
    with open_store("http://far.away/s.h5") as store:
        source.works = False
        with pytest.raises(NotAStore, match="cannot be read: 503"):
            store.stream().read("b")
        source.works = True
        assert len(store.stream().read("b").features) == 200


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_failures_of_a_web_server_are_named(monkeypatch, suffix):
    monkeypatch.setattr(remote, "READ_SECONDS", 0.2)
    cases = {
        "status-503": "cannot read .*: the server failed with status 503; try again later",
        "status-403": "cannot read .*: the server refuses access, with status 403",
        "status-404": "no feature store at",
        "loop": "cannot read .*: the server redirects without end",
        "endless": "does not state the size of the file",
        "silent": "cannot read .*: the server did not answer in time: it sent nothing for 0.2 s; try again later",
    }
    with failing_server() as url:
        for how, words in cases.items():
            with pytest.raises(NotAStore, match=words) as caught:
                open_store(f"{url}/{how}/s{suffix}")
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how, words", [
    ("silent", "cannot read s3://silent/s.*: the server did not answer in time: it sent nothing for 0.2 s; try again later"),
    ("status-503", "cannot read s3://.*: the server failed with status 503; try again later"),
    ("status-403", "cannot read s3://.*: the server refuses access, with status 403"),
    ("status-301", "cannot read s3://.*: the server redirects"),
    ("endless", "s3://.*: the server does not state the size of"),
    ("rangeless", r"s3://.*: the server ignores the range of \d+ bytes that was asked for: its answer has 1073741824"),
])  # fmt: skip
@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_failures_of_an_object_store_are_named(monkeypatch, suffix, how, words):
    monkeypatch.setattr(remote, "READ_SECONDS", 0.2)
    monkeypatch.setattr(remote, "S3_ATTEMPTS", 1)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "test")
    with failing_server() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        forget_clients()
        with pytest.raises(NotAStore, match=words) as caught:
            open_store(f"s3://{how}/s{suffix}")
        assert "\n" not in str(caught.value)


def test_what_is_wrong_is_named(monkeypatch):
    class NoCredentialsError(Exception):
        pass

    with pytest.raises(NotAStore, match="connection refused: no server runs at this address and port"):
        open_store("http://127.0.0.1:9/s.h5")
    assert remote.reason(NoCredentialsError()).startswith("no credentials: set AWS_ACCESS_KEY_ID")
    with pytest.raises(NotAStore, match="does not serve ranges of it .HTTP Range requests."):
        remote._require_size("http://host/s.h5", None)
