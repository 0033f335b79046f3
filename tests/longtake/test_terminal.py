"""Errors, warnings and values on their way to the terminal."""

import errno
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from longtake.errors import LongtakeError, LongtakeWarning
from longtake.terminal import INTERRUPTED, Console, LocalStorePath, NamesOf, StorePath, echo, print_json, version_option
from tests.calls import invoke


def group_that_raises(error: BaseException) -> Console:
    @click.command()
    def works():
        raise error

    return Console("group", commands=[works])


def test_the_version_names_what_decides_numbers_and_formats():
    @click.group(cls=Console)
    @version_option
    def program():
        pass

    lines = invoke(program, "--version").output.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["longtake", "python"] and all(
        len(line.split()) >= 2 for line in lines
    )
    assert {"torch", "numpy", "h5py", "zarr"} <= {line.split()[0] for line in lines}


def test_a_warning_is_printed_once_per_command():
    @click.command()
    def warns():
        for line in ("one", "two", "one"):
            warnings.warn(line, LongtakeWarning, stacklevel=1)

    group = Console("group", commands=[warns])
    for _ in range(2):
        assert invoke(group, "warns").stderr == "warning: one\nwarning: two\n"


def test_out_of_memory_is_one_message():
    """The error of torch, by its name, and that of Python; other errors are not hidden."""

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
        "error: out of memory: CUDA out of memory. Finished work is kept"
        in invoke(group, "works", "gpu", status=2).stderr
    )
    assert "use smaller batches" in invoke(group, "works", "cpu", status=2).stderr
    assert isinstance(CliRunner().invoke(group, ["works", "else"]).exception, RuntimeError)


def test_an_error_of_ours_is_one_printable_message():
    done = invoke(group_that_raises(LongtakeError("first \x1b[2J line\n  second")), "works", status=2)
    assert done.stderr == "error: first  [2J line\n  second\n"


def test_ctrl_c_has_its_own_status():
    assert "finished work is kept" in invoke(group_that_raises(KeyboardInterrupt()), "works", status=INTERRUPTED).stderr


@pytest.mark.parametrize(
    "number, message",
    [
        (errno.ENOSPC, "no space left on the device /x; finished work is kept"),
        (errno.EACCES, "no permission to read or write /x"),
        (errno.EIO, "Input/output error: /x"),
    ],
)
def test_errors_of_files(number, message):
    error = OSError(number, "Input/output error", "/x")
    assert message in invoke(group_that_raises(error), "works", status=2).stderr


def test_json_has_null_for_what_it_lacks(capsys):
    print_json({"a": [float("nan"), (1, float("inf"))], "b": Path("x")})
    assert json.loads(capsys.readouterr().out) == {"a": [None, [1, None]], "b": "x"}


def test_a_table_of_names_is_imported_only_when_needed():
    asked = []

    def names():
        asked.append(True)
        return ["one", "two"]

    @click.command()
    @click.option("--name", type=NamesOf(names))
    def works(name):
        click.echo(name)

    assert CliRunner().invoke(works, []).exit_code == 0 and not asked
    assert invoke(works, "--name", "two").output == "two\n" and asked
    assert "'three' is not one of 'one', 'two'" in invoke(works, "--name", "three", status=2).output


def test_stores_are_paths_or_urls():
    assert StorePath().convert("a.h5", None, None) == Path("a.h5")
    assert StorePath().convert("s3://lab/a.h5", None, None) == "s3://lab/a.h5"
    assert LocalStorePath().convert("a.h5", None, None) == Path("a.h5")
    with pytest.raises(click.UsageError, match="is remote; write the store to a local path"):
        LocalStorePath().convert("s3://lab/a.h5", None, None)


def test_control_characters_do_not_reach_the_terminal():
    @click.command()
    def prints():
        echo("A\x1b[2J\tB\u202e\nC\x07")
        print_json({"A\x1b\x7f": "\x9b"})

    done = invoke(Console("group", commands=[prints]), "prints")
    assert done.stdout.startswith("A [2J\tB \nC \n") and not any(c in done.stdout for c in "\x1b\x7f\x9b")
    assert json.loads(done.stdout.partition("{")[2].join(["{", ""])) == {"A\x1b\x7f": "\x9b"}


