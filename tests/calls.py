"""Commands as a test calls them."""

from __future__ import annotations

import click
from click.testing import CliRunner, Result


def invoke(command: click.Command, *arguments: object, status: int = 0) -> Result:
    """What the command says; fails where it ends with another status, or with a traceback."""
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert done.exit_code == status, (done.output, done.exception)
    assert "Traceback" not in done.output, done.output
    return done
