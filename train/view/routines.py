"""Pages of routines from what `train predict --keep` has written into runs: where the heads looked, without torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from markupsafe import escape

from longtake.errors import LongtakeError
from longtake.safe_text import in_page
from longtake.train.pages.environment import FOLDER, policy
from longtake.train.pages.routine import routine_page
from longtake.train.runs.kept import KEPT, KeptPredictions, read_kept
from longtake.train.runs.routine import routine_of


@dataclass(frozen=True)
class Kept:
    """The videos of a run that have a page."""

    dataset: str
    video_ids: tuple[str, ...]


def page_policy() -> str:
    """The Content-Security-Policy of these pages, which have their own script and style inside."""
    return policy((FOLDER / "routine.js").read_text(encoding="utf-8"))


class Routines:
    """Of all runs, read when they are asked for; the last ones are kept in memory."""

    def __init__(self, folders: Sequence[Path | None]) -> None:
        self.folders = folders
        self._read = lru_cache(maxsize=8)(self._read_one)

    def _read_one(self, run: int) -> KeptPredictions:
        folder = self.folders[run]
        assert folder is not None, "a run that cannot be read has no pages"
        return read_kept(folder)

    def of_run(self, run: int) -> Kept | None:
        """None where nothing was kept, or where it is damaged."""
        folder = self.folders[run]
        if folder is None or not (folder / KEPT).exists():
            return None
        try:
            kept = self._read(run)
        except (LongtakeError, OSError, RecursionError):
            return None
        return Kept(kept.dataset, tuple(dict.fromkeys(one.video_id for one in kept.predictions)))

    def page(self, run: int, video: int, address: str = "", links: Iterable[tuple[str, str]] = ()) -> str:
        """The page of a video by its place in `of_run`; `address` is that of the video file, if it can be played. Where it cannot be made, since
        the run has changed or is damaged, a page that says so."""
        try:
            return self._made(run, video, address, list(links))
        except (LongtakeError, OSError, ArithmeticError, ValueError, LookupError) as error:
            return f"<!doctype html><meta charset=utf-8><title>Not shown</title><p>This page cannot be shown: {escape(in_page(str(error)))}"

    def _made(self, run: int, video: int, address: str, links: list[tuple[str, str]]) -> str:
        kept, folder = self._read(run), self.folders[run]
        assert folder is not None
        video_id = list(dict.fromkeys(one.video_id for one in kept.predictions))[video]
        predictions = [one for one in kept.predictions if one.video_id == video_id]
        return routine_page(
            video_id, [routine_of(video_id, predictions, folder, kept.dataset, video=address)], links=links
        )
