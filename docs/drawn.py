"""Pictures that are drawn while the docs are built, by the code that draws `train figure`, from numbers of the docs' own pages."""

from __future__ import annotations

import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from longtake.train.runs.plots.draw import Standing, leaderboard  # noqa: E402
from longtake.train.runs.plots.style import paper_style, write_figure  # noqa: E402

CELL = re.compile(r"(-?[\d.]+) \\\[(-?[\d.]+), (-?[\d.]+)\\\]")
"""A correlation with its interval, as docs/leaderboard.md has it."""
TITLES = {"random": "skaters in training and test", "skater": "no skater in both"}


def tables(page: str) -> dict[str, list[Standing]]:
    """Title -> the rows of each table that have an average of TES and PCS, by rank."""
    found: dict[str, list[Standing]] = {}
    title, column = "", None
    for line in page.splitlines():
        if heading := re.match(r"## fisv, ([\w-]+):", line):
            title, column = next((text for name, text in TITLES.items() if name in heading[1]), heading[1]), None
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if title and cells[0] == "rank":
            column = next(place for place, name in enumerate(cells) if name.startswith("average"))
        elif column and len(cells) > column and (match := CELL.match(cells[column])):
            found.setdefault(title, []).append(Standing(cells[1].replace("\\", ""), *map(float, match.groups())))
    return found


def draw(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    out = folder / "heads.svg"
    with paper_style():
        figure = leaderboard(tables((DOCS / "leaderboard.md").read_text(encoding="utf-8")), "rank correlation", 2)
    write_figure(figure, out, "Heads on Fis-V")
    return out


if __name__ == "__main__":
    print(draw(DOCS / "_drawn"))
