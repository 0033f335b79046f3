"""The documentation as a site: sphinx-build -c docs -W . site. The pages are the ones that GitHub shows."""

import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from drawn import draw  # noqa: E402

project = "Longtake"
author = "The authors of Longtake"
copyright = f"{datetime.now(UTC).year}, {author}"
extensions = ["myst_parser"]
root_doc = "docs/index"
exclude_patterns = [
    # Links to the folders at the top level.
    "longtake",
    ".tox",
    ".venv*",
    "site",
    "build",
    "*.egg-info",
    "features/tools/card.md",
    "train/runs/card.md",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
    "demo",
    "runs",
    "dist",
]
myst_enable_extensions = ["colon_fence"]
# `<!-- runs: ... -->` is for the tests; headings may be linked to.
myst_heading_anchors = 3
html_theme = "furo"
html_title = "Longtake"


def setup(app: object) -> None:
    draw(Path(__file__).parent / "_drawn")
