"""A page about all stores of a folder: content, recipes, and how to open each. It has no scripts and loads nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment

from longtake.errors import LongtakeError
from longtake.features.errors import FeaturesError
from longtake.features.store import STORES, open_store
from longtake.features.tools.inspect import describe
from longtake.features.tools.summary import counted
from longtake.safe_text import in_page

TEMPLATE = Path(__file__).with_name("catalog.html")


def find_stores(folder: Path) -> Iterator[Path]:
    """Every file and folder with the ending of a store, at any depth, except parts."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.endswith(".parts"):
            continue
        if path.suffix in STORES:
            yield path
        elif path.is_dir() and not path.is_symlink():
            yield from find_stores(path)


def make_catalog(folder: Path) -> tuple[str, int, int]:
    """The page, the number of stores on it, and the number of stores that cannot be read; these are listed with the reason."""
    if not folder.is_dir():
        raise FeaturesError(f"{folder} is not a folder of stores")
    stores, unreadable = [], []
    for path in find_stores(folder):
        name = str(path.relative_to(folder))
        try:
            with open_store(path) as store:
                stores.append((name, describe(store)))
        except LongtakeError as error:
            unreadable.append((name, str(error).replace(str(path), path.name)))
    if not stores and not unreadable:
        raise FeaturesError(f"{folder} holds no store; their names end in {', '.join(STORES)}")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=in_page)
    environment.filters |= {"counts": counted, "shell": shlex.quote}
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        folder=folder.resolve().name,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        stores=stores,
        unreadable=unreadable,
    )
    return page, len(stores), len(unreadable)
