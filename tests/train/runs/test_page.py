"""`train report`: one page that needs nothing else and shows what the run's files say."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import longtake.features.cli as features_cli
from longtake.manifests.card import Protocol, find_card
from longtake.train import extras as bridge
from longtake.train.cli import main
from longtake.train.runs.page import _sections
from tests.browser import LAPTOP, PHONE
from tests.calls import invoke
from tests.train.planted import planted_store, write_random

HOSTILE = "../../<i>B"
VOID = {"meta", "img", "br", "link", "input", "hr", "path", "use", "rect", "line", "circle"}


class Page(HTMLParser):
    """Checks that elements nest, and gathers what the page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.headings: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.addresses += [values[name] for name in ("src", "href", "xlink:href") if values.get(name)]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append(data)


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status).output


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    store = planted_store(folder / "s.h5", num_train=24, num_test=8, categories=("A", HOSTILE))
    call = ("--features", store, "--epochs", 3, "--seeds", 2, "--control")
    run("heads", *call, "--head", "gslm", "--set", "scores=11", "--out", folder / "gslm")
    run("heads", *call[:2], "--head", "ridge", "--out", folder / "ridge")
    return folder, store


def test_the_page_of_a_run(lab, tmp_path):
    folder, store = lab
    run("report", folder / "gslm", "--features", store, "--out", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    page = Page(text)
    # Nothing from other sites, no script, and names in the data cannot become markup.
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert "<script" not in text and "<i>B" not in text and "&lt;i&gt;B" in text
    assert not re.search(r"url\((?!#)", text) and "@import" not in text and "script-src &#39;none&#39;" in text
    assert page.headings[:3] == ["gslm on planted", "Results", "A total"]
    metrics = json.loads((folder / "gslm" / "metrics.json").read_text())
    for row in metrics["table"]:
        assert f"{row['spearman']:.3f} ± {row['spearman_deviation']:.3f}" in text
    # Points, loss, test correlation, patterns for each of two units; attention of two or three videos of each.
    assert not list(folder.parent.glob("*B*")) and len(list((folder / "gslm" / "checkpoints").iterdir())) == 4
    assert text.count('<svg role="img"') == 2 * 4
    assert text.count('preserveAspectRatio="none" role="img"') == 4 * text.count("<figcaption>")
    titles = re.findall("<title>(.*?)</title>", text)
    assert len(titles) == len(set(titles)) == 1 + 2 * 4, "each figure has a title of its own"
    assert 4 <= text.count("<figcaption>") <= 6 and "highest score" in text
    assert "RANDOM" in text and "planted@" in text and "SIMULATED" not in text


def test_without_a_store_and_for_a_head_without_epochs(lab):
    folder, _ = lab
    out = run("report", folder / "ridge", "--json")
    text = (folder / "ridge" / "report.html").read_text()
    Page(text)
    assert json.loads(out) == {"out": str(folder / "ridge" / "report.html"), "missing": []}
    assert text.count('<svg role="img"') == 2 and "Where the grades looked" not in text


def test_videos_that_are_asked_for(lab, tmp_path):
    folder, store = lab
    call = ("report", folder / "gslm", "--features", store, "--out", tmp_path / "r.html")
    ids = [
        one.video_id for section in _sections(folder / "gslm") for one in section.scored if one.video_id.startswith("A")
    ]
    run(*call, *(word for video_id in ids for word in ("--show", video_id)))
    text = (tmp_path / "r.html").read_text()
    assert all(f"<figcaption>{video_id}, " in text for video_id in ids) and "asked for" in text
    assert "no test video" in run(*call, "--show", "A_999", status=2)


def test_a_video_that_has_another_category_by_now(lab, tmp_path):
    folder, store = lab
    first, *_ = _sections(folder / "gslm")
    best = max(first.scored, key=lambda one: one.true).video_id
    moved = shutil.copy(store, tmp_path / "s.h5")
    (tmp_path / "planted.csv").write_text(f"video_id,category\n{best},C\n")
    invoke(features_cli.main, "relabel", moved, "--manifest", tmp_path / "planted.csv")
    said = run("report", folder / "gslm", "--features", moved, "--out", tmp_path / "r.html")
    assert (
        f"{best} is of C in {moved} by now" in said and f"<figcaption>{best}, " not in (tmp_path / "r.html").read_text()
    )


def test_ranks_and_errors(lab):
    folder, _ = lab
    for section in _sections(folder / "gslm"):
        scored = section.scored
        assert len(scored) == 8
        true = np.array([one.true for one in scored])
        assert [one.true_rank for one in scored] == [float((true > t).sum() + 1) for t in true]
        assert all(one.error == one.predicted - one.true for one in scored)


def test_a_video_that_is_missing_costs_its_pictures_only(lab, tmp_path, monkeypatch):
    folder, store = lab
    call = ("report", folder / "gslm", "--features", store, "--out", tmp_path / "r.html", "--videos", tmp_path)
    assert "no pictures of" in run(*call)
    Page((tmp_path / "r.html").read_text())
    shown = []

    def thumbnails(folder, video_id, source_name, seconds):
        assert sorted(seconds) == seconds
        shown.append(video_id)
        return [b"jpeg"] * len(seconds)

    monkeypatch.setattr("longtake.train.runs.page.from_extract", lambda *_: thumbnails)
    assert "no pictures" not in run(*call)
    assert len(Page((tmp_path / "r.html").read_text()).addresses) >= 4 * len(shown) > 0


def test_what_is_refused(lab, tmp_path):
    folder, store = lab
    assert "not a finished run" in run("report", tmp_path, status=2)
    assert "go with --features" in run("report", folder / "ridge", "--videos", tmp_path, status=2)
    other = planted_store(tmp_path / "o.h5", num_train=4, num_test=4, weights="others")
    assert "another recipe" in run("report", folder / "gslm", "--features", other, status=2)
    assert bridge.GROUP == "longtake.extract"


def test_a_run_has_a_card(lab):
    folder, _ = lab
    text = (folder / "gslm" / "README.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| average")]
    assert "best_on_test (as published; optimistic)" in text and "licence" in text and "RANDOM" in text
    assert f"{json.loads((folder / 'gslm' / 'metrics.json').read_text())['table'][-1]['mse']:.2f}" in line


