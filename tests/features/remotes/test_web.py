"""Remotes on a web server: read only, by ranges, and bounded."""

from __future__ import annotations

import pytest

from longtake.features import remote
from longtake.features.errors import FeaturesError, NotAStore
from longtake.features.remotes.web import WebPlace
from tests.features import servers
from tests.features.fakes import store_of
from tests.features.remotes.places import differences, pull_name, push_path
from tests.features.servers import failing_server, http_server


def test_a_web_server_is_read_only():
    place = WebPlace("https://example.org/stores/")
    assert place.url == "https://example.org/stores" and place.walk("stores") is None
    for write in (
        place.require_writable,
        lambda: place.put("a", b""),
        lambda: place.create("a", b""),
        lambda: place.replace_all({}),
    ):
        with pytest.raises(FeaturesError, match="read only"):
            write()


@pytest.mark.parametrize("ranges", [True, False])
def test_round_trip(tmp_path, monkeypatch, ranges):
    """Servers that ignore ranges as well."""
    monkeypatch.setattr(servers, "RANGES", ranges)
    store = store_of(tmp_path / "a.h5", "abc")
    push_path(store, str(tmp_path / "remote"))
    with http_server(tmp_path / "remote") as (url, _):
        assert differences(pull_name("rg", url).path, store) == []


def test_a_file_that_never_ends_and_one_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "MOST_OBJECT_BYTES", 1 << 18)
    (tmp_path / "large").write_bytes(bytes(100))
    with http_server(tmp_path, endless="endless") as (url, _):
        (tmp_path / "endless").write_bytes(b"")
        with pytest.raises(NotAStore, match="more than"):
            WebPlace(url).read("endless", 100)
        with pytest.raises(NotAStore, match="more than 99 bytes"):
            WebPlace(url).read("large", 99)
        assert WebPlace(url).read("none", 9) is None
        with pytest.raises(NotAStore, match="none"):
            WebPlace(url).read_range("none", 0, 9)


@pytest.mark.parametrize("how, words", [
    ("status-503", "failed with status 503"), ("status-403", "refuses access"), ("loop", "redirects without end"),
    ("silent", "did not answer in time"),
])  # fmt: skip
def test_a_server_that_fails_is_no_empty_remote(monkeypatch, how, words):
    monkeypatch.setattr(remote, "READ_SECONDS", 0.2)
    with failing_server() as url, pytest.raises(NotAStore, match=words):
        WebPlace(f"{url}/{how}").read("index.json", 99)
