"""How figures for papers look, and how they are written: the same bytes each time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.style import context

from longtake.errors import LongtakeWarning
from longtake.files import write_whole
from longtake.train.errors import SettingsError

WIDTHS = {1: 3.25, 2: 6.875}
"""Columns of a page -> inches. No wider than those of CVPR, ICCV, ECCV and IEEE journals."""
COLOURS = ("#0077bb", "#ee7733", "#009988", "#cc3311", "#33bbee", "#ee3377", "#bbbbbb")
"""Paul Tol's vibrant scheme, which people with colour-blindness can tell apart."""
PALE = ("#99ddff", "#eedd88", "#bbcc33", "#dddddd", "#ffaabb", "#aaaa00", "#77aadd")
"""Paul Tol's light scheme, for many points behind a few."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
"""With markers, what remains of colours in a black and white print."""
SHADES = "cividis"
"""A scale of colours that is equal for people with colour-blindness, and grows lighter steadily."""
STYLE = {
    # Outlines as TrueType, which publishers ask for: Type 3 is refused by many.
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "longtake",
    # The font of matplotlib itself: the same on every machine.
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "text.parse_math": False,
    "axes.titlesize": 7.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.1,
    "legend.frameon": False,
    "legend.fontsize": 6.5,
    "legend.handlelength": 2.2,
    "savefig.dpi": 300,
}
ENDINGS = {
    ".pdf": {"CreationDate": None, "Creator": "longtake", "Producer": None},
    ".svg": {"Date": None, "Creator": "longtake"},
    ".png": {"Software": None, "Creator": "longtake"},
}  # fmt: skip
"""Ending of a file -> its metadata: no date and no version, so that a figure can be made again byte for byte."""


@contextmanager
def paper_style() -> Iterator[None]:
    """The look of papers, also with a matplotlibrc of the user, which is left as it was."""
    with context(["default", STYLE]):
        yield


def require_format(out: Path) -> None:
    """Raises `SettingsError` for a file of no known kind."""
    if out.suffix.lower() not in ENDINGS:
        what = f"ends in {out.suffix}" if out.suffix else "has no ending"
        raise SettingsError(f"a figure is written as {', '.join(ENDINGS)}, and {out} {what}")


def write_figure(figure: Figure, out: Path, title: str) -> None:
    """As PDF, SVG or PNG, by the ending. Warns of characters that the font lacks. Raises `SettingsError` for another ending."""
    require_format(out)
    kind, file = out.suffix.lower(), BytesIO()
    with paper_style(), warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        figure.savefig(file, format=kind[1:], metadata={**ENDINGS[kind], "Title": title})
    if any("missing from" in str(one.message) for one in found):
        warnings.warn(
            f"{out}: some characters of names are not in the font and are boxes", LongtakeWarning, stacklevel=2
        )
    write_whole(out, file.getvalue())
