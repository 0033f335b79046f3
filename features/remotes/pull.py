"""Pull a version of a store, or one backbone or video of it, into a store on this machine."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from longtake.errors import LongtakeError, there_are
from longtake.features.content import StreamItem, StreamPlan
from longtake.features.errors import FeaturesError, NotAStore, NotInStore
from longtake.features.joins import require_new
from longtake.features.remote import without_password
from longtake.features.remotes.fetch import Fetched, Wanted, fetch
from longtake.features.remotes.history import find_version
from longtake.features.remotes.library import held, read_record, record, require_free, store_path
from longtake.features.remotes.manifest import (
    Manifest,
    StreamRef,
    read_labels,
    read_manifest,
    read_prompt_sets,
    read_rows,
)
from longtake.features.remotes.pieces import hash_of, video_bytes, video_clips, video_num_bytes
from longtake.features.remotes.place import Place, open_place
from longtake.features.remotes.tables import VideoRow
from longtake.features.remotes.versions import Version
from longtake.features.store import check_store_name, open_store, write_store
from longtake.features.store_name import StoreName
from longtake.features.stream import Stream
from longtake.features.types import VideoFeatures


@dataclass(frozen=True)
class Pulled:
    version: Version
    path: Path
    is_new: bool
    """False if all that was asked for was here already."""
    num_videos: int
    """Over all streams of the store."""
    num_bytes: int
    """Of features and times that were fetched by this call."""


def pull(
    name: StoreName, remote: str, *, backbones: Sequence[str] = (), only: Sequence[str] = (), out: Path | None = None
) -> Pulled:
    """Pull into the library, or to `out`, which must not exist. With `backbones` (NAME or NAME@RECIPE), only these streams, next to those that were
    pulled of this version before; with `only`, only these videos and their labels, in a store that no name finds.

    Raises `NotInStore` for what the remote does not have, `NotAStore` for a remote that fails or is damaged. What was fetched before a
    failure or a kill is not fetched again.
    """
    place = open_place(remote)
    version = find_version(place, name)
    manifest = read_manifest(place, version.manifest)
    chosen = _chosen(manifest, backbones, version)
    target = out or (_part_path(version, backbones, only) if only else store_path(version))
    check_store_name(target)
    in_library = out is None and not only
    target.parent.mkdir(parents=True, exist_ok=True)

    from filelock import FileLock  # a lazy import keeps `--help` fast

    with FileLock(target.with_name(f".{target.name}.lock")):
        # Under the lock, because another pull may have written it meanwhile.
        if out is not None:
            require_new(out)
        if in_library:
            require_free(version, remote)
        before = _streams_at(target, version if in_library else None)
        if chosen.keys() <= before and (before or out is None and target.exists() and read_record(target) is not None):
            return Pulled(version, target, False, _num_videos(target), 0)
        # A store is replaced as a whole: what is in it already joins the new one.
        chosen |= {stream: ref for stream, ref in manifest.headers.items() if stream in before}
        job = _Job(place, version, manifest, chosen, frozenset(only))
        folder = target.with_name(f".{target.name}.pulling")
        if in_library:
            record(version, place.url)
        num_bytes = job.write(target, folder, [one.path for one in reversed(held(version.name))])
        shutil.rmtree(folder, ignore_errors=True)
    return Pulled(version, target, True, sum(map(len, job.rows.values())), num_bytes)


def _chosen(manifest: Manifest, backbones: Sequence[str], version: Version) -> dict[str, StreamRef]:
    headers = dict(manifest.headers)
    if not backbones:
        return headers
    found: dict[str, StreamRef] = {}
    for choice in backbones:
        backbone, _, recipe = choice.replace("/", ":").partition("@")
        own = {
            n: ref
            for n, ref in headers.items()
            if n.partition("@")[0] == backbone and n.partition("@")[2].startswith(recipe)
        }
        if not own:
            raise NotInStore(f"{version.full_name} holds no features of {choice!r}{there_are(choice, headers)}")
        found |= own
    return found


def _part_path(version: Version, backbones: Sequence[str], only: Sequence[str]) -> Path:
    """In the library, but not under a name that is found: training on a few videos must be asked for by the path."""
    words = hashlib.sha256(repr((sorted(set(backbones)), sorted(set(only)))).encode()).hexdigest()[:12]
    if len(only) == 1 and not backbones and re.fullmatch(r"\w{1,80}", only[0], re.ASCII):
        words = f"{only[0]}-{words}"
    whole = store_path(version)
    return whole.with_name(f"{version.label}-{version.content_id[:8]}-only-{words}.h5")


def _streams_at(path: Path, version: Version | None) -> set[str]:
    """Names of the streams in a store that was pulled before; none if it is damaged or, in the library, not recorded as this content, so that
    it is written again."""
    known = read_record(path) if version else None
    if not path.exists() or (version and (known is None or known.version.content_id != version.content_id)):
        return set()
    try:
        with open_store(path) as store:
            return {stream.name for stream in store.streams}
    except LongtakeError:
        return set()


def _num_videos(path: Path) -> int:
    with open_store(path) as store:
        return sum(len(stream.videos) for stream in store.streams)


class _Job:
    """One pull: the tables are read, the features are not."""

    def __init__(
        self, place: Place, version: Version, manifest: Manifest, chosen: Mapping[str, StreamRef], only: frozenset[str]
    ) -> None:
        self._place, self._manifest, self._chosen = place, manifest, chosen
        self.headers = {name: ref.read_header for name, ref in chosen.items()}
        self.rows = {name: read_rows(place, ref) for name, ref in chosen.items()}
        self.labels = read_labels(place, manifest)
        if chosen.keys() == manifest.headers.keys() and manifest.content_id(self.rows) != version.content_id:
            raise NotAStore(f"{place.url}: the tables of {version.full_name} are not those that were pushed")
        if only:
            known = {row.record.video_id for rows in self.rows.values() for row in rows}
            if unknown := sorted(only - known):
                raise NotInStore(
                    f"no video {unknown[0]!r} in {', '.join(chosen)}{there_are(unknown[0], sorted(known))}"
                )
            self.rows = {n: [row for row in rows if row.record.video_id in only] for n, rows in self.rows.items()}
            self.labels = self.labels.subset([i for i, v in enumerate(self.labels.video_ids) if v in only])

    def write(self, target: Path, folder: Path, local: Sequence[Path]) -> int:
        """Write the store; returns the number of bytes that were fetched."""
        with ExitStack() as opened:
            here = self._find_here(local, opened)
            wanted = [self._wanted(name, row) for name in self.rows for row in self.rows[name]
                      if row.piece and row.piece.sha256 not in here]  # fmt: skip
            self._require_space(target, sum(one.num_bytes for one in wanted))
            fetched, num_bytes = fetch(self._place, wanted, folder)
            plans = [
                StreamPlan(self.headers[name], self._chosen[name].numpy_dtype, [
                    StreamItem(row.record, row.num_clips, partial(self._read, name, row, here, fetched)) for row in rows
                ])
                for name, rows in self.rows.items()
            ]  # fmt: skip
            texts = read_prompt_sets(self._place, self._manifest.texts)
            write_store(
                target, dataset=self._manifest.dataset, card=self._manifest.card, labels=self.labels, streams=plans, texts=texts,
                storage=self._manifest.storage if self._manifest.storage.compression == "default" else None,
            )  # fmt: skip
        return num_bytes

    def _wanted(self, name: str, row: VideoRow) -> Wanted:
        assert row.piece is not None
        header, dtype = self.headers[name], self._chosen[name].numpy_dtype
        return Wanted(row.piece, video_num_bytes(row.num_clips, header.dim, dtype))

    def _require_space(self, target: Path, fetched: int) -> None:
        """Raise `NotAStore` for sizes that the disk cannot hold, before anything is fetched."""
        whole = sum(self._wanted(name, row).num_bytes for name in self.rows for row in self.rows[name] if row.piece)
        free = shutil.disk_usage(target.parent).free
        if whole + fetched > free:
            raise NotAStore(
                f"{without_password(self._place.url)} declares {whole / 1e9:.1f} GB of features, and {target.parent} has {free / 1e9:.1f} GB free, of "
                f"which a pull needs {(whole + fetched) / 1e9:.1f} GB: free some space, or pull one --backbone"
            )

    def _find_here(self, local: Sequence[Path], opened: ExitStack) -> dict[str, Callable[[], bytes]]:
        """SHA-256 of pieces that stores on this machine hold -> how to read them."""
        here: dict[str, Callable[[], bytes]] = {}
        for path in local:
            with suppress(LongtakeError):
                store = opened.enter_context(open_store(path))
                for stream in store.streams:
                    if stream.name in self.rows:
                        _add_equal(self.rows[stream.name], stream, here)
        return here

    def _read(
        self, name: str, row: VideoRow, here: Mapping[str, Callable[[], bytes]], fetched: Fetched
    ) -> VideoFeatures:
        header, dtype = self.headers[name], self._chosen[name].numpy_dtype
        if row.piece is None:
            return VideoFeatures(row.record, np.zeros((0, header.dim), dtype), np.zeros(0), np.zeros(0))
        sha256 = row.piece.sha256
        data = fetched.read(sha256) if sha256 in fetched else here[sha256]()
        if hash_of(data) != sha256:
            raise FeaturesError(f"{row.record.video_id} has changed on this disk while it was copied: pull again")
        found = VideoFeatures(row.record, *video_clips(data, row.num_clips, header.dim, dtype))
        if found.sha256 != row.features_sha256:
            raise NotAStore(
                f"{self._place.url}: {name} {row.record.video_id}: its features do not match their checksum"
            )
        return found


def _add_equal(rows: Sequence[VideoRow], stream: Stream, here: dict[str, Callable[[], bytes]]) -> None:
    ours, checksums = stream.rows(), stream.videos.checksums
    for row in rows:
        at = ours.get(row.record.video_id)
        if row.piece is None or row.piece.sha256 in here or at is None or checksums[at] != row.features_sha256:
            continue
        read = partial(_read_here, stream, at)
        with suppress(LongtakeError):
            if hash_of(read()) == row.piece.sha256:
                here[row.piece.sha256] = read


def _read_here(stream: Stream, row: int) -> bytes:
    begin, end = int(stream.offsets[row]), int(stream.offsets[row + 1])
    return video_bytes(stream.read_clips(begin, end))
