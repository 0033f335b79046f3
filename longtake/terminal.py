"""What the three commands share in a terminal: errors, exit statuses, JSON, completion.

Exit status: 0 all done; 1 some videos failed or could not be published, or two stores differ; 2 the call was wrong; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from longtake.errors import LongtakeError, LongtakeWarning, printable
from longtake.files import is_url
from longtake.packages import why_not_loaded
from longtake.safe_text import printable_lines
from longtake.threads import spin_less

VERSIONS = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "h5py",
    "zarr",
    "av",
    "timm",
    "transformers",
    "open_clip_torch",
    "openvino",
)
WRONG_CALL = 2
INTERRUPTED = 130


def echo(message: object = "", err: bool = False) -> None:
    """Print a message. Every command prints with this function: parts of messages come from untrusted files, whose control characters must
    not reach a terminal."""
    click.echo(printable_lines(str(message)), err=err)


class Console(click.Group):
    """A group of commands that turns our errors into one message and an exit status."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        spin_less()
        _open_closed_streams()
        for stream in (sys.stdout, sys.stderr):
            # A locale such as C or latin-1 lacks characters of names and messages: they are printed as \\u2265.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return super().main(*arguments, **options)

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _printable_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _printed_warnings(), _printable_errors():
                return super().invoke(ctx)
        except LongtakeError as error:
            raise Refused(str(error)) from error
        except KeyboardInterrupt:
            echo("stopped; finished work is kept", err=True)
            ctx.exit(INTERRUPTED)
        except UnicodeEncodeError as error:
            raise Refused(
                f"this locale ({error.encoding}) has no name for the file {ascii(error.object)}: set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
            ) from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # The reader of our output closed it, as `head` does: click exits silently.
            raise Refused(why_not_loaded(error) or _plain(error)) from error
        except Exception as error:
            # torch's error is a RuntimeError; it is recognised by name, so torch is not imported.
            of_torch = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
            if not isinstance(error, MemoryError) and not of_torch:
                if reason := why_not_loaded(error):
                    raise Refused(reason) from error
                raise
            reason = str(error).partition(". ")[0] or "no memory left"
            raise Refused(
                f"out of memory: {reason}. Finished work is kept; use smaller batches (--batch-size, --set batch_size=...)"
            ) from error


def _open_closed_streams() -> None:
    """Some services start programs without standard input, output or errors. The first files that are opened, such as a store, would take
    their numbers, and libraries would print into them."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")


@contextmanager
def _printable_errors() -> Iterator[None]:
    """click repeats names and values of the call in its messages, and names of files come from other people."""
    try:
        yield
    except click.ClickException as error:
        text = printable_lines(_plainer(error))
        vars(error)["format_message"] = lambda: text
        raise


NUMBERS = {
    "is not a valid float": "is not a number; the decimal mark is a point, as in 1.5",
    "is not a valid float range": "is not a number; the decimal mark is a point, as in 0.5",
    "is not a valid integer": "is not a whole number",
    "is not a valid integer range": "is not a whole number",
}
"""Ends of click's messages, and what they mean."""


def _plainer(error: click.ClickException) -> str:
    """What click says, with what to do where a beginner would not know it."""
    text, context = error.format_message(), getattr(error, "ctx", None)
    for said, meant in NUMBERS.items():
        text = f"{text[: -len(said) - 1]}{meant}" if text.endswith(f"{said}.") else text
    if context is None:
        return text
    if isinstance(context.command, click.Group):
        if text.startswith("No such command") and "you mean" not in text:
            names = [name for name in context.command.list_commands(context) if name != "completion"]
            return f"{text} After `{context.command_path}` comes a command ({', '.join(names)}), then its options."
        if text.startswith("No such option"):
            return f"{text} Options come after the command: `{context.command_path} COMMAND --option VALUE`."
    elif text.startswith("Got unexpected extra argument"):
        named = next(
            (one.opts[-1] for one in context.command.params if isinstance(one, click.Option) and one.required), None
        )
        return f"{text}: values are given by options{f', such as {named}' if named else ''}"
    return text


