"""The files of a Zarr store at a URL: no server may fill the memory with them."""

import pytest

from longtake.features import remote
from longtake.features.errors import NotAStore
from longtake.features.formats import remote_files
from longtake.features.store import open_store
from longtake.features.tools.inspect import diff
from tests.features.fakes import header, make_store
from tests.features.servers import http_server

WIDE = header(dim=256)


@pytest.mark.parametrize("part", ["/features/c.", "/labels/", "/streams/"])
def test_a_part_of_a_store_that_never_ends_is_refused(tmp_path, monkeypatch, part):
    for module in (remote, remote_files):
        monkeypatch.setattr(module, "MOST_OBJECT_BYTES", 1 << 22)
    make_store(tmp_path / "s.zarr", {"a": 40})
    with http_server(tmp_path, endless=part) as (url, sent):
        with pytest.raises(NotAStore, match="more than 4194304 bytes, which no file") as caught:
            with open_store(f"{url}/s.zarr") as store:
                _ = store.labels, store.stream().read("a")
        assert sum(sent) < 1 << 26 and "\n" not in str(caught.value)


def test_a_server_that_ignores_ranges_serves_the_same(tmp_path, monkeypatch):
    local = make_store(tmp_path / "s.zarr", {f"v{number}": 60 for number in range(40)}, head=WIDE)
    monkeypatch.setattr("tests.features.servers.RANGES", False)
    with http_server(tmp_path) as (url, _), open_store(f"{url}/s.zarr") as other, open_store(local) as one:
        assert diff(one, other) == []
