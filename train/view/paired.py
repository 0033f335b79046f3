"""What the pages set a run against: other runs, by paired tests over the same resamples, and what papers print."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from longtake.errors import LongtakeError
from longtake.features.catalog.site import Site
from longtake.train.runs.compare import published_lines
from longtake.train.runs.pairs import Pairs
from longtake.train.view.runs import RunRow

MOST_PAIRS = 6000
"""Of an export: each takes about a millisecond, and the first of a run a tenth of a second."""
ALL_RUNS, SINGLE_RUNS, NO_RUNS = "all", "single", ""
"""Which runs an export has paired tests of: all, those that are in no sweep or bench, or none."""


def papers_of(runs: Sequence[RunRow]) -> dict[str, list[dict[str, object]]]:
    """Dataset -> what papers print for it, of those datasets of runs that have any."""
    found = {name: published_lines(name) for name in dict.fromkeys(run.dataset for run in runs if run.dataset)}
    return {name: [line.to_dict() for line in lines] for name, lines in found.items() if lines}


class PairedTests:
    """Of the runs by their numbers."""

    def __init__(self, folders: Sequence[Path | None], runs: Sequence[RunRow]) -> None:
        self.runs = runs
        self._readable = [folder is not None for folder in folders]
        self._pairs = Pairs([folder or Path() for folder in folders])

    def of_two(self, numbers: Sequence[int]) -> list[Any] | str:
        """The data `paired-A-B`: A minus B as (videos, difference of Spearman, low, high, p, ratio of squared errors, p); or why there is none."""
        if len(numbers) != 2 or not all(one < len(self.runs) and self._readable[one] for one in numbers):
            return "there is no such run, or it cannot be read"
        run, against = numbers
        if self.runs[run].dataset != self.runs[against].dataset:
            return "they are on different datasets"
        try:
            found = self._pairs.of(run, against)
        except (LongtakeError, OSError, ArithmeticError, ValueError) as error:
            text = str(error)
            for one in numbers:
                text = text.replace(str(self._pairs.runs[one]), self.runs[one].name)
            return text
        return [
            found.num_videos,
            found.spearman,
            found.spearman_low,
            found.spearman_high,
            found.spearman_p,
            found.mse_ratio,
            found.error_p,
        ]

    def add(self, site: Site) -> str:
        """Add the data `paired-A`, the pairs of A with all others on its dataset as (B, A minus B), for as many runs as an export can have.
        Returns which ones."""
        of_all = [number for number, readable in enumerate(self._readable) if readable]
        single = [number for number in of_all if not self.runs[number].part_of]
        for which, chosen in ((ALL_RUNS, of_all), (SINGLE_RUNS, single)):
            others = {
                one: [other for other in chosen if other != one and self.runs[other].dataset == self.runs[one].dataset]
                for one in chosen
            }
            if sum(map(len, others.values())) <= MOST_PAIRS:
                site.data |= {f"paired-{one}": partial(self._of_one, one, mine) for one, mine in others.items()}
                return which
        return NO_RUNS

    def _of_one(self, run: int, others: Sequence[int]) -> list[Any]:
        return [[other, self.of_two([run, other])] for other in others]
