"""Find the store that a name means: in the library, or on the configured remote."""

from __future__ import annotations

import warnings
from pathlib import Path

from longtake.errors import LongtakeWarning, there_are
from longtake.features.errors import NotAStore, NotInStore
from longtake.features.remote import without_password
from longtake.features.remotes.history import find_version
from longtake.features.remotes.library import (
    OFFLINE_VARIABLE,
    REMOTE_VARIABLE,
    Held,
    configured_remote,
    find_held,
    held,
    is_offline,
    library_folder,
)
from longtake.features.remotes.place import open_place
from longtake.features.remotes.pull import pull
from longtake.features.store_name import StoreName


def resolve(name: StoreName) -> Path:
    """The path of a pulled store. A version that was pulled is opened without a look at the remote; others are pulled.

    Without a version it is the newest one of the remote, or, with a warning, the newest pulled one where the remote cannot be reached. Raises
    `NotInStore` with what to do, `NotAStore` for a remote that fails.
    """
    remote = configured_remote()
    here = find_held(name, _shown(remote))
    if name.version is not None and here is not None:
        return _path(here, remote)
    if not remote or is_offline():
        if here is not None:
            return _path(here, remote)
        raise NotInStore(_nothing(name, remote))
    if name.version is None and here is not None:
        try:
            newest = find_version(open_place(remote), name)
        except NotAStore as error:
            _warn(f"{error}; {here.version.full_name}, the newest version that was pulled, is used")
            return here.path
        name = StoreName(name.name, newest.label)
        same = find_held(name)
        if same is not None and same.version.content_id == newest.content_id:
            return same.path
    pulled = pull(name, remote)
    if pulled.is_new:
        _warn(f"pulled {pulled.version.full_name} from {without_password(remote)} to {pulled.path}")
    return pulled.path


def _path(here: Held, remote: str) -> Path:
    if remote and here.remote != _shown(remote):
        _warn(
            f"{here.version.full_name} was pulled from {here.remote}; {REMOTE_VARIABLE} is {without_password(remote)}"
        )
    return here.path


def _shown(remote: str) -> str:
    """A remote as the library records it."""
    return without_password(open_place(remote).url) if remote else ""


def _warn(message: str) -> None:
    warnings.warn(LongtakeWarning(message), stacklevel=2)


def _nothing(name: StoreName, remote: str) -> str:
    labels = [one.version.label for one in held(name.name)]
    known = (
        sorted(path.name for path in library_folder().iterdir() if path.is_dir()) if library_folder().is_dir() else []
    )
    have = (
        there_are(name.version or "", labels)
        if labels
        else f": the library {library_folder()} holds {', '.join(known) or 'nothing'}"
    )
    if remote:
        remedy = f"{OFFLINE_VARIABLE} forbids to pull it from {without_password(remote)}"
    else:
        remedy = f"pull it with: features pull {name} --from REMOTE, or set {REMOTE_VARIABLE}"
    return f"{name} was not pulled{have}; {remedy}. The path of a store ends in .h5 or .zarr"