@contextmanager
def _printed_warnings() -> Iterator[None]:
    """Print each of our warnings once, on one line; leave those of libraries unchanged."""
    said: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", LongtakeWarning)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, LongtakeWarning):
                if str(message) in said:
                    return
                said.add(str(message))
                echo(f"warning: {printable(str(message))}", err=True)
            else:
                usual(message, category, *where, **more)

        warnings.showwarning = show
        yield


class Refused(click.ClickException):
    """One of our errors, as click prints it."""

    exit_code = WRONG_CALL

    def show(self, file: Any = None) -> None:
        echo(f"error: {self.message}", err=True)


def _plain(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"no space left on the device{where}; finished work is kept. Free some space and run the command again"
    if error.errno == errno.EDQUOT:
        return f"your disk quota is used up{where}; finished work is kept. Free some space and run the command again"
    if error.errno == errno.EFBIG:
        return (
            f"this file system or `ulimit -f` takes no file so large{where}; finished work is kept. FAT32 ends at 4 GiB: use another disk, or a "
            f"store that ends in .zarr"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to read or write{where}: {error.strerror}"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"too many open files{where}: raise the limit with `ulimit -n 4096`, or use fewer workers or stores at a time"
    if error.errno == errno.ENOMEM:
        return f"no memory or address space left{where}; finished work is kept. Raise the limit (`ulimit -v`), or use fewer workers"
    return f"{error.strerror or error}:{where}" if where else str(error)


def completes(names: Callable[[], Iterable[str]]) -> Callable:
    """For `shell_complete` of an option: the names that begin with the typed text."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


def add_completion(group: click.Group, program: str) -> None:
    """Add the command `completion` to a program."""

    @group.command("completion", help=_COMPLETION.format(program=program))
    @click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
    def completion(shell: str) -> None:
        from click.shell_completion import get_completion_class

        variable = f"_{program}_complete".upper()
        complete = get_completion_class(shell)
        assert complete is not None, "the choices of SHELL are those of click"
        click.echo(complete(group, {}, program, variable).source())


_COMPLETION = """Print the script that makes SHELL complete commands, options and names of this program.

Example, in ~/.bashrc: eval "$({program} completion bash)"
"""


def print_json(value: object) -> None:
    echo(to_json(value, indent=2))


def to_json(value: object, indent: int | None = None) -> str:
    """JSON in ASCII, without control characters, and with null for NaN and infinity."""
    return json.dumps(finite(value), indent=indent, default=str, allow_nan=False).replace("\x7f", "\\u007f")


def finite(value: object) -> object:
    """The value with null for NaN and infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class NamesOf(click.Choice):
    """A choice among the names of a table that is imported only when they are needed."""

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self._names, self.case_sensitive = names, True

    def __getattr__(self, name: str) -> Any:
        if name != "choices":
            raise AttributeError(name)
        self.choices = tuple(self._names())
        return self.choices


class StorePath(click.ParamType):
    """A store: a path, or a URL as text."""

    name = "path or URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        return value if is_url(value) else Path(value)


class LocalStorePath(StorePath):
    """A store to write to: a path, never a URL, because parts are written next to it."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        if is_url(value):
            local = f"write the store to a local path, then: features convert PATH {value}"
            self.fail(f"{value} is remote; {local}", param, ctx)
        return super().convert(value, param, ctx)


def version_option(command: Callable) -> Callable:
    """--version: that of Longtake, and of what decides its numbers and formats where it is installed."""

    def show(context: click.Context, _: click.Parameter, asked: bool) -> None:
        if not asked or context.resilient_parsing:
            return
        echo(f"longtake {metadata.version('longtake')}")
        echo(f"python {sys.version.split()[0]}, {platform.platform(terse=True)}")
        for name in VERSIONS:
            with suppress(metadata.PackageNotFoundError):
                echo(f"{name} {metadata.version(name)}")
        context.exit()

    return click.option(
        "--version", is_flag=True, is_eager=True, expose_value=False, callback=show, help="Show the versions and exit."
    )(command)


def json_option(command: Callable) -> Callable:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)
