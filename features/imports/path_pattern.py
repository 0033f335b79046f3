"""Find files by a pattern of their path that names the id of a video: `{split}/{category}/{id}_rgb.npy`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from longtake.features.errors import FeaturesError

PLACES = ("id", "split", "category")
_TOKEN = re.compile(r"\*\*/|\*|\{(\w*)\}|[^*{]+|\{")


@dataclass(frozen=True)
class FoundFile:
    path: Path
    video_id: str
    """Empty if the pattern has no `{id}`."""
    labels: Mapping[str, str]
    """`split` and `category`, where the pattern has them."""


def find_files(folder: Path, pattern: str) -> list[FoundFile]:
    """Files inside a folder whose path fits the pattern: `*` is anything in a name, `**/` any folders, `{id}` the id of a video. Several
    `{id}` are joined by an underscore, unless they are equal. Hidden files and what archives of a Mac add are left out. Raises
    `FeaturesError`."""
    matches = _matcher(pattern)
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        for name in sorted(names):
            path = Path(parent, name)
            if name.startswith(".") or not path.is_file():
                continue
            if made := matches.fullmatch(path.relative_to(folder).as_posix()):
                found.append(_found(path, made))
    return found


def match_text(pattern: str, text: str) -> str | None:
    """The id in a text, such as a key `features/Ball_001`, if the pattern fits it."""
    made = _matcher(pattern).fullmatch(text)
    return _found(Path(), made).video_id if made else None


def _found(path: Path, made: re.Match) -> FoundFile:
    values: dict[str, list[str]] = {}
    for name, value in made.groupdict().items():
        values.setdefault(name.partition("_")[0], []).append(value)
    for name, parts in values.items():
        if name != "id" and len(set(parts)) > 1:
            raise FeaturesError(f"{path}: the pattern finds {' and '.join(parts)} as its {name}")
    parts = values.pop("id", [])
    video_id = parts[0] if len(set(parts)) == 1 else "_".join(parts)
    return FoundFile(path, video_id, {name: parts[0] for name, parts in values.items()})


def _matcher(pattern: str) -> re.Pattern:
    if not pattern or pattern.startswith("/") or ".." in pattern.split("/"):
        raise FeaturesError(f"a pattern names files inside SOURCE, such as '**/{{id}}_rgb.npy', got {pattern!r}")
    made, number = "", 0
    for token in _TOKEN.finditer(pattern):
        text, place = token[0], token[1]
        if text == "**/":
            made += "(?:.+/)?"
        elif text == "*":
            made += "[^/]*"
        elif place is not None:
            if place not in PLACES:
                raise FeaturesError(
                    f"pattern {pattern!r} has {text}; a pattern knows {', '.join(f'{{{name}}}' for name in PLACES)}"
                )
            number += 1
            made += f"(?P<{place}_{number}>[^/]+)"
        else:
            made += re.escape(text)
    return re.compile(made)
