"""What the `features` commands share: facts for programs, or lines for people."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from longtake.errors import printable
from longtake.terminal import StorePath, print_json


def show(as_json: bool, facts: object, lines: Iterable[str]) -> None:
    """Both may come from an untrusted store."""
    if as_json:
        print_json(facts)
    else:
        for line in lines:
            click.echo(printable(line))


class NamedStore(StorePath):
    """A store to read: a path, a URL, or the name of a store that was pulled or that the configured remote has."""

    name = "path, URL or NAME@VERSION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        place = super().convert(value, param, ctx)
        from longtake.features.store_name import parse_store_name  # a lazy import keeps wrong calls and --help fast

        if ctx is not None and ctx.resilient_parsing or isinstance(place, str) or parse_store_name(place) is None:
            return place
        from longtake.features.store import find_store

        return find_store(place)
