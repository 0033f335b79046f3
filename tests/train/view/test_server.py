"""The pages over HTTP: read-only, for our own pages alone, with ranges of videos."""

import http.client
import json
import threading
from contextlib import contextmanager

import pytest

from longtake.features.catalog.walk import Folders
from longtake.train.errors import TrainError
from longtake.train.view import server
from longtake.train.view.build import read
from longtake.train.view.videos import VideoFiles
from tests.browser import LAPTOP, PHONE

uvicorn = pytest.importorskip("uvicorn")


@contextmanager
def served(lab, videos=None, names=server.LOCAL_NAMES):
    """Yields the port."""
    with Folders.of([lab]) as folders, server.listen("127.0.0.1", 0) as listening:
        app = server.make_app(read(folders, videos=videos), names)
        running = uvicorn.Server(server.config(app))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            running.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def port(made, tmp_path_factory):
    videos = tmp_path_factory.mktemp("videos")
    (videos / "a.mp4").write_bytes(bytes(range(256)) * 100)
    (videos / "b.mp4").symlink_to(made / "gym.h5")
    with served(made, VideoFiles.below(videos)) as port:
        yield port


def ask(port, path="/", method="GET", **headers):
    """Status, headers and body; `Host` is one of the headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    for name, value in {"Host": f"127.0.0.1:{port}", **headers}.items():
        if value is not None:
            connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def test_what_is_served(port):
    for path, kind in (("/", "text/html"), ("/app.css", "text/css"), ("/app.js", "text/javascript"), ("/data/stores.js", "text/javascript"), ("/data/run-1.js", "text/javascript")):  # fmt: skip
        status, headers, body = ask(port, path)
        assert status == 200 and headers["content-type"].startswith(kind) and body
        assert (
            "default-src 'none'" in headers["content-security-policy"]
            and "unsafe" not in headers["content-security-policy"]
        )
        assert (
            headers["x-content-type-options"] == "nosniff" and headers["cross-origin-resource-policy"] == "same-origin"
        )
        assert headers["x-frame-options"] == "DENY" and "server" not in headers
    assert ask(port, "/", "HEAD")[2] == b""


@pytest.mark.parametrize(
    "path",
    ["/data/../app.css", "/data/..%2f..%2fetc%2fpasswd.js", "/data/nothing.js", "/data/", "/../lab/gym.h5", "/gym.h5", "//etc/passwd", "/video/0.mp4/../../data", "/video/99999.mp4", "/video/-1.mp4", "/%00", "/video/0.mkv", "/video/99999999999999999999.mp4", "/data/paired-99999-0.js.js", "/data/paired-x-0.js"],
)  # fmt: skip
def test_no_other_path(port, path):
    status, _, body = ask(port, path)
    assert status in (400, 404) and b"root:" not in body and b"HDF" not in body


def test_other_names_are_refused(port):
    """A page elsewhere whose name leads to this machine (DNS rebinding) sends its own name."""
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1.evil.example",
        "",
        "[::2]",
        "localhost.evil",
        "127.0.0.1@evil",
    ):
        assert ask(port, Host=host)[0] in (400, 403), host
    assert ask(port, Host=None)[0] in (400, 403)
    for host in ("localhost", f"LOCALHOST:{port}", "[::1]:80", "127.0.0.1"):
        assert ask(port, Host=host)[0] == 200, host
    status, headers, body = ask(port, Host="evil.example")
    assert b"--allow-host" in body and "content-security-policy" in headers


def test_other_sites_cannot_load_the_data(port):
    for site in ("cross-site", "same-site"):
        assert (
            ask(port, "/data/stores.js", Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="script")[0]
            == 403
        )
    assert (
        ask(port, "/data/stores.js", Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="script")[0]
        == 200
    )
    # A link on another site may lead here.
    assert ask(port, "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document")[0] == 200
    assert ask(port, "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe")[0] == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_it_only_reads(port, method):
    assert ask(port, "/data/stores.js", method, Content_Length="0")[0] == 405


def data_of(port, name):
    return json.loads(json.loads(ask(port, f"/data/{name}.js")[2].decode().partition(", ")[2][:-3]))


def number_of(port, name):
    return [one["name"] for one in data_of(port, "stores")].index(name)


def test_ranges_of_videos(port):
    ((row, address),) = data_of(port, f"playable-{number_of(port, 'gym.h5')}")
    assert row == 0, "b.mp4 is a link to outside of the folder"
    path = f"/{address}"
    status, headers, body = ask(port, path)
    assert (status, len(body), headers["content-type"], headers["accept-ranges"]) == (200, 25600, "video/mp4", "bytes")
    status, headers, body = ask(port, path, Range="bytes=10-19")
    assert (status, body, headers["content-range"]) == (206, bytes(range(10, 20)), "bytes 10-19/25600")
    assert ask(port, path, Range="bytes=-5")[2] == bytes(range(251, 256))
    assert ask(port, path, Range="bytes=99999-")[0] == 416
    assert ask(port, path, "HEAD")[1]["content-length"] == "25600"


def test_a_link_among_the_videos_does_not_leave_them(port):
    for place in range(4):
        status, _, body = ask(port, f"/video/{place}.mp4")
        assert (status == 200) == (place == 0) and b"HDF" not in body


def test_further_names(made):
    with served(made, names=server.names_for("0.0.0.0", ["lab.example"])) as port:
        assert ask(port, Host="lab.example:8420")[0] == 200 and ask(port, Host="evil.example")[0] == 403
    with pytest.raises(TrainError, match="--allow-host NAME"):
        server.names_for("0.0.0.0", [])
    assert server.names_for("::1", []) == server.LOCAL_NAMES


def test_a_port_that_is_taken():
    with server.listen("127.0.0.1", 0) as first, pytest.raises(TrainError, match="Choose another with --port"):
        server.listen("127.0.0.1", first.getsockname()[1])
    with pytest.raises(TrainError, match="--port 99999999 is not a port"):
        server.listen("127.0.0.1", 99999999)


def test_without_the_extra(made, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "starlette", None)
    with pytest.raises(TrainError, match=r"longtake\[view\]"):
        server.require_installed()


def rows(opened):
    return opened.page.locator("tbody tr").count()


def test_in_a_browser(port, browser):
    opened = browser.open(f"http://127.0.0.1:{port}/#/videos")
    opened.page.wait_for_selector("tbody tr")
    assert rows(opened) == 16
    # Filter, search, sort.
    opened.page.select_option("label:has-text('Without') select", "ast")
    assert rows(opened) == 2
    opened.page.select_option("label:has-text('Without') select", "")
    opened.page.keyboard.press("Tab")
    opened.page.fill("input[type=search]", "gym.h5")
    assert rows(opened) == 8 and "8 of 8 (16 in all)" in opened.page.inner_text("[role=status]")
    opened.page.click("thead button:has-text('Score')")
    assert opened.page.inner_text("tbody tr:first-child th") == "h"
    opened.page.click("thead button:has-text('Score')")
    assert opened.page.inner_text("tbody tr:first-child th") == "a"
    assert opened.page.get_attribute("thead th:has-text('Score')", "aria-sort") == "ascending"
    # A filter is part of the address.
    again = browser.open(opened.page.url)
    again.page.wait_for_selector("tbody tr")
    assert rows(again) == 8 and again.page.inner_text("tbody tr:first-child th") == "a"
    assert again.problems() == []


def test_runs_are_compared(port, browser):
    opened = browser.open(f"http://127.0.0.1:{port}/#/runs")
    opened.page.wait_for_selector("tbody tr")
    assert "metrics.json is damaged" in opened.page.inner_text("main")
    assert opened.page.is_disabled("button.main")
    for name in ("one", "two"):
        opened.page.check(f"tr:has-text('runs/{name}') input")
    opened.page.click("text=Compare 2 runs")
    opened.page.wait_for_selector(".forest")
    text = opened.page.inner_text("main")
    assert "0.500 [0.10, 0.90]" in text and "0.700" in text and "train compare" in text
    scales = opened.page.locator(".forest .ends").all_inner_texts()
    assert any("8.00" in one for one in scales), "a baseline that is worse than all runs is on the scale too"
    # These two runs have the same two test videos: a difference, and too few to say more.
    assert "runs/two against runs/one" in text.replace("\n", " ") and "2 few" in text
    assert opened.problems() == []


@pytest.mark.parametrize("width", [LAPTOP, PHONE])
def test_every_page_fits_and_is_quiet(port, browser, width):
    """No errors of scripts, no request that leaves the machine, nothing too wide; and text of stores never becomes an element."""
    opened = browser.open(f"http://127.0.0.1:{port}/#/benches", width)
    gym = number_of(port, "gym.h5")
    for address in (
        "stores",
        f"store/{gym}",
        "videos",
        f"video/{gym}/2",
        "runs",
        "run/1",
        "run/3",
        "compare/1,2,3",
        "sweeps",
        "sweep/1",
        "benches",
        "bench/0",
        "find?dataset=gym&id=a",
    ):
        opened.page.evaluate("document.querySelector('main').replaceChildren()")
        opened.page.goto(f"http://127.0.0.1:{port}/#/{address}")
        opened.page.wait_for_selector("main h1")
        assert "Not shown" not in opened.page.inner_text("main"), address
        assert opened.problems() == [], address
        assert opened.page.locator("main img, main script").count() == 0, address
    opened.page.goto(f"http://127.0.0.1:{port}/#/store/99")
    opened.page.wait_for_selector("text=there is no store 99")
    assert opened.errors == []
