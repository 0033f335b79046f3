"""Plain English: words that users do not search for, and that few readers know who are not native speakers, stay rare."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MOST_IN_1000_LINES = 0.5
WORDS = re.compile(
    r"(?<![\w.-])(whoever|whatever|told|anew|beside|nobody|strangers?|dealt|lies|stands)(?![\w=])(?!['\"`]?[\]:)(,])",
    re.I,
)
"""A name in code, such as the option `--beside` and its field, is not prose."""

SOURCE = ("longtake", "manifests", "features", "extract", "train")


def files(folder: str, *endings: str) -> list[Path]:
    """Of a folder, without what the links in longtake/ lead to."""
    return sorted(
        path
        for path in (ROOT / folder).rglob("*")
        if path.suffix in endings and path.resolve().is_relative_to(ROOT / folder) and path != Path(__file__)
    )


TEXTS = {
    # Without .toml: a card is part of every store of its dataset, so another word would be another card.
    **{folder: files(folder, ".py", ".md", ".html") for folder in SOURCE},
    "tests": files("tests", ".py"),
    "benchmarks": files("benchmarks", ".py"),
    "docs": [*files("docs", ".md"), *sorted(ROOT.glob("*.md"))],
}


def found(text: str) -> list[str]:
    return [match[1].lower() for match in WORDS.finditer(text)]


@pytest.mark.parametrize("part", TEXTS)
def test_words_that_are_not_plain_are_rare(part):
    texts = {path: path.read_text(encoding="utf-8") for path in TEXTS[part]}
    lines = sum(text.count("\n") for text in texts.values())
    assert lines > 300, "the folder is almost empty"
    places = [f"{path.relative_to(ROOT)}: {word}" for path, text in texts.items() for word in found(text)]
    assert len(places) <= MOST_IN_1000_LINES * lines / 1000, "\n".join(places)


def test_prose_is_counted_and_names_in_code_are_not():
    assert found("Whoever is told anew that it lies beside a stranger's, nobody.") == [
        "whoever", "told", "anew", "lies", "beside", "stranger", "nobody"
    ]  # fmt: skip
    assert (
        found('`--beside` keeps both; options.beside; beside: bool = False; ("beside", 1); --set beside=tes,pcs') == []
    )
