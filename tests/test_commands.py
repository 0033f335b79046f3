"""What all commands share: a valid example, completion of names, events for programs."""

import json
import re
import shlex

import click
import pytest
from click.testing import CliRunner

import longtake.extract.cli
import longtake.features.cli
import longtake.train.cli
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
def test_every_command_has_an_example_with_existing_options(path, command):
    text = " ".join(command.help.split())
    example = re.search(r"Example[^:]*: (.*)", text)[1].rstrip(".").replace('eval "$(', "").replace(')"', "")
    words = shlex.split(example)
    assert words[: len(path)] == path
    known = {option for parameter in command.params for option in parameter.opts}
    given = {word for word in words if word.startswith("--")}
    assert given <= known
    # Required options are in the example.
    assert all(set(parameter.opts) & given for parameter in command.params
               if parameter.required and parameter.param_type_name == "option")  # fmt: skip


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


def test_events_are_json_lines_and_the_output_is_the_result_only(tmp_path):
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
