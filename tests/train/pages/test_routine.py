"""The page of a routine, in a browser."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from longtake.train.pages.routine import routine_page
from tests.browser import LAPTOP, PHONE
from tests.train.pages.samples import NUM_CLIPS, routine, score

HOSTILE = "</script><script>throw Error('ran')</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("v") / "v.mp4"
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        for index in range(NUM_CLIPS * 10):
            picture = np.full((90, 160, 3), index * 2, np.uint8)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        target.mux(stream.encode())
    return path.read_bytes()


@pytest.fixture
def page(tmp_path):
    def write(*routines, **other) -> Path:
        path = tmp_path / "page.html"
        path.write_text(routine_page("A routine", routines, **other), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("width", [PHONE, LAPTOP])
def test_a_click_on_the_strip_moves_the_player(browser, page, video, width):
    opened = browser.open(page(routine(video_bytes=video)), width)
    assert opened.problems() == [] and opened.paper_problems() == []
    seen = opened.page
    opened.until("document.querySelector('video').readyState > 0")
    rows = seen.locator(".strip .rows").first
    box = rows.bounding_box()
    rows.click(position={"x": box["width"] * 0.75, "y": 5})
    opened.until("!document.querySelector('video').seeking")
    at = seen.evaluate("document.querySelector('video').currentTime")
    assert at == pytest.approx(0.75 * NUM_CLIPS, abs=0.1)
    opened.until("Math.abs(parseFloat(document.querySelector('.cursor').style.left) - 75) < 1")
    rows.press("ArrowLeft")
    assert seen.evaluate("document.querySelector('video').currentTime") == pytest.approx(at - 1, abs=0.01)
    seen.locator("[data-seconds]").first.click()
    assert seen.evaluate("document.querySelector('video').currentTime") == 5
    assert opened.problems() == []


def test_on_paper(browser, page, video, tmp_path):
    opened = browser.open(page(routine(video_bytes=video), routine("Bea", video_bytes=video)))
    assert opened.paper_problems() == []
    assert opened.pdf(tmp_path / "p.pdf").stat().st_size > 10_000


def test_names_from_files_are_text(browser, page):
    one = routine(HOSTILE, scores=[score(HOSTILE, notes=(HOSTILE,))], head=HOSTILE, made_of={HOSTILE: HOSTILE})
    opened = browser.open(page(one, replace(one, name="b")), PHONE)
    assert opened.problems() == [] and HOSTILE in opened.page.inner_text("main")


@pytest.mark.parametrize("width", [PHONE, LAPTOP])
def test_two_routines(browser, page, width):
    opened = browser.open(page(routine(), routine("Bea", scores=[score(predicted=12.0)])), width)
    assert opened.problems() == []
    text = opened.page.inner_text("body")
    assert "Anna is 5.40 above Bea" in text
    first, second = (one.bounding_box() for one in opened.page.locator(".routine").all())
    assert (first["y"] == second["y"]) == (width == LAPTOP)


def test_a_head_without_attention_has_no_strip_and_says_so(browser, page):
    one = routine(scores=[score(shares=(), by_grade=(), grades=())], pictures=(), head="ridge")
    opened = browser.open(page(one), PHONE)
    text = opened.page.inner_text("body")
    assert opened.problems() == [] and opened.page.locator(".strip").count() == 0
    assert "cannot say which moments counted" in text and "The strip shows" not in text


def test_unknown_times_are_clip_numbers(browser, page, video):
    opened = browser.open(page(routine(times=False, video_bytes=video)), PHONE)
    text = opened.page.inner_text("main")
    assert opened.problems() == [] and "clip 6" in text and "strip counts clips" in text
    assert opened.page.locator(".seeks, [data-seconds], .strip[data-start]").count() == 0
    assert "0:0" not in text and "second" not in text


def test_what_is_missing_is_said(browser, page):
    one = routine(
        scores=[score(predicted=None, why_none="the interval is too wide", known=())], random_weights=True, pictures=()
    )
    text = browser.open(page(one), PHONE).page.inner_text("body")
    assert "No score: the interval is too wide." in text and "These numbers mean nothing" in text
    assert "no routines outside its training were measured" in text and "not part of this page" in text


def test_a_page_needs_no_torch():
    code = "import sys; import longtake.train.pages.routine; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
