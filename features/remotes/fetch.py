"""Fetch pieces of packs into a folder, so that an interrupted pull continues where it ended. Every byte is compared with its SHA-256."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from longtake.features.errors import NotAStore
from longtake.features.remotes.pieces import Piece, hash_of, pack_path
from longtake.features.remotes.place import Place
from longtake.files import clear_dead, temporary_path

RUN_BYTES = 1 << 24
"""Adjacent pieces are fetched together up to this."""
SLICE_BYTES = 1 << 25
"""Of one request: of a piece that is larger, several are made."""
CONNECTIONS = 4


@dataclass(frozen=True)
class Wanted:
    """A piece and its length, which the table of its stream implies."""

    piece: Piece
    num_bytes: int


@dataclass(frozen=True)
class _Run:
    """Adjacent pieces of one pack."""

    wanted: tuple[Wanted, ...]

    @property
    def begin(self) -> int:
        return self.wanted[0].piece.offset

    @property
    def end(self) -> int:
        return self.wanted[-1].piece.offset + self.wanted[-1].num_bytes

    @property
    def pack(self) -> str:
        return self.wanted[0].piece.pack

    @property
    def file_name(self) -> str:
        return f"{self.pack}.{self.begin}.{self.end - self.begin}"


class Fetched:
    """The pieces in a folder."""

    def __init__(self, folder: Path, runs: Iterable[_Run]) -> None:
        self._places = {
            wanted.piece.sha256: (folder / run.file_name, wanted.piece.offset - run.begin, wanted.num_bytes)
            for run in runs
            for wanted in run.wanted
        }

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._places

    def read(self, sha256: str) -> bytes:
        path, offset, num_bytes = self._places[sha256]
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(num_bytes)
        if hash_of(data) != sha256:
            raise NotAStore(f"{path} has changed since it was fetched: delete it and pull again")
        return data


def runs_of(wanted: Iterable[Wanted]) -> list[_Run]:
    """Adjacent pieces together, in the order of packs and bytes. A piece that several videos share is fetched once."""
    unique = {one.piece.sha256: one for one in wanted}
    runs: list[list[Wanted]] = []
    for one in sorted(unique.values(), key=lambda w: (w.piece.pack, w.piece.offset)):
        last = runs[-1][-1] if runs else None
        if (
            last is not None
            and last.piece.pack == one.piece.pack
            and last.piece.offset + last.num_bytes == one.piece.offset
            and one.piece.offset + one.num_bytes - runs[-1][0].piece.offset <= RUN_BYTES
        ):
            runs[-1].append(one)
        else:
            runs.append([one])
    return [_Run(tuple(run)) for run in runs]


def fetch(place: Place, wanted: Iterable[Wanted], folder: Path) -> tuple[Fetched, int]:
    """All pieces, and the number of bytes that were fetched now. What an earlier call left in the folder is used if it is intact."""
    runs = runs_of(wanted)
    if runs:
        folder.mkdir(parents=True, exist_ok=True)
        clear_dead(folder)
    missing = [run for run in runs if not _is_there(run, folder)]
    pool = ThreadPoolExecutor(CONNECTIONS)
    try:
        list(pool.map(lambda run: _fetch(place, run, folder), missing))
    finally:
        pool.shutdown(cancel_futures=True)
    return Fetched(folder, runs), sum(run.end - run.begin for run in missing)


def _fetch(place: Place, run: _Run, folder: Path) -> None:
    final = folder / run.file_name
    temporary = final.with_name(f"{temporary_path(final).name}")
    try:
        with temporary.open("wb") as file:
            for begin in range(run.begin, run.end, SLICE_BYTES):
                end = min(begin + SLICE_BYTES, run.end)
                data = place.read_range(pack_path(run.pack), begin, end)
                if len(data) != end - begin:
                    raise NotAStore(
                        f"{place.url}/{pack_path(run.pack)} is damaged: {end} bytes or more expected, it ends at {begin + len(data)}"
                    )
                file.write(data)
        _require_intact(place, run, temporary)
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def _wrong(run: _Run, path: Path) -> Sequence[Wanted]:
    wrong = []
    with path.open("rb") as file:
        for wanted in run.wanted:
            if hash_of(file.read(wanted.num_bytes)) != wanted.piece.sha256:
                wrong.append(wanted)
    return wrong


def _require_intact(place: Place, run: _Run, path: Path) -> None:
    if wrong := _wrong(run, path):
        raise NotAStore(
            f"{place.url}/{pack_path(run.pack)} is damaged: the bytes from {wrong[0].piece.offset} do not match their SHA-256"
        )


def _is_there(run: _Run, folder: Path) -> bool:
    path = folder / run.file_name
    if not path.is_file() or path.is_symlink():
        return False
    if path.stat().st_size == run.end - run.begin and not _wrong(run, path):
        return True
    path.unlink()
    return False
