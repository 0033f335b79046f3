"""Files of figures."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure
from PIL import Image

from longtake.errors import LongtakeWarning
from longtake.train.errors import SettingsError
from longtake.train.runs.plots.style import COLOURS, ENDINGS, WIDTHS, paper_style, write_figure


def drawn(text="score", columns=1):
    with paper_style():
        figure = Figure(figsize=(WIDTHS[columns], 1), layout="constrained")
        figure.subplots().set(title=text)
    return figure


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_figure_is_the_same_byte_for_byte_and_has_no_date(tmp_path, ending, monkeypatch):
    write_figure(drawn(), tmp_path / f"a{ending}", "title")
    # A user's own style changes nothing.
    monkeypatch.setitem(rcParams, "font.size", 30)
    monkeypatch.setitem(rcParams, "pdf.fonttype", 3)
    write_figure(drawn(), tmp_path / f"b{ending}", "title")
    content = (tmp_path / f"a{ending}").read_bytes()
    assert content == (tmp_path / f"b{ending}").read_bytes()
    assert not re.search(rb"CreationDate|ModDate|dc:date|20\d\d-\d\d-\d\d", content)


def test_fonts_are_embedded_as_truetype(tmp_path):
    write_figure(drawn(), tmp_path / "a.pdf", "title")
    content = (tmp_path / "a.pdf").read_bytes()
    assert b"/CIDFontType2" in content and b"/FontFile2" in content and b"/Type3" not in content
    write_figure(drawn(), tmp_path / "a.svg", "title")
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    assert not list(root.iter("{http://www.w3.org/2000/svg}text"))


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_figure_is_as_wide_as_its_columns(tmp_path, columns):
    write_figure(drawn(columns=columns), tmp_path / "a.pdf", "title")
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+)", (tmp_path / "a.pdf").read_bytes())
    assert float(box[1]) == pytest.approx(WIDTHS[columns] * 72)
    write_figure(drawn(columns=columns), tmp_path / "a.png", "title")
    assert Image.open(tmp_path / "a.png").width == pytest.approx(WIDTHS[columns] * 300, abs=1)


def test_other_endings_are_refused(tmp_path):
    for name, why in (("a.jpg", "ends in .jpg"), ("a", "has no ending")):
        with pytest.raises(SettingsError, match=why):
            write_figure(drawn(), tmp_path / name, "title")
    assert not list(tmp_path.iterdir())


def test_characters_that_the_font_lacks_are_named(tmp_path):
    with pytest.warns(LongtakeWarning, match="not in the font"):
        write_figure(drawn("花样滑冰"), tmp_path / "a.pdf", "title")


def test_colours_differ_in_lightness_or_hue_for_the_colour_blind():
    """By the simulation of deuteranopia and protanopia of Viénot et al. (1999): the first four stay apart."""
    to_lms = [[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]]
    import numpy as np

    rgb = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in COLOURS[:4]])
    lms = (rgb**2.2) @ np.array(to_lms).T
    for missing, row in ((1, [0.494207, 0, 1.24827]), (0, [0, 2.02344, -2.52581])):
        seen = lms.copy()
        seen[:, missing] = lms @ np.array(row)
        back = np.clip(seen @ np.linalg.inv(np.array(to_lms)).T, 0, 1) ** (1 / 2.2)
        distances = np.linalg.norm(back[:, None] - back[None], axis=-1)[np.triu_indices(4, 1)]
        assert distances.min() > 0.12
