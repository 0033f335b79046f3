"""The browser of the tests notices what is wrong with a page."""

import asyncio
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser import LAPTOP, PHONE

GOOD = '<!doctype html><html lang="en"><title>t</title><meta name="viewport" content="width=device-width"><body>'


def write(folder: Path, body: str) -> Path:
    path = folder / "page.html"
    path.write_text(GOOD + body)
    return path


@pytest.mark.parametrize("width", [PHONE, LAPTOP])
def test_a_good_page_has_no_problems(browser, tmp_path, width):
    opened = browser.open(write(tmp_path, "<h1>Hello</h1><p>" + "word " * 200), width)
    assert opened.problems() == [] and opened.paper_problems() == []
    assert opened.page.evaluate("innerWidth") == width
    assert opened.pdf(tmp_path / "p.pdf").read_bytes().startswith(b"%PDF")
    assert opened.picture(tmp_path / "p.png").stat().st_size > 1000


@pytest.mark.parametrize(
    "body, problem",
    [
        ("<script>throw Error('oops')</script>", "oops"),
        ("<script>console.error('bad news')</script>", "bad news"),
        ("<img src='missing.png'>", "ERR_FILE_NOT_FOUND"),
        ("<img src='http://example.invalid/x.png'>", "asked for http://example.invalid/x.png"),
        ("<script>fetch('https://example.invalid/y').catch(() => 0)</script>", "asked for https://example.invalid/y"),
        ("<div id='w' style='width: 500px'>wide</div>", "div#w wide: 8 to 508 of 390"),
        ("<div id='s' style='overflow: auto'><p style='width: 500px'>in it</div>", "div#s in it: shows 374 of 500"),
        ("<div style='position: absolute; left: -50px'>out</div>", "div out: -50 to"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_noticed(browser, tmp_path, body, problem):
    opened = browser.open(write(tmp_path, body), PHONE)
    assert any(problem in one for one in opened.problems()), opened.problems()


def test_what_is_allowed_to_be_wide(browser, tmp_path):
    opened = browser.open(write(tmp_path, "<pre style='overflow: auto'>" + "x" * 300 + "</pre>"), PHONE)
    assert opened.too_wide() and not opened.too_wide("pre")


def test_a_server_on_this_machine_is_no_other_machine(browser, tmp_path):
    write(tmp_path, "<link rel=icon href='data:,'><p>served")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        opened = browser.open(f"http://127.0.0.1:{server.server_port}/page.html")
        server.shutdown()
    assert opened.problems() == [] and opened.page.inner_text("p") == "served"


def test_dark(browser, tmp_path):
    opened = browser.open(write(tmp_path, "<p>"), dark=True)
    assert opened.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")


def test_other_tests_run_loops_of_their_own(_chromium):
    asyncio.run(asyncio.sleep(0))


def test_without_chromium_tests_are_skipped(tmp_path):
    call = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", f"{__file__}::test_dark"]
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0 and "no Chromium is installed" in done.stdout, done.stdout
    assert shutil.which("chromium", path=str(tmp_path)) is None
