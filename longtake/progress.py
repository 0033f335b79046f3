"""Progress of long jobs: a bar on a terminal, plain lines in a pipe, JSON events for programs, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from enum import Enum
from typing import Any, Self

import click

from longtake.errors import printable
from longtake.safe_text import printable_lines
from longtake.terminal import echo, to_json


class Shown(Enum):
    AUTO = "auto"
    """A bar with rate and time left on a terminal, plain lines elsewhere."""
    QUIET = "quiet"
    VERBOSE = "verbose"
    """A line for every detail, and the bar."""
    EVENTS = "events"
    """A JSON object per line on the error stream. The output stream holds the result only."""


def progress_options(command: Callable) -> Callable:
    """Add the options `--quiet` and `--verbose`, parameters `quiet` and `verbose`."""
    command = click.option("-v", "--verbose", is_flag=True, help="A line for every step.")(command)
    return click.option("-q", "--quiet", is_flag=True, help="No progress and no summary; errors and failures only.")(
        command
    )


def how_shown(quiet: bool, verbose: bool, as_json: bool) -> Shown:
    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose exclude each other")
    if quiet:
        return Shown.QUIET
    return Shown.EVENTS if as_json else Shown.VERBOSE if verbose else Shown.AUTO


class Progress:
    """The progress of one job with `total` steps; use it as a context manager."""

    def __init__(self, total: int | None, unit: str, shown: Shown = Shown.AUTO, **bar: Any) -> None:
        # A lazy import keeps `--help` fast.
        from tqdm import tqdm

        self._shown, self._total, self._done, self._skipped, self._began = shown, total, 0, 0, time.monotonic()
        self.on_terminal = sys.stderr.isatty() and shown in (Shown.AUTO, Shown.VERBOSE)
        self.bar = tqdm(total=total, unit=unit, disable=not self.on_terminal, dynamic_ncols=True, **bar)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def skip(self, steps: int) -> None:
        """Count steps that were done before this job; they do not affect its rate."""
        self._done += steps
        self._skipped += steps
        if self.on_terminal:
            self.bar.n += steps
            self.bar.initial += steps

    def step(self, description: str = "", **numbers: object) -> None:
        self._done += 1
        if description:
            self.bar.set_description(printable(description), refresh=False)
        if numbers:
            self.bar.set_postfix(numbers, refresh=False)
        self.bar.update()

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far. None before the first step, or where the total is not known."""
        stepped = self._done - self._skipped
        if not stepped or self._total is None:
            return None
        return (time.monotonic() - self._began) / stepped * (self._total - self._done)

    def say(self, event: str, line: str, *, detail: bool = False, always: bool = False, **facts: object) -> None:
        """Report an event: a line for people, or the event and its facts as JSON. A `detail` is printed with --verbose only; `always` prints
        the line even where a bar is shown, unless --quiet."""
        if self._shown is Shown.EVENTS:
            times = {"done": self._done, "of": self._total, "seconds": round(time.monotonic() - self._began, 3)}
            left = self.seconds_left
            times["seconds_left"] = None if left is None else round(left, 3)
            echo(to_json({"event": event, **facts, **times}), err=True)
        elif self._shown is Shown.VERBOSE or (
            self._shown is Shown.AUTO and not detail and (always or not self.on_terminal)
        ):
            # Print above the bar, which stays the last line.
            if self.on_terminal:
                self.bar.write(printable_lines(line), file=sys.stderr)
            else:
                echo(line, err=True)
