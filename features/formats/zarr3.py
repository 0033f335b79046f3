"""A store as a Zarr v3 hierarchy: many files or objects, for object stores and HTTP.

Published data are never changed. Each write makes a new generation, a group of its own, and publishes it by one write of the root's
`zarr.json`, which names the generation and holds the metadata of all its arrays, so a reader opens a store with one request.
Replaced generations are kept for a while, for readers that have them open. On a disk, shards that do not change are files of both
generations, so a store grows by what is new (`shards.py`). Its arrays are in `zarr3_groups.py`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from uuid import uuid4

import zarr
from zarr.abc.store import Store as Files
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync as wait_for
from zarr.errors import ZarrUserWarning
from zarr.storage import LocalStore

from longtake.features.content import Content
from longtake.features.errors import InvalidFeatures, NotAStore
from longtake.features.formats.bounded import READ_WITH
from longtake.features.formats.disk import sync
from longtake.features.formats.new_metadata import NewHierarchy
from longtake.features.formats.remote_files import open_files
from longtake.features.formats.tree import MAGIC, damage, one_line
from longtake.features.formats.tree_reader import read_store
from longtake.features.formats.tree_writer import write_tree
from longtake.features.formats.zarr3_groups import COMPRESSIONS, Group, NewGroup, num_bytes_of
from longtake.features.remote import failures, plain_errors, require_bounded
from longtake.features.store import Store
from longtake.files import Writer, require_regular

SYNCED_AT_ONCE = 16
GRACE_SECONDS = 60.0
"""A replaced generation is removed by the first write after this time."""


def write_file(path: Path | str, content: Content) -> None:
    """Write a new generation and publish it by one write of the root's metadata. Readers see the old store or the new one."""
    compression = content.storage.compression
    if compression not in COMPRESSIONS:
        raise InvalidFeatures(f"compression of a Zarr store must be {', '.join(COMPRESSIONS)}, got {compression}")
    generation = f"{uuid4().hex[:8]}.{Writer.current()}"
    # Zarr would write metadata of every parent group, so the generation is a separate hierarchy until it is published.
    inside = path / generation if isinstance(path, Path) else f"{path.rstrip('/')}/{generation}"
    with _opened(path, read_only=False) as files, _opened(inside, read_only=False) as new:
        root = _read_root(files)
        before, one_before = (_generation(root.get(name)) for name in ("current", "previous"))
        try:
            hierarchy = NewHierarchy(new)
            write_tree(NewGroup(hierarchy, "", inside if isinstance(inside, Path) else None), content)
            zarr.consolidate_metadata(hierarchy)
            metadata = json.loads(_get(hierarchy, "zarr.json") or b"{}")
            hierarchy.finish()
            if isinstance(inside, Path):
                _sync_tree(inside)
            _publish(files, path, _root_metadata(generation, before, metadata))
        except BaseException:
            with suppress(OSError, *failures()):  # The first error is what went wrong.
                wait_for(files.delete_dir(generation))
            if isinstance(path, Path) and not before:
                with suppress(OSError):
                    path.rmdir()
            raise
        if isinstance(path, Path):
            sync(path)
            if before and (path / before).exists():
                with suppress(PermissionError):  # Of another user, who alone can remove it.
                    os.utime(path / before, follow_symlinks=False)
            _clear(path, current=generation)
        elif one_before:
            # At a URL the time of replacement is unknown, so one generation is kept.
            wait_for(files.delete_dir(one_before))


def exists(path: Path | str) -> bool:
    if isinstance(path, Path):
        return (path / "zarr.json").exists()
    with _opened(path, read_only=True) as files:
        return _get(files, "zarr.json") is not None


@contextmanager
def _opened(path: Path | str, *, read_only: bool) -> Iterator[Files]:
    """The files of a store, with zarr set up as we need it."""
    if isinstance(path, Path) and (path / "zarr.json").exists():
        require_regular(path / "zarr.json")
    with warnings.catch_warnings(), plain_errors(path) if isinstance(path, str) else nullcontext():
        # Zarr warns that consolidated metadata are not yet in its specification. FORMAT.md describes them.
        warnings.simplefilter("ignore", ZarrUserWarning)
        with zarr.config.set({"array.write_empty_chunks": True, "json_indent": None, **READ_WITH}):
            if isinstance(path, str):
                if read_only:
                    require_bounded(f"{path.rstrip('/')}/zarr.json")
                yield open_files(path, read_only=read_only)
            else:
                yield LocalStore(path, read_only=read_only)


