"""A remote in a folder, such as a shared disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from longtake.features.errors import FeaturesError, NotAStore
from longtake.features.formats.disk import sync
from longtake.files import Writer, clear_dead, require_regular


class FolderPlace:
    """Files are written under a hidden name, synced, and then renamed or, where they must be new, linked: `link` fails if the name is taken."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder.removeprefix("file://")).expanduser().absolute()
        self.url = str(self._folder)

    def require_writable(self) -> None:
        if self._folder.exists() and not self._folder.is_dir():
            raise FeaturesError(f"{self._folder} is a file; a remote is a folder or a URL")

    def read(self, path: str, limit: int) -> bytes | None:
        try:
            with require_regular(self._folder / path).open("rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if len(data) > limit:
            raise NotAStore(f"{self._folder / path} has more than {limit} bytes")
        return data

    def read_range(self, path: str, begin: int, end: int) -> bytes:
        try:
            with require_regular(self._folder / path).open("rb") as file:
                file.seek(begin)
                return file.read(end - begin)
        except FileNotFoundError as error:
            raise NotAStore(f"{self._folder / path} is missing: the remote is not whole") from error

    def size(self, path: str) -> int | None:
        try:
            return require_regular(self._folder / path).stat().st_size
        except FileNotFoundError:
            return None

    def walk(self, folder: str) -> list[str] | None:
        root = self._folder / folder
        found = []
        for parent, _, names in os.walk(root):
            inside = Path(parent).relative_to(root)
            found += [(inside / name).as_posix() for name in names if not name.startswith(".")]
        return found

    def _written(self, path: str, data: bytes) -> tuple[Path, Path]:
        """The synced temporary file, and the file that it will be."""
        final = self._folder / path
        final.parent.mkdir(parents=True, exist_ok=True)
        # Of all names: the next version has another one.
        clear_dead(final.parent)
        # Of this thread alone, and still named after this process.
        temporary = final.with_name(f".{final.name}.{uuid4().hex[:8]}.{Writer.current()}.tmp")
        try:
            temporary.write_bytes(data)
            sync(temporary)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary, final

    def put(self, path: str, data: bytes) -> None:
        temporary, final = self._written(path, data)
        try:
            os.replace(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)
        sync(final.parent)

    def create(self, path: str, data: bytes) -> bool:
        temporary, final = self._written(path, data)
        try:
            os.link(temporary, final)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            raise FeaturesError(
                f"the file system of {self._folder} has no hard links, without which two pushes at one time could overwrite each "
                "other: push to a folder on another file system, or to a URL"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        # The name is taken from here on: a failure of this last step must not look like a version that was not made.
        with suppress(OSError):
            sync(final.parent)
        return True

    def replace_all(self, files: Mapping[str, bytes]) -> None:
        for path, data in files.items():
            self.put(path, data)
