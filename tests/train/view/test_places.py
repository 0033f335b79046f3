"""A laboratory at a URL, and one on a plain web server with its videos."""

import json
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from longtake.features.catalog.walk import Folders
from longtake.train.cli import main
from longtake.train.view.build import read
from tests.browser import LAPTOP, PHONE
from tests.calls import invoke
from tests.extract.media import write_video
from tests.features.servers import s3_server
from tests.train.view.test_routines import kept


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def plain_server(folder):
    """Python's own: it lists folders, and knows no ranges."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def contents(place):
    with Folders.of([place]) as folders:
        site = read(folders).site
        found = {name: json.loads(site.json(name)) for name in ("runs", "sweeps", "benches")}
        for rows in found.values():
            for row in rows:
                row.pop("place"), row.pop("date", None)
        pairs = {name: site.json(name) for name in ("paired-0-1", "run-0")}
    return found, pairs


@pytest.fixture
def results(lab):
    """Without stores: that they are read from URLs is tested elsewhere."""
    for path in (lab / "gym.h5", lab / "broken.h5", lab / "empty-sweep" / "sweep.json"):
        path.unlink()
    (lab / "empty-sweep").rmdir()
    (lab / "other.zarr").rename(lab.parent / "other.zarr")
    (lab / "sweep" / "notes").mkdir()
    return lab


def test_runs_sweeps_and_benches_on_a_web_server(results):
    with plain_server(results) as url:
        there, pairs = contents(url)
    here, expected = contents(results)
    assert there == here and pairs == expected
    assert [one["lines"][0]["head"] for one in there["sweeps"]] == ["ridge"] and there["benches"][0]["tables"]


def test_runs_sweeps_and_benches_in_a_bucket(results, monkeypatch):
    import boto3

    with s3_server(monkeypatch) as bucket:
        client = boto3.client("s3")
        for path in results.rglob("*.*"):
            client.put_object(Bucket=bucket, Key=f"lab/{path.relative_to(results)}", Body=path.read_bytes())
        there, pairs = contents(f"s3://{bucket}/lab")
    here, expected = contents(results)
    assert there == here and pairs == expected


@pytest.mark.parametrize("width", [LAPTOP, PHONE])
def test_videos_play_from_a_plain_web_server(lab, tmp_path, browser, width):
    kept(lab / "runs" / "one")
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", 50)
    write_video(tmp_path / "videos" / "unknown.mp4", 5)
    said = invoke(main, "view", lab, "--export", tmp_path / "site", "--videos", tmp_path / "videos").stdout
    assert "videos: 1 linked to (0.0 MB, which takes no room on this disk)" in said
    assert [path.name for path in (tmp_path / "site" / "video").iterdir()] == ["0.mp4"], "of the stores' videos alone"
    with plain_server(tmp_path / "site") as url:
        opened = browser.open(f"{url}/#/find?dataset=gym&id=a", width)
        opened.page.wait_for_selector("video")
        opened.until("document.querySelector('video').readyState >= 1")
        assert opened.page.evaluate("document.querySelector('video').duration") == pytest.approx(2, abs=0.1)
        opened.page.click("text=Attention over time")
        opened.page.wait_for_selector(".watch video")
        opened.until("document.querySelector('video').readyState >= 1")
        assert opened.problems() == []
    opened = browser.open(f"{(tmp_path / 'site' / 'index.html').as_uri()}#/find?dataset=gym&id=a", width)
    opened.page.wait_for_selector("video")
    opened.until("document.querySelector('video').readyState >= 1")
    assert opened.problems() == [], "and from a file share"
