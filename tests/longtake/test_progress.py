"""Progress for people and for programs."""

import json

import click
import pytest

from longtake import progress
from longtake.progress import Progress, Shown, how_shown


class Terminal:
    """A stream that claims to be a terminal."""

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize(
    "shown, on_terminal, lines",
    [
        (Shown.AUTO, False, ["whole"]),
        (Shown.AUTO, True, []),
        (Shown.QUIET, False, []),
        (Shown.QUIET, True, []),
        (Shown.VERBOSE, False, ["part", "whole"]),
        (Shown.VERBOSE, True, ["part", "whole"]),
    ],
)
def test_what_is_printed(shown, on_terminal, lines, monkeypatch, capsys):
    stream = Terminal() if on_terminal else progress.sys.stderr
    monkeypatch.setattr(progress.sys, "stderr", stream)
    with Progress(2, "video", shown) as job:
        job.say("part", "part", detail=True)
        job.step("routine_7", loss="0.12")
        job.say("whole", "whole")
        job.step("routine_8")
        job.say("note", "address", always=True)
    text = stream.text if on_terminal else capsys.readouterr().err
    assert [line for line in ("part", "whole") if line in text] == lines
    assert ("address" in text) == (shown is not Shown.QUIET)
    bar = on_terminal and shown is not Shown.QUIET
    assert ("routine_8" in text and "2/2" in text) == bar


@pytest.mark.parametrize("on_terminal", [True, False])
def test_earlier_steps_do_not_affect_the_rate(on_terminal, monkeypatch):
    clock, terminal = [100.0], Terminal()
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    if on_terminal:
        monkeypatch.setattr(progress.sys, "stderr", terminal)
    with Progress(10, "epoch") as job:
        job.skip(6)
        assert job.seconds_left is None
        clock[0] += 5
        job.step("next")
        assert job.seconds_left == 15
    assert ("7/10" in terminal.text) == on_terminal


def test_events_have_no_nan(capsys):
    with Progress(None, "step", Shown.EVENTS) as job:
        job.say("epoch", "", loss=float("nan"), part=1)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["loss"] is None and json.loads(line)["seconds_left"] is None


def test_options_choose_what_is_printed():
    assert how_shown(False, False, False) is Shown.AUTO
    assert how_shown(True, False, True) is Shown.QUIET
    assert how_shown(False, True, False) is Shown.VERBOSE
    assert how_shown(False, True, True) is Shown.EVENTS
    with pytest.raises(click.UsageError, match="exclude each other"):
        how_shown(True, True, False)
