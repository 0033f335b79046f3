"""What all commands have in common: an example that is right, completion of names, progress for people and for programs."""

import json
import re
import shlex
import warnings

import click
import pytest
from click.testing import CliRunner

import longtake.extract.cli
import longtake.features.cli
import longtake.train.cli
from longtake import progress
from longtake.errors import LongtakeWarning
from longtake.progress import Progress, Shown
from longtake.terminal import Console
from tests.calls import invoke
from tests.train.planted import planted_store

PROGRAMS = {
    "extract": longtake.extract.cli.main,
    "features": longtake.features.cli.main,
    "train": longtake.train.cli.main,
}


def commands(group, path):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, [*path, name])
        else:
            yield [*path, name], command


ALL = [found for name, main in PROGRAMS.items() for found in commands(main, [name])]


@pytest.mark.parametrize("path, command", ALL, ids=[" ".join(path) for path, _ in ALL])
def test_every_command_has_an_example_with_options_that_exist(path, command):
    text = " ".join(command.help.split())
    example = re.search(r"Example[^:]*: (.*)", text)[1].rstrip(".").replace('eval "$(', "").replace(')"', "")
    words = shlex.split(example)
    assert words[: len(path)] == path
    known = {option for parameter in command.params for option in parameter.opts}
    given = {word for word in words if word.startswith("--")}
    assert given <= known
    # What the command cannot do without is in the example.
    assert all(set(parameter.opts) & given for parameter in command.params
               if parameter.required and parameter.param_type_name == "option")  # fmt: skip


def test_a_warning_is_said_once_in_each_command():
    @click.command()
    def warns():
        for line in ("one", "two", "one"):
            warnings.warn(line, LongtakeWarning, stacklevel=1)

    group = Console("group", commands=[warns])
    for _ in range(2):
        assert invoke(group, "warns").stderr == "warning: one\nwarning: two\n"


def test_out_of_memory_is_one_message():
    """Of torch, by its name, and of Python; no other error of a program is hidden."""

    class OutOfMemoryError(RuntimeError):
        pass

    @click.command()
    @click.argument("kind")
    def works(kind):
        raise {"gpu": OutOfMemoryError("CUDA out of memory. Tried to allocate"), "cpu": MemoryError()}.get(
            kind, RuntimeError("x")
        )

    group = Console("group", commands=[works])
    assert (
        "error: out of memory: CUDA out of memory. What was finished is kept"
        in invoke(group, "works", "gpu", status=2).stderr
    )
    assert "take smaller batches" in invoke(group, "works", "cpu", status=2).stderr
    assert isinstance(CliRunner().invoke(group, ["works", "else"]).exception, RuntimeError)


@pytest.mark.parametrize(
    "program, typed, expected",
    [
        ("extract", ["run", "--backbone", "vs"], {"vst", "vst-s", "vst-t"}),
        ("extract", ["run", "--dataset", "r"], {"rg"}),
        ("extract", ["run", "--recipe", "mvla-f"], {"mvla-finediving", "mvla-fisv"}),
        ("extract", ["run", "--decoder", "de"], {"decord"}),
        ("extract", ["probe", "--decoder", "py"], {"pyav"}),
        ("train", ["heads", "--head", "gs"], {"gslm"}),
        ("features", ["in"], {"info"}),
    ],
)
def test_completion(program, typed, expected):
    environment = {f"_{program}_COMPLETE".upper(): "bash_complete", "COMP_WORDS": " ".join([program, *typed]), "COMP_CWORD": str(len(typed))}  # fmt: skip
    done = CliRunner().invoke(PROGRAMS[program], [], env=environment, prog_name=program)
    assert {line.partition(",")[2] for line in done.output.split()} == expected
    script = CliRunner().invoke(PROGRAMS[program], ["completion", "bash"]).output
    assert f"_{program.upper()}_COMPLETE=bash_complete" in script


class Terminal:
    """A stream that says it is one."""

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
def test_what_people_see(shown, on_terminal, lines, monkeypatch, capsys):
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


def test_events_are_json_lines_and_the_result_stays_alone(tmp_path):
    store = planted_store(tmp_path / "s.h5", num_train=12, num_test=4)
    call = [
        "heads",
        "--features",
        str(store),
        "--head",
        "gdlt",
        "--epochs",
        "3",
        "--no-floor",
        "--out",
        str(tmp_path / "r"),
    ]
    done = CliRunner().invoke(longtake.train.cli.main, [*call, "--json"])
    assert json.loads(done.stdout)["head"] == "gdlt"
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [event["event"] for event in events] == ["epoch"] * 3 + ["model"]
    assert [event["done"] for event in events] == [1, 2, 3, 3] and events[0]["of"] == 3
    assert events[0]["seconds_left"] > 0 and events[-1]["seconds_left"] == 0
    (kept,) = CliRunner().invoke(longtake.train.cli.main, [*call, "--json", "--resume"]).stderr.splitlines()
    kept = json.loads(kept)
    assert kept["kept"] and not events[-1]["kept"] and (kept["done"], kept["of"]) == (3, 3)
    quiet = CliRunner().invoke(longtake.train.cli.main, [*call, "--quiet"])
    assert quiet.exit_code == 0 and quiet.output == ""
    assert "exclude each other" in CliRunner().invoke(longtake.train.cli.main, [*call, "--quiet", "--verbose"]).output


@pytest.mark.parametrize("on_terminal", [True, False])
def test_what_was_done_before_says_nothing_of_the_rate(on_terminal, monkeypatch):
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
