"""Progress of long jobs: a bar on a terminal, plain lines in a pipe, JSON events for programs, or nothing."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import Any, Self

import click

from longtake.errors import printable
from longtake.safe_text import printable_lines
from longtake.terminal import echo, to_json

LINE_SECONDS = 30.0
"""Outside a terminal, work that has printed nothing for this long prints a line."""
TICK_SECONDS = 1.0


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
    """The progress of one job with `total` steps; use it as a context manager.

    While it is open, a thread keeps the time in the bar going. Outside a terminal the thread prints a line after every
    `LINE_SECONDS` without one, so that a running job is never silent.
    """

    def __init__(self, total: int | None, unit: str, shown: Shown = Shown.AUTO, **bar: Any) -> None:
        # A lazy import keeps `--help` fast.
        from tqdm import tqdm

        self._shown, self._total, self._done, self._skipped, self._began = shown, total, 0, 0, time.monotonic()
        self._unit, self._doing, self._said = unit, "", self._began
        self.on_terminal = sys.stderr.isatty() and shown in (Shown.AUTO, Shown.VERBOSE)
        self.bar = tqdm(total=total, unit=unit, disable=not self.on_terminal, dynamic_ncols=True, **bar)
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> Self:
        if self._shown is not Shown.QUIET:
            self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._ticker.is_alive():
            self._ticker.join()
        self.bar.close()

    def _tick(self) -> None:
        while not self._ended.wait(TICK_SECONDS):
            if self.on_terminal:
                self.redraw()
            elif time.monotonic() - self._said >= LINE_SECONDS and (line := self.status()):
                self.say("progress", line, always=True, doing=self._doing)

    def redraw(self) -> None:
        """Draw the bar again, with the time that has gone by."""
        self.bar.refresh()

    def status(self) -> str:
        """One line: how much is done, and the time left; empty where there is nothing to say yet."""
        of = "" if self._total is None else f" of {self._total}"
        return ", ".join(filter(None, [self._doing, f"{self._done}{of} {self._unit}s", self.time_left]))

    @property
    def time_left(self) -> str:
        """For people, such as `about 4 min left`; empty where it is not known."""
        left = self.seconds_left
        if left is None:
            return ""
        # Rounded to what such an estimate is worth.
        shown = f"{left:.0f} s" if left < 99.5 else f"{left / 60:.0f} min" if left < 5970 else f"{left / 3600:.1f} h"
        return f"about {shown} left"

    def skip(self, steps: int) -> None:
        """Count steps that were done before this job; they do not affect its rate."""
        self._done += steps
        self._skipped += steps
        if self.on_terminal:
            self.bar.n += steps
            self.bar.initial += steps

    def at(self, done: int, total: int | None, description: str = "") -> None:
        """So many steps are done in all, of so many."""
        self._done, self._total, self._doing = done, total, description or self._doing
        if description:
            self.bar.set_description(printable(description), refresh=False)
        self.bar.total = total
        self.bar.update(done - self.bar.n)

    def step(self, description: str = "", **numbers: object) -> None:
        self._done += 1
        self._doing = description or self._doing
        if description:
            self.bar.set_description(printable(description), refresh=False)
        if numbers:
            self.bar.set_postfix(numbers, refresh=False)
        self.bar.update()

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far. None before the first step, or where the total is not known."""
        if self._total is None:
            return None
        return self._left(self._done - self._skipped, self._total - self._done)

    def _left(self, stepped: float, remaining: float) -> float | None:
        return (time.monotonic() - self._began) / stepped * remaining if stepped > 0 else None

    def note(self, line: str) -> None:
        """Something that a user should know, above the bar."""
        self.say("note", line, always=True, message=line)

    def say(self, event: str, line: str, *, detail: bool = False, always: bool = False, **facts: object) -> None:
        """Report an event: a line for people, or the event and its facts as JSON. A `detail` is printed with --verbose only; `always` prints
        the line even where a bar is shown, unless --quiet."""
        self._said = time.monotonic()
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
