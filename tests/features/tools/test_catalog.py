"""The page about a folder of stores: complete, self-contained, fits a phone."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from longtake.features.cli import main
from longtake.features.labels import Labels
from longtake.features.store import write_store
from longtake.features.tools.catalog import make_catalog
from tests.features.fakes import header, make_store, plan, video

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.text, self.tags, self.ids = [], "", [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("href", "src")]
        self.ids |= {value for name, value in attributes if name == "id"}

    def handle_data(self, data):
        self.text += " ".join(data.split()) + " "


def test_what_is_on_it(folder):
    done = CliRunner().invoke(main, ["catalog", str(folder)])
    assert done.exit_code == 0 and "3 stores, 1 cannot be read" in done.output
    page = Page((folder / "index.html").read_text())
    for expected in (
        "one.h5", "deep/two words & <b>.zarr", "Figure Skating Videos (Fis-V)", "random weights", "2 of 3", "1 failed",
        "broken.h5 is not an HDF5 file", "tail drop", "qgvl by clip", "The videos stay with their authors",
        "features info 'deep/two words & <b>.zarr'", "train heads --features one.h5",
    ):  # fmt: skip
        assert expected in page.text, expected
    assert "p.h5" not in page.text and "loose" not in page.text
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)


def test_a_hostile_store_does_not_hide_the_others(folder):
    make_store(folder / "slip.h5", {"a": 5})
    with h5py.File(folder / "slip.h5", "r+") as file:
        for stream in file["streams"].values():
            stream["videos/video_id"][:] = b"/"
    page, num_stores, num_unreadable = make_catalog(folder)
    assert num_stores == 3 and num_unreadable == 2 and "slip.h5" in page


def test_a_folder_without_stores(tmp_path):
    done = CliRunner().invoke(main, ["catalog", str(tmp_path)])
    assert done.exit_code == 2 and "holds no store" in done.output
    done = CliRunner().invoke(main, ["catalog", str(tmp_path / "none")])
    assert done.exit_code == 2 and "not a folder" in done.output


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [1280, 500])
def test_it_fits_the_window(folder, tmp_path, width):
    CliRunner().invoke(main, ["catalog", str(folder)])
    measure = "<script>document.title = [innerWidth, document.documentElement.scrollWidth].join(' ')</script></body>"
    page = tmp_path / "page.html"
    page.write_text((folder / "index.html").read_text().replace("</body>", measure))
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    inner, needed = map(int, re.search(r"<title>(\d+) (\d+)</title>", done.stdout).groups())
    assert needed <= inner


def test_control_characters_do_not_reach_the_page(tmp_path):
    evil = "x\x1b[2J\u202ey"
    table = Labels(("v",), (evil,), (evil,), (evil,), np.ones((1, 1)))
    write_store(tmp_path / "s.h5", dataset=evil, card=None, labels=table, streams=[plan(header(evil), [video("v", 2)])])
    page, _, _ = make_catalog(tmp_path)
    assert "x [2J y" in page and not [c for c in page if not c.isprintable() and c not in "\n\t"]