@pytest.mark.parametrize(
    "call, words",
    [
        (["works", "a", "b\x1b[2Jx.h5"], "unexpected extra argument (b [2Jx.h5)"),
        (["works", "--no\x1b[2J"], "No such option"),
        (["no\x1b[2J"], "No such command"),
        (["--no\x1b[2J"], "No such option"),
        (["works", "fails\x1b[2J"], "Error: fails [2J"),
    ],
)
def test_control_characters_of_the_call_do_not_reach_the_terminal(call, words):
    @click.command()
    @click.argument("name")
    def works(name):
        raise click.UsageError(name)

    # With colours, as on a terminal: without, click removes escape sequences itself.
    done = CliRunner().invoke(Console("group", commands=[works]), call, color=True)
    assert done.exit_code == 2 and words in done.stderr and "\x1b" not in done.stderr


@pytest.mark.parametrize(
    "encoding, out, err",
    [
        ("latin-1", b"0.5 \xb1 0.1 \\u2265\n", b"error: no \\u65e5\n"),
        # click takes a stream in ASCII for a wrong setting, and writes UTF-8.
        ("ascii", "0.5 ± 0.1 ≥\n".encode(), "error: no 日\n".encode()),
    ],
)
def test_a_locale_that_lacks_a_character_prints_its_number(encoding, out, err):
    """Of a result and of an error."""
    code = (
        "import click, sys; from longtake.terminal import Console, echo; from longtake.errors import LongtakeError\n"
        "@click.command()\ndef works():\n    echo('0.5 \\xb1 0.1 \\u2265'); raise LongtakeError('no \\u65e5')\n"
        "Console('g', commands=[works])(['works'])"
    )
    here = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=here)
    assert (done.returncode, done.stdout, done.stderr) == (2, out, err)


def test_a_name_that_the_locale_cannot_write_is_one_message():
    error = UnicodeEncodeError("ascii", "/data/É.h5", 6, 7, "ordinal not in range(128)")
    done = invoke(group_that_raises(error), "works", status=2)
    assert done.stderr.startswith("error: this locale (ascii) has no name for the file '/data/\\xc9.h5': set LC_ALL")


def test_limits_of_the_system_are_named():
    for number, words in (
        (errno.EMFILE, "too many open files x: raise the limit"),
        (errno.EDQUOT, "your disk quota is used up x; finished work is kept"),
        (errno.EFBIG, "takes no file so large x; finished work is kept"),
        (errno.ENOMEM, "no memory or address space left x"),
    ):
        done = invoke(group_that_raises(OSError(number, "?", "x")), "works", status=2)
        assert words in done.stderr


@pytest.mark.parametrize(
    "call, meaning",
    [
        (("mine.csv",), "After `program` comes a command (extract), then its options"),
        (("--rate", "3"), "Options come after the command: `program COMMAND --option VALUE`"),
        (("extract", "--rate", "1", "mine.csv"), "(mine.csv): values are given by options, such as --rate"),
        (("extract", "--rate", "1,5"), "'1,5' is not a number; the decimal mark is a point, as in 1.5"),
        (("extract", "--rate", "1", "--count", "ten"), "'ten' is not a whole number"),
    ],
)  # fmt: skip
def test_what_a_beginner_gets_wrong_is_said_with_what_to_do(call, meaning):
    @click.command()
    @click.option("--rate", type=float, required=True)
    @click.option("--count", type=click.IntRange(1))
    def extract(**_):
        raise AssertionError

    assert meaning in invoke(Console("program", commands=[extract]), *call, status=2).output


def test_a_program_without_standard_streams_works_and_opens_no_file_in_their_place(tmp_path):
    code = (
        "import click, os, sys; from longtake.terminal import Console, echo\n"
        "@click.command()\n"
        "def works():\n"
        "    file = open(sys.argv[2], 'w'); echo('to no one'); os.write(2, b'of a library'); echo('x', err=True); file.write('kept')\n"
        "sys.argv[1:2] == ['works'] and Console('g', commands=[works]).main(['works'])"
    )
    path = tmp_path / "store"
    call = 'exec "$0" -c "$1" works "$2" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", call, sys.executable, code, path], cwd=Path(__file__).parents[2])
    assert done.returncode == 0 and path.read_text() == "kept"
