"""How the three commands behave in a terminal, once for all of them: errors, exit statuses, JSON.

Exit status: 0 all done; 1 some videos failed or could not be published, or two stores differ; 2 the call was wrong; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import errno
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from longtake.errors import LongtakeError, LongtakeWarning, printable
from longtake.files import is_url

WRONG_CALL = 2
INTERRUPTED = 130


class Console(click.Group):
    """A group of commands that turns our errors into one message and a status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _told_warnings():
                return super().invoke(ctx)
        except LongtakeError as error:
            raise Refused(str(error)) from error
        except KeyboardInterrupt:
            click.echo("stopped; what was finished is kept", err=True)
            ctx.exit(INTERRUPTED)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # Whoever reads our output has enough of it, such as `head`: click ends without a word.
            raise Refused(_plain(error)) from error
        except (MemoryError, RuntimeError) as error:
            # torch's own is a RuntimeError, and torch is not imported for it.
            of_torch = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
            if not isinstance(error, MemoryError) and not of_torch:
                raise
            reason = str(error).partition(". ")[0] or "no more can be had"
            raise Refused(
                f"out of memory: {reason}. What was finished is kept; take smaller batches (--batch-size, --set batch_size=...)"
            ) from error


@contextmanager
def _told_warnings() -> Iterator[None]:
    """Our warnings as one line each, said once; those of libraries as they are."""
    said: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", LongtakeWarning)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: object) -> None:
            if issubclass(category, LongtakeWarning):
                if str(message) in said:
                    return
                said.add(str(message))
                click.echo(f"warning: {printable(str(message))}", err=True)
            else:
                usual(message, category, *where)

        warnings.showwarning = show
        yield


class Refused(click.ClickException):
    """One of our errors on its way to the terminal."""

    exit_code = WRONG_CALL

    def show(self, file: Any = None) -> None:
        lines = map(printable, self.message.split("\n"))
        click.echo("error: " + "\n".join(lines), file=file or sys.stderr)


def _plain(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"no space left on the device{where}; nothing stored before is lost. Free some and run again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"not allowed to write or read{where}: {error.strerror}"
    return f"{error.strerror or error}{where}"


def completes(names: Callable[[], Iterable[str]]) -> Callable:
    """For `shell_complete` of an option: names that begin as what was typed does."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


def add_completion(group: click.Group, program: str) -> None:
    """The command `completion` of a program."""

    @group.command("completion", help=_COMPLETION.format(program=program))
    @click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
    def completion(shell: str) -> None:
        from click.shell_completion import get_completion_class

        variable = f"_{program}_complete".upper()
        click.echo(get_completion_class(shell)(group, {}, program, variable).source())


_COMPLETION = """Print what makes SHELL complete commands, options and names of this program.

Example, in ~/.bashrc: eval "$({program} completion bash)"
"""


def print_json(value: object) -> None:
    click.echo(json.dumps(finite(value), indent=2, default=str, allow_nan=False))


def finite(value: object) -> object:
    """JSON has no NaN; a number that is missing is null."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class NamesOf(click.Choice):
    """A choice among the names of a table, which is imported when somebody asks for them and not before."""

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self._names, self.case_sensitive = names, True

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(self._names())


class StorePath(click.ParamType):
    """A store: a path, or a URL, which stays the text that it is."""

    name = "path or URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        return value if is_url(value) else Path(value)


class LocalStorePath(click.ParamType):
    """A store that is added to, which has its parts beside it on a disk."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if is_url(value):
            self.fail(f"{value} is far away; write the store here, then: features convert HERE {value}", param, ctx)
        return Path(value)


def json_option(command: Callable) -> Callable:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)
