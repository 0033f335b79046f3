"""Pages of routines from kept predictions."""

import json
import math

import pytest

from longtake.features.catalog.site import write
from longtake.features.catalog.walk import Folders
from longtake.train.runs.kept import KEPT, keep_predictions
from longtake.train.runs.prediction import Prediction, Timeline
from longtake.train.view.build import read
from longtake.train.view.routines import Routines
from tests.train.view.conftest import EVIL


def kept(run, dataset="gym", ids=("a", "b", "nowhere")):
    line = Timeline((0.0, 1.0, 2.0), (1.0, 2.0, 3.0), (0.1, 0.7, 0.2), ((0.3, 0.3, 0.4), (0.1, 0.8, 0.1)), ())
    made = [Prediction(one, EVIL, "total", 1.5, math.nan, 1, (0.2, 0.8), (), line, False, judges=1.0) for one in ids]
    keep_predictions(run, dataset, made)


def test_which_videos_have_a_page(lab):
    kept(lab / "runs" / "one")
    routines = Routines([lab / "runs" / "one", None, lab / "runs" / "two"])
    assert routines.of_run(0).video_ids == ("a", "b", "nowhere")
    assert routines.of_run(1) is None and routines.of_run(2) is None
    (lab / "runs" / "two" / KEPT).write_text("[" * 100_000)
    assert routines.of_run(2) is None, "damage hides the pages of one run alone"
    page = routines.page(0, 1, "../video/0/1", [("About", "../index.html#/video/0/1")])
    assert (
        "../video/0/1" in page and "../index.html#/video/0/1" in page and EVIL not in page and "<img src=x" not in page
    )


@pytest.mark.parametrize(
    "line",
    [
        Timeline((0.0, 1.0), (1.0, 2.0), (0.5,), (), ()),
        Timeline((0.0, 1.0), (1.0, 0.5), (0.5, 0.5), (), ()),
        Timeline((0.0, 1e11), (1e11, 1e12), (0.0, 0.0), ((-1.0, 2.0),), ()),
        Timeline((-1e12,), (1e12,), (-5.0,), ((1e12,),), ()),
        Timeline((), (), (), (), ()),
    ],
)
def test_hostile_numbers_are_a_page(lab, line):
    run = lab / "runs" / "one"
    made = [
        Prediction("a", "", "total", value, 1e12, 1, (-1.0, 5.0), (), line, True, limits=limits, judges=value)
        for value, limits in ((1e12, (5.0, 5.0)), (-1e12, (9.0, 1.0)), (math.nan, None))
    ]
    for predictions in (made, made[2:]):
        keep_predictions(run, "gym", predictions)
        page = Routines([run]).page(0, 0)
        assert page.startswith("<!doctype html>") and len(page) < 200_000
    assert "cannot be shown" in Routines([run]).page(0, 9)


def test_they_are_part_of_the_site(lab, tmp_path, browser):
    kept(lab / "runs" / "one")
    kept(lab / "runs" / "two", dataset="other")
    with Folders.of([lab]) as folders:
        site = read(folders).site
        gym = json.loads(site.json("index"))["looked"][0]
        assert json.loads(site.json("index"))["looked"] == [gym]
        assert json.loads(site.json(f"looked-{gym}")) == [[0, 1, "routine-1-0"], [1, 1, "routine-1-1"]]
        assert len(site.pages) == 6, "videos that no store here has have pages too"
        write(site, tmp_path / "site")
    assert (tmp_path / "site" / "page" / "routine-1-2.html").exists()
    opened = browser.open(f"{(tmp_path / 'site' / 'index.html').as_uri()}#/video/{gym}/0")
    opened.page.click("text=Attention over time")
    opened.page.wait_for_selector("text=All about this video")
    assert opened.page.locator("img[src=x]").count() == 0
    assert opened.problems() == []
    opened.page.click("text=All about this video")
    opened.page.wait_for_selector("h2:has-text('Where the heads looked')")


def test_without_stores_the_first_page_is_that_of_runs(made, tmp_path, browser):
    with Folders.of([made / "runs"]) as folders:
        write(read(folders).site, tmp_path / "runs.html")
    opened = browser.open(tmp_path / "runs.html")
    opened.page.wait_for_selector("h1:text-is('Runs')")
    assert opened.page.inner_text("nav") == "Runs4" and opened.problems() == []


@pytest.mark.parametrize("name", ["routine-1-0", "routine-9-9"])
def test_over_http(lab, name):
    pytest.importorskip("starlette")
    from starlette.testclient import TestClient

    from longtake.train.view.server import make_app

    kept(lab / "runs" / "one")
    with Folders.of([lab]) as folders:
        answer = TestClient(make_app(read(folders)), base_url="http://localhost").get(f"/page/{name}.html")
    if name == "routine-9-9":
        assert answer.status_code == 404
    else:
        assert answer.status_code == 200 and "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "script-src 'sha256-" in answer.headers["content-security-policy"]
        assert len(answer.headers.get_list("content-security-policy")) == 1
