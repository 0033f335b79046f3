"""What the faults of `faults.py` happen to: a small dataset, the stores of undisturbed commands, and counts."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click
import numpy as np
from forked import EQUAL, call, seconds_of
from measured import Row

KINDS = (".h5", ".zarr")


@dataclass
class Tally:
    """What was tried of one kind, and what went wrong."""

    name: str
    unit: str
    tried: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def expect(self, holds: bool, what: str) -> bool:
        if not holds:
            self.faults.append(what)
            click.echo(f"FAULT {self.name}: {what}", err=True)
        return holds

    def plain(self, result: tuple[int, str], *statuses: int) -> None:
        """No traceback, one of the exit statuses, and an error message where nothing was done."""
        status, output = result
        self.expect(status in statuses and "Traceback" not in output, f"status {status}: {output[-2000:]}")
        self.expect(
            status != 2 or output.lower().count("error:") == 1, f"status 2 without one message: {output[-2000:]}"
        )

    @property
    def row(self) -> Row:
        said = ", ".join(f"{count} {what}" for what, count in sorted(self.outcomes.items()))
        return Row(self.name, self.unit, (self.tried,), said)


class World:
    """A small dataset, the store of an undisturbed run over it, and a folder for each round."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        from longtake.features import parts
        from longtake.features.segments.writer import SegmentLimits, SegmentWriter
        from tests.extract.runs import make_dataset

        # Several segments, so that a publication can have several steps.
        parts.SegmentWriter = partial(SegmentWriter, limits=SegmentLimits(num_videos=3))  # type: ignore[misc,assignment]
        self.folder, self.rng, self.said = folder, rng, folder / "said.txt"
        make_dataset(folder, [20 + number for number in range(12)])
        self.extract_seconds = seconds_of(self.said, *self.extract(folder / "first.h5"))
        # The first process also pays for imports.
        self.extract_seconds = seconds_of(self.said, *self.extract(folder / "whole.h5"))
        self.whole = folder / "whole.h5"
        (folder / "import").mkdir()
        for number in range(12):
            np.save(
                folder / "import" / f"v{number}.npy", np.random.default_rng(number).normal(size=(400, 64)).astype("f4")
            )
        seconds_of(self.said, *self.imported(folder / "imported.h5"))

    def extract(self, out: Path, *more: object, videos: Path | None = None) -> list[object]:
        """Half of them publish each segment in a step of its own."""
        memory = ("--memory", "1kB") if self.rng.random() < 0.5 else ()
        return ["extract", "run", "--manifest", self.folder / "small.csv", "--videos", videos or self.folder / "videos",
                "--weights", "random", "--backbone", "numbers", "--out", out, *memory, *more]  # fmt: skip

    def imported(self, out: Path) -> list[object]:
        return ["features", "import", self.folder / "import", "--layout", "gdlt", "--manifest", self.folder / "small.csv",
                "--backbone", "vst", "--out", out]  # fmt: skip

    @contextmanager
    def room(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            yield Path(folder)

    def equal(self, store: Path, reference: Path | None = None) -> bool:
        """All values, and no files of the writers left."""
        left = [
            path
            for path in store.parent.iterdir()
            if path.name.startswith(f"{store.name}.parts") or path.suffix == ".tmp"
        ]
        return call(self.said, "compare", reference or self.whole, store)[0] == EQUAL and not left

    def whole_until_now(self, tally: Tally, store: Path) -> None:
        """A reader must find a whole store, or none, after a kill."""
        if store.exists() and (store.suffix != ".zarr" or (store / "zarr.json").exists()):
            tally.expect(call(self.said, "features", "verify", store)[0] == 0, f"{store.name} is damaged after a kill")


def flip(rng: random.Random, content: bytes, most: int = 8) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, most)):
        changed[rng.randrange(len(changed))] ^= rng.randint(1, 255)
    return bytes(changed)
