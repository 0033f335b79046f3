"""A remote in a dataset repository of the Hugging Face hub: hf://datasets/OWNER/NAME[@REVISION][/PATH]."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Mapping
from typing import Any

from longtake.features.errors import FeaturesError, NotAStore
from longtake.features.remote import failures, plain_errors

TRIES = 20
"""Commits of other people that may come between."""
CONFLICTS = (409, 412)
MOST_CREATED_BYTES = 1 << 20


class HubPlace:
    """`put` uploads the content, and the next `create` commits it together with its own file, on the commit that was looked at: the hub
    refuses the commit if there is a newer one."""

    def __init__(self, url: str) -> None:
        found = re.fullmatch(r"hf://datasets/([\w.-]+/[\w.-]+?)(?:@([\w./-]+?))?(/[^@]*)?", url.rstrip("/"), re.ASCII)
        if found is None:
            raise FeaturesError(
                f"{url} is not a place for stores on the hub: give hf://datasets/OWNER/NAME, or .../NAME/FOLDER"
            )
        self.url = url.rstrip("/")
        self._repo, self._revision, self._folder = found[1], found[2] or "main", (found[3] or "").strip("/")
        self._pending: dict[str, Any] = {}
        self._client: Any = None

    @property
    def _endpoint(self) -> str | None:
        return os.environ.get("HF_ENDPOINT") or None

    def _api(self) -> Any:
        from huggingface_hub import HfApi

        return HfApi(endpoint=self._endpoint)

    def _inside(self, path: str) -> str:
        return f"{self._folder}/{path}" if self._folder else path

    def _at(self, path: str, revision: str | None = None) -> str:
        return f"datasets/{self._repo}@{revision or self._revision}/{self._inside(path)}"

    def _files(self) -> Any:
        """A client of this place, which remembers no listing."""
        from huggingface_hub import HfFileSystem

        if self._client is None:
            self._client = HfFileSystem(endpoint=self._endpoint, use_listings_cache=False, skip_instance_cache=True)
        return self._client

    def require_writable(self) -> None:
        with plain_errors(self.url, "write"):
            from huggingface_hub.errors import RepositoryNotFoundError

            try:
                self._head()
            except RepositoryNotFoundError as error:
                raise FeaturesError(
                    f"there is no dataset repository {self._repo} on the hub that you may write: create it, for example with "
                    f"`hf repo create {self._repo} --repo-type dataset`, and log in with `hf auth login`"
                ) from error

    def _head(self) -> str:
        found: str = self._api().repo_info(self._repo, repo_type="dataset", revision=self._revision).sha
        return found

    def read(self, path: str, limit: int) -> bytes | None:
        return self._read(path, limit, None)

    def _read(self, path: str, limit: int, revision: str | None) -> bytes | None:
        with plain_errors(f"{self.url}/{path}"):
            files, where = self._files(), self._at(path, revision)
            try:
                size = files.info(where)["size"]
            except FileNotFoundError:
                return None
            if size > limit:
                raise NotAStore(f"{self.url}/{path} has more than {limit} bytes")
            data: bytes = files.cat_file(where, start=0, end=size, cache_type="none")
            return data

    def read_range(self, path: str, begin: int, end: int) -> bytes:
        with plain_errors(f"{self.url}/{path}"):
            data: bytes = self._files().cat_file(self._at(path), start=begin, end=end, cache_type="none")
            return data[: end - begin]

    def size(self, path: str) -> int | None:
        with plain_errors(f"{self.url}/{path}"):
            try:
                found: int = self._files().info(self._at(path))["size"]
                return found
            except FileNotFoundError:
                return None

    def walk(self, folder: str) -> list[str] | None:
        from huggingface_hub.errors import EntryNotFoundError

        inside = self._inside(folder)
        with plain_errors(f"{self.url}/{folder}"):
            try:
                found = list(
                    self._api().list_repo_tree(
                        self._repo, path_in_repo=inside, recursive=True, repo_type="dataset", revision=self._revision
                    )
                )
            except EntryNotFoundError:
                return []
            return [entry.path[len(inside) + 1 :] for entry in found if hasattr(entry, "size")]

    def put(self, path: str, data: bytes) -> None:
        if path in self._pending:
            return
        from huggingface_hub import CommitOperationAdd

        with plain_errors(f"{self.url}/{path}", "write"):
            addition = CommitOperationAdd(self._inside(path), data)
            # The content of large files goes to the hub now, and is not kept in memory until the commit.
            self._api().preupload_lfs_files(self._repo, [addition], repo_type="dataset", revision=self._revision)
            self._pending[path] = addition

    def create(self, path: str, data: bytes) -> bool:
        from huggingface_hub import CommitOperationAdd

        with plain_errors(f"{self.url}/{path}", "write"):
            for attempt in range(TRIES):
                head = self._head()
                there = self._read(path, MOST_CREATED_BYTES, head)
                if there is not None:
                    return there == data  # of a request that was repeated because its answer was lost
                additions = [*self._pending.values(), CommitOperationAdd(self._inside(path), data)]
                if self._commit(additions, f"Add {path}", head):
                    self._pending.clear()
                    return True
                _wait(attempt)
            raise NotAStore(f"{self.url}: other commits came between {TRIES} times; try again later")

    def replace_all(self, files: Mapping[str, bytes]) -> None:
        from huggingface_hub import CommitOperationAdd

        with plain_errors(self.url, "write"):
            for attempt in range(TRIES):
                additions = [CommitOperationAdd(self._inside(path), data) for path, data in files.items()]
                if not additions or self._commit(additions, f"Write {', '.join(files)}"[:200], None):
                    return
                _wait(attempt)
            raise NotAStore(f"{self.url}: other commits came between {TRIES} times; try again later")

    def _commit(self, additions: list, message: str, parent: str | None) -> bool:
        """False if another commit came between."""
        try:
            self._api().create_commit(
                self._repo,
                additions,
                commit_message=message,
                repo_type="dataset",
                revision=self._revision,
                parent_commit=parent,
            )
        except failures() as error:
            if getattr(getattr(error, "response", None), "status_code", None) not in CONFLICTS:
                raise
            return False
        return True


def _wait(attempt: int) -> None:
    """Of two writers that collide, one comes first the next time."""
    time.sleep(random.uniform(0, min(2.0, 0.1 * 2**attempt)))