def test_a_unified_run_shows_the_dataset_of_the_store(tmp_path):
    made = {"num_train": 12, "num_test": 6, "dim": 12, "world": 0, "with_text": False}
    stores = [
        planted_store(tmp_path / "gym.h5", dataset="gym", categories=("A", "B"), seed=1, **made),
        planted_store(tmp_path / "ice.h5", dataset="ice", categories=("",), scores=("tes",), seed=2, **made),
    ]
    call = [word for store in stores for word in ("--features", store)]
    run("heads", *call, "--head", "gdlt", "--set", "width=16", "--epochs", 2, "--no-floor", "--out", tmp_path / "run")
    for store, shown, other in zip(stores, (("A_", "B_"), ("_0",)), (r"<figcaption>_0", r"<figcaption>[AB]_")):
        run("report", tmp_path / "run", "--features", store, "--out", tmp_path / "r.html")
        text = (tmp_path / "r.html").read_text()
        headings = Page(text).headings
        assert [name for name in headings if "total" in name or "tes" in name] == [
            "gym A total",
            "gym B total",
            "ice tes",
        ]
        assert text.count("loss over epochs") == 3, "of the one model, under each of its scores"
        assert all(f"<figcaption>{name}" in text for name in shown) and not re.search(other, text)
        assert text.count("patterns of 4 grades") == len(shown), "one embedding of each category"
    said = run("report", tmp_path / "run", "--features", stores[1], "--show", "A_012", status=2)
    assert "has no test video A_012" in said
    foreign = planted_store(tmp_path / "other.h5", dataset="other", seed=3, **made)
    assert "not of 'other'" in run("report", tmp_path / "run", "--features", foreign, status=2)


def test_heads_for_all_categories_show_each(tmp_path):
    """Where the protocol has one model for all, heads have no category, and videos do."""
    card = replace(find_card("demo"), protocol=Protocol(("score",)))
    write_random(tmp_path / "s.h5", videos=40, clips=6, dim=8, card=card)
    call = ("--features", tmp_path / "s.h5", "--head", "gdlt", "--set", "width=16", "--epochs", 1, "--no-floor")
    run("heads", *call, "--out", tmp_path / "run")
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 1
    run("report", tmp_path / "run", "--features", tmp_path / "s.h5", "--out", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "SIMULATED videos" in text
    assert text.count("patterns of 4 grades") == 2 and text.count("<figcaption>") >= 4


@pytest.mark.parametrize("width", [PHONE, LAPTOP])
def test_in_a_browser(lab, browser, tmp_path, width):
    """Nothing is wider than the window, on the screen and on paper; on a phone each row of a table is a list with the names of columns."""
    folder, store = lab
    run("report", folder / "gslm", "--features", store, "--out", tmp_path / "r.html")
    opened = browser.open(tmp_path / "r.html", width)
    assert opened.problems() == [] and opened.paper_problems() == []
    assert opened.page.locator(".together > h2").count() == 2, "on paper, a heading stays with its figures"
    cell = opened.page.locator("table.cards td").nth(3)
    label = cell.evaluate("one => getComputedStyle(one, '::before').content")
    assert (label == '"Spearman"') == (width == PHONE)
    assert opened.page.locator("table.cards thead").first.is_visible() == (width == LAPTOP)
    opened.page.locator("details").first.evaluate("one => { one.open = true; }")
    assert opened.too_wide() == []


def test_what_a_run_means_comes_first(tmp_path, browser):
    store = planted_store(tmp_path / "s.h5", num_train=24, num_test=12, with_text=False)
    run("heads", "--features", store, "--head", "gdlt", "--set", "width=16", "--epochs", 2, "--out", tmp_path / "run")
    run("report", tmp_path / "run")
    text = browser.open(tmp_path / "run" / "report.html").page.inner_text("body")
    first = text[: text.index("Results")]
    assert "Of two test videos, gdlt puts the better one first in" in first and "The simple baseline" in first
    assert "n=12" in first and "too few to rank methods" in first
