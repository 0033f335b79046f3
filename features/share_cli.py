"""The commands of `features` that push, pull and cite stores by name."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from longtake.features.errors import FeaturesError
from longtake.features.printing import NamedStore, show
from longtake.terminal import LocalStorePath, json_option

if TYPE_CHECKING:
    from longtake.features.remotes.versions import Version

from_option = partial(click.option, "--from", "remote", metavar="REMOTE")
NAMED = NamedStore()


def _remote(given: str | None, how: str = "with --from REMOTE") -> str:
    from longtake.features.remote import without_password
    from longtake.features.remotes.library import REMOTE_VARIABLE, configured_remote, is_offline

    found = given or configured_remote()
    if not found:
        raise FeaturesError(f"name the remote {how}, a folder or a URL, or set {REMOTE_VARIABLE}")
    if is_offline() and "://" in found:
        raise FeaturesError(
            f"LONGTAKE_OFFLINE forbids to ask {without_password(found)}; what was pulled opens by its name"
        )
    return found


@click.command("push")
@click.argument("store", type=NAMED)
@click.argument("remote", required=False)
@click.option("--name", help="Name on the remote: small letters, digits, - and _.  [default: the dataset of the store]")
@click.option("--note", default="", help="A line for `features log`, such as what was corrected.")
@click.option(
    "--permission",
    default="",
    help="Where a licence forbids passing on: who permitted it, when, for what. It is recorded.",
)
@click.option(
    "--add",
    is_flag=True,
    help="Add STORE to the newest version, which is pulled first: the next version has the videos and features of both. They must not differ where both have a video.",
)
@json_option
def push(
    store: Path | str, remote: str | None, name: str | None, note: str, permission: str, add: bool, as_json: bool
) -> None:
    """Push STORE to REMOTE as its next version. Only videos and labels that REMOTE does not have yet are sent.

    REMOTE is a folder, or a URL: s3://BUCKET/PATH, hf://datasets/OWNER/NAME and others that fsspec knows; $LONGTAKE_REMOTE by default. Versions never change. A licence that
    forbids passing on refuses the push.

    Example: features push features/rg.h5 s3://lab/stores
    """
    from longtake.features.remotes.place import open_place
    from longtake.features.tools.share import share
    from longtake.features.tools.summary import size

    where = _remote(remote, "after STORE")
    done, unknown = share(store, where, name=name, note=note, permission=permission, add=add)
    version = done.version
    lines = [f"{what}: its licence is unknown; you answer for passing it on" for what in unknown]
    lines += [f"passed on with permission ({version.permission}), against {clause}" for clause in version.clauses]
    shown = open_place(where).url
    if done.is_new:
        lines.append(
            f"{version.full_name} at {shown}: {version.changes.line}; sent {done.num_files} files{size(done.num_bytes)}"
        )
    else:
        lines.append(f"{version.full_name} at {shown} holds this already; nothing was pushed")
    show(as_json, asdict(done), lines)


@click.command("pull")
@click.argument("name", metavar="NAME[@VERSION]")
@from_option(help="A folder or URL.  [default: $LONGTAKE_REMOTE]")
@click.option("--backbone", multiple=True, help="Only these features, as NAME or NAME@RECIPE; may be repeated.")
@click.option(
    "--only",
    multiple=True,
    metavar="ID",
    help="Only these videos and their labels; may be repeated. Found by its path only.",
)
@click.option("--out", type=LocalStorePath(), help="The store to write.  [default: in the library, found by NAME]")
@json_option
def pull(
    name: str, remote: str | None, backbone: tuple[str, ...], only: tuple[str, ...], out: Path | None, as_json: bool
) -> None:
    """Pull a store by name, the newest version or the one of a date or number, and compare all of it with its hashes.

    Pulled stores open by name in every command and in Python, without a network. An interrupted pull continues where it ended; a
    new version fetches only what is new.

    Example: features pull rg@2026-11-29 --from s3://lab/stores --backbone vst
    """
    from longtake.features.remotes.pull import pull as pull_store
    from longtake.features.store_name import require_store_name
    from longtake.features.tools.summary import size

    done = pull_store(require_store_name(name), _remote(remote), backbones=backbone, only=only, out=out)
    fetched = f"fetched{size(done.num_bytes)}" if done.is_new else "it was here already"
    facts = {**asdict(done), "path": str(done.path)}
    show(as_json, facts, [f"{done.path}: {done.version.full_name}, {done.num_videos} videos; {fetched}"])


@click.command("versions")
@click.argument("name", required=False)
@from_option(help="A folder or URL.  [default: $LONGTAKE_REMOTE]")
@json_option
def versions(name: str | None, remote: str | None, as_json: bool) -> None:
    """List the versions of NAME on a remote, or all stores there with their newest version.

    Example: features versions rg --from s3://lab/stores
    """
    from longtake.features.remotes.history import find_version, newest_of_each
    from longtake.features.remotes.history import versions as versions_of
    from longtake.features.remotes.place import open_place
    from longtake.features.store_name import require_store_name
    from longtake.features.tools.summary import size

    place = open_place(_remote(remote))
    if name is None:
        newest = newest_of_each(place)
        lines = [
            f"{n.name}@{n.label}\t{n.number} versions\t{n.videos} videos\t{', '.join(n.streams)}{size(n.num_bytes)}"
            for n in newest
        ]
        show(as_json, [asdict(one) for one in newest], lines or [f"{place.url} has no stores"])
        return
    wanted = require_store_name(name)
    found = versions_of(place, wanted.name) if wanted.version is None else [find_version(place, wanted)]
    if not found:
        find_version(place, wanted)  # raises, with the names that there are
    show(as_json, [asdict(version) for version in found], map(_line, found))


def _line(version: Version) -> str:
    from longtake.features.tools.summary import size

    random = " RANDOM weights" if any(stream.weights_random for stream in version.streams) else ""
    streams = ", ".join(f"{stream.name} {stream.videos}" for stream in version.streams) or "no features"
    return f"{version.full_name}\t{version.number}\t{version.num_labels} labels\t{streams}{size(version.num_bytes)}{random}"


@click.command("log")
@click.argument("store")
@from_option(help="A folder or URL.  [default: $LONGTAKE_REMOTE, or what was pulled]")
@json_option
def log(store: str, remote: str | None, as_json: bool) -> None:
    """Show the history of STORE, a name or a store: when each version was pushed, what changed, under which terms.

    The version with the content of a store given by its path is marked. Offline, the pulled versions are shown.

    Example: features log rg --from s3://lab/stores
    """
    from longtake.features.tools.history import history

    rows = history(store, remote)
    lines = []
    for version, is_same in rows:
        lines.append(
            f"{version.full_name}\t{version.number}\t{version.created_utc}\t{version.changes.line}{' = ' + store if is_same else ''}"
        )
        lines += [f"    {text}" for text in (version.note, *version.clauses) if text]
        lines += [f"    permission: {version.permission}"] if version.permission else []
    show(as_json, [{**asdict(version), "same": is_same} for version, is_same in rows], lines)


@click.command("cite")
@click.argument("store", type=NAMED)
def cite(store: Path | str) -> None:
    """Print BibTeX of what STORE is made of: dataset, weights, and the pulled version.

    Example: features cite rg@2026-11-29
    """
    from longtake.features.remotes.library import read_record
    from longtake.features.store import open_store
    from longtake.features.tools.cite import bibtex
    from longtake.terminal import echo

    with open_store(store) as opened:
        known = read_record(store) if isinstance(store, Path) else None
        text = bibtex(opened, known.version if known else None)
    if not text:
        raise FeaturesError(f"{store} has no card and no registered weights, so there is nothing to cite")
    echo(text.rstrip())


COMMANDS: tuple[click.Command, ...] = (push, pull, versions, log, cite)
