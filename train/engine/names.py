"""Names of a model's files in the folder of a run."""

from __future__ import annotations

import re
import zlib

CHECKPOINTS = "checkpoints"
"""Folder in that of a run."""
CONTROL = "control"
"""Last word in the name of a model that was trained on shuffled labels."""


def unit_name(category: str, score: str) -> str:
    """Of files and folders. Categories and scores come from untrusted stores, and their names must not lead out of a folder."""
    return "-".join(_plain(part) for part in (category, score) if part)


def model_name(category: str, score: str, seed: int, fold: int | None, control: bool = False) -> str:
    ends = ("" if fold is None else f"-fold{fold}") + (f"-{CONTROL}" if control else "")
    return f"{unit_name(category, score)}-seed{seed}{ends}"


def _plain(text: str) -> str:
    spaced = text.replace(" ", "_")
    plain = re.sub(r"[^\w.+-]", "_", spaced)
    # Names that differ only in replaced characters stay different.
    return plain if plain == spaced else f"{plain}-{zlib.crc32(text.encode()):08x}"