def _root_metadata(generation: str, before: str | None, metadata: dict) -> bytes:
    """The root group: which generation is current, and all of its metadata with paths relative to the root."""
    inside = metadata.pop("consolidated_metadata")["metadata"]
    root = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"format": MAGIC, "current": generation, "previous": before},
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": False,
            "metadata": {generation: metadata, **{f"{generation}/{name}": value for name, value in inside.items()}},
        },
    }
    return json.dumps(root).encode()


def _publish(files: Files, path: Path | str, root: bytes) -> None:
    """Replace the root's metadata in one step. On a disk they are synced before they get their name: after a power failure it would name an
    empty file on some file systems."""
    if isinstance(path, str):
        wait_for(files.set("zarr.json", default_buffer_prototype().buffer.from_bytes(root)))
        return
    temporary = path / f"zarr.{uuid4().hex}.partial"
    try:
        temporary.write_bytes(root)
        sync(temporary)
        os.replace(temporary, path / "zarr.json")
    finally:
        temporary.unlink(missing_ok=True)


def _get(files: Files, key: str) -> bytes | None:
    found = wait_for(files.get(key, default_buffer_prototype()))
    return None if found is None else found.to_bytes()


def _read_root(files: Files) -> Mapping[str, object]:
    """Attributes of the root; empty if there is no store."""
    try:
        found = json.loads(_get(files, "zarr.json") or "{}")["attributes"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _generation(name: object) -> str | None:
    """The name of a generation in an untrusted store, if it is one that our writers make."""
    return name if isinstance(name, str) and re.fullmatch(r"[0-9a-f]{8}\.[\d-]+@[^/\\]+", name) else None


def _sync_tree(folder: Path) -> None:
    new = []
    for parent, _, names in os.walk(folder):
        # Files that an older generation has too were synced with it.
        new += [file for file in (Path(parent, name) for name in names) if file.stat().st_nlink == 1]
        new.append(Path(parent))
    # Many at a time: a journal takes them together, where one after the other waits for a write each.
    with ThreadPoolExecutor(SYNCED_AT_ONCE) as threads:
        for _ in threads.map(sync, new):
            pass


def _clear(path: Path, current: str) -> None:
    """Remove generations that were replaced some time ago, and incomplete files of killed writers."""
    for entry in path.iterdir():
        writer = Writer.parse(entry.name.partition(".")[2])
        if entry.suffix == ".partial":
            with suppress(OSError):  # of another user
                entry.unlink()
        elif entry.name == current or writer is None:
            continue
        elif _is_complete(entry):
            if time.time() - entry.stat().st_mtime >= GRACE_SECONDS:
                shutil.rmtree(entry, ignore_errors=True)
        elif writer.is_dead(entry.stat().st_mtime):
            shutil.rmtree(entry, ignore_errors=True)


def _is_complete(generation: Path) -> bool:
    try:
        return "consolidated_metadata" in json.loads(require_regular(generation / "zarr.json").read_bytes())
    except (OSError, ValueError):
        return False


def open_file(path: Path | str) -> Store:
    """Open for reading. Raises `NotAStore` for anything that is wrong with the store."""
    if isinstance(path, Path) and not path.exists():
        raise NotAStore(f"no feature store at {path}")
    if isinstance(path, Path) and not path.is_dir():
        raise NotAStore(f"{path} is a file; a Zarr store is a folder")
    try:
        with _opened(path, read_only=True) as files:
            # Version 3 alone is one request; requests for version 2 would still be under way when the first has failed.
            root = zarr.open_group(files, mode="r", zarr_format=3, use_consolidated=True)
            if root.attrs.get("format") != MAGIC:
                raise NotAStore("it does not say that it is one (attribute 'format')")
            current = str(root.attrs["current"])
            if "/" in current or "\\" in current or current in ("", ".", ".."):
                raise NotAStore(f"its current generation is {current[:80]!r}, which is not the name of a folder in it")
            folder = path / current if isinstance(path, Path) else None
            num_bytes = num_bytes_of(folder) if folder else None
            tree = Group(root[current], folder)
    except FileNotFoundError as error:
        raise NotAStore(f"no feature store at {path}: it has no zarr.json") from error
    except damage() as error:
        if isinstance(error, NotAStore) and f"cannot read {path}" in str(error):
            raise
        raise NotAStore(f"{path} is not a Longtake feature store, or is damaged: {one_line(error)}") from error
    return read_store(path, tree, files.close, num_bytes)
