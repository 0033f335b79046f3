"""The page about a folder of stores: complete, self-contained, and harmless."""

import json
import re

import h5py
import numpy as np
from click.testing import CliRunner

from longtake.features.catalog.build import catalog_site
from longtake.features.cli import main
from longtake.features.labels import Labels
from longtake.features.store import write_store
from tests.browser import LAPTOP, PHONE
from tests.features.fakes import header, make_store, plan, video


def data_of(page, name):
    """What an element of the page holds as JSON."""
    return json.loads(re.search(rf'id="data-{name}">(.*?)</script>', page)[1])


def test_what_is_in_it(folder):
    done = CliRunner().invoke(main, ["catalog", str(folder)])
    assert done.exit_code == 0 and "3 stores, 1 cannot be read" in done.output
    page = (folder / "index.html").read_text()
    stores = {row["name"]: row for row in data_of(page, "stores")}
    assert list(stores) == ["broken.h5", "deep/two words & <b>.zarr", "fisv.h5", "one.h5"], "no parts, no loose arrays"
    assert "broken.h5 is not an HDF5 file" in stores["broken.h5"]["fault"]
    fisv, one = stores["fisv.h5"], stores["one.h5"]
    assert fisv["title"] == "Figure Skating Videos (Fis-V)" and "The videos stay with their authors" in fisv["licence"]
    assert fisv["lacking"] == 3 and fisv["videos"] == 3, "each video has one of the two streams, or none"
    assert (one["streams"][0]["ok"], one["streams"][0]["failed"], one["lacking"]) == (2, 1, 1)
    assert stores["deep/two words & <b>.zarr"]["streams"][0]["random"]
    assert data_of(page, "index")["counts"] == {"stores": 4, "videos": 7}


def test_a_hostile_store_does_not_hide_the_others(folder):
    make_store(folder / "slip.h5", {"a": 5})
    with h5py.File(folder / "slip.h5", "r+") as file:
        for stream in file["streams"].values():
            stream["videos/video_id"][:] = b"/"
    _, stores = catalog_site(folder)
    assert len(stores.rows) == 5 and [row.name for row in stores.rows if row.fault] == ["broken.h5", "slip.h5"]


def test_a_folder_without_stores(tmp_path):
    done = CliRunner().invoke(main, ["catalog", str(tmp_path)])
    assert done.exit_code == 2 and "holds no store" in done.output
    done = CliRunner().invoke(main, ["catalog", str(tmp_path / "none")])
    assert done.exit_code == 2 and "not a folder" in done.output


def test_control_characters_do_not_reach_the_page(tmp_path):
    evil = "x\x1b[2J\u202ey"
    table = Labels(("v",), (evil,), (evil,), (evil,), np.ones((1, 1)))
    write_store(tmp_path / "s.h5", dataset=evil, card=None, labels=table, streams=[plan(header(evil), [video("v", 2)])])
    CliRunner().invoke(main, ["catalog", str(tmp_path)])
    page = (tmp_path / "index.html").read_text()
    assert "x [2J y" in page and not [c for c in page if not c.isprintable() and c not in "\n\t"]
    assert "\\u202e" not in page and "\\u001b" not in page, "nor inside JSON"


def test_in_a_browser(folder, browser):
    CliRunner().invoke(main, ["catalog", str(folder)])
    for width in (LAPTOP, PHONE):
        opened = browser.open(folder / "index.html", width)
        opened.page.wait_for_selector("tbody tr")
        assert opened.problems() == []
        assert opened.page.locator("tbody tr").count() == 4
        assert opened.page.locator("tbody b").count() == 0, "a name is text, not an element"
    opened.page.click("text=one.h5")
    opened.page.wait_for_selector('td .tag:text-is("failed")')
    assert "features info" in opened.page.inner_text("main")
    assert opened.problems() == []
