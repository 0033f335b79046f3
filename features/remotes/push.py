"""Push a store to a remote, as its next version. Videos that the remote has already do not travel again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from longtake.errors import LongtakeError
from longtake.features.errors import FeaturesError, NotAStore, Superseded
from longtake.features.labels import Labels
from longtake.features.remotes.history import last_number, latest, publish, update_index
from longtake.features.remotes.manifest import Manifest, StreamRef, TextRef, read_manifest, read_rows
from longtake.features.remotes.packs import Nowhere, PackWriter
from longtake.features.remotes.pieces import Piece, pack_path, video_bytes, video_num_bytes
from longtake.features.remotes.place import Place, open_place
from longtake.features.remotes.tables import (
    VideoRow,
    columns_of,
    labels_bytes,
    labels_from,
    require_clips_if_ok,
    rows_bytes,
    rows_from,
)
from longtake.features.remotes.versions import MOST_BYTES, Changes, StreamFacts, Version, version_from
from longtake.features.store import Store
from longtake.features.store_name import MOST_NUMBER, parse_store_name
from longtake.features.stream import Stream
from longtake.features.types import VideoFeatures

Rows = Mapping[str, Sequence[VideoRow]]
"""`backbone@recipe_id` -> the rows of its table."""


@dataclass(frozen=True)
class Terms:
    """Under which terms a version is passed on."""

    licence: str = ""
    weights_licences: Mapping[str, str] | None = None
    clauses: tuple[str, ...] = ()
    permission: str = ""


@dataclass(frozen=True)
class Pushed:
    version: Version
    is_new: bool
    """False if the newest version has the same content already."""
    num_files: int
    num_bytes: int
    """Sent: packs of features, texts, and the file of the version."""


def name_for(store: Store, name: str | None) -> str:
    """The name under which a store is pushed: by default its dataset."""
    found = parse_store_name(name or store.dataset)
    if found is None or found.version is not None:
        raise FeaturesError(
            f"{name or store.dataset!r} is not a name for a store: give one of small letters, digits, - and _ with --name"
        )
    return found.name


def push(store: Store, remote: str, *, name: str, terms: Terms, note: str = "", after: int | None = None) -> Pushed:
    """With `after`, only if the newest version has that number, 0 for none: raises `Superseded` otherwise.

    Raises `FeaturesError` for a remote that cannot be written, `NotAStore` for a store that is damaged or a remote that fails. What was
    sent before a failure or a kill is not sent again."""
    place = open_place(remote)
    place.require_writable()
    before = latest(place, name)
    base = _Base.of(place, before)
    writer = PackWriter(place, base.pieces)
    manifest, rows = _send(store, writer)
    content_id, manifest_ref = manifest.content_id(rows), writer.text(manifest.to_bytes())
    facts = tuple(_facts(stream) for stream in store.streams)

    def make(newest: Version | None) -> Version | None:
        if after is not None and after != (newest.number if newest else 0):
            raise Superseded(f"others pushed {name} while this push was added to version {after}; push it again")
        if newest is not None and newest.content_id == content_id and newest.permission == terms.permission:
            return None
        now, last = datetime.now(UTC), max(last_number(place, name), newest.number if newest else 0)
        _require_number(name, last + 1)
        old = base if newest == before else _Base.of(place, newest)
        made = Version(
            name=name, number=last + 1, label=_label(now, newest, last), created_utc=now.isoformat(timespec="seconds"),
            dataset=store.dataset, manifest=manifest_ref, content_id=content_id, num_bytes=sum(fact.num_bytes for fact in facts),
            num_labels=len(store.labels), streams=facts, texts=tuple(text.full_name for text in store.texts),
            licence=terms.licence, weights_licences=dict(terms.weights_licences or {}), clauses=terms.clauses,
            permission=terms.permission, note=note, changes=old.changes(rows, manifest),
        )  # fmt: skip
        if len(made.to_bytes()) > MOST_BYTES:
            raise FeaturesError(
                f"the facts of this version take more than {MOST_BYTES >> 20} MiB, which no reader takes: shorten --note and --permission"
            )
        version_from(made.to_bytes(), name, made.number, "this version")
        return made

    made = publish(place, name, make)
    if made is None:
        same = latest(place, name)
        assert same is not None, "make returned None for it"
        return Pushed(same, False, writer.num_files, writer.num_bytes)
    return Pushed(made, True, writer.num_files + 1, writer.num_bytes + len(made.to_bytes()))


def finish(remote: str, documents: Mapping[str, bytes], version: Version) -> None:
    """Write the pages for people and the index, both made from the version. A push that is killed before leaves an old index, which the next
    one repairs and which readers look beyond."""
    place = open_place(remote)
    place.replace_all({f"stores/{version.name}/{version.number:06d}/{path}": data for path, data in documents.items()})
    update_index(place)


def _require_number(name: str, number: int) -> None:
    if number > MOST_NUMBER:
        raise FeaturesError(f"{name} has {MOST_NUMBER} versions, which is the limit: push under another --name")


def _label(now: datetime, newest: Version | None, last: int) -> str:
    """The day, and the count of versions of that day. A clock that is behind does not go back before the newest version. Versions up to the
    number `last` that were taken back count as if they were of that day, so no label is given twice."""
    day, gone = now.date().isoformat(), last - (newest.number if newest else 0)
    if newest is not None and newest.label[:10] >= day:
        day, _, count = newest.label.partition(".")
        gone += int(count or 1)
    return f"{day}.{gone + 1}" if gone else day


def _send(store: Store, writer: PackWriter) -> tuple[Manifest, Rows]:
    rows = {stream.name: _in_order(_send_stream(stream, writer), store.labels) for stream in store.streams}
    labels = writer.text(_readable(labels_bytes(store.labels), labels_from, "the table of labels"))
    tables = {
        name: writer.text(_readable(rows_bytes(own), rows_from, f"the table of {name}")) for name, own in rows.items()
    }
    manifest = Manifest(
        store.dataset, store.card.to_json() if store.card else "null", store.storage, labels,
        tuple(StreamRef(s.header.to_json(), s.features.dtype.name, tables[s.name]) for s in store.streams),
        tuple(TextRef(t.name, t.header.to_json(), t.texts, t.groups, writer.text(t.features.astype("<f4").tobytes()))
              for t in sorted(store.texts, key=lambda text: text.full_name)),
    )  # fmt: skip
    return manifest, rows


def _readable(data: bytes, read: Callable[[bytes, str], object], what: str) -> bytes:
    """Raise `NotAStore` for what no reader would take, before it is published."""
    read(data, what)
    return data


def content_of(store: Store) -> str:
    """The `content_id` of the version that a push of this store would make."""
    manifest, rows = _send(store, PackWriter(Nowhere(), {}))
    return manifest.content_id(rows)


def _send_stream(stream: Stream, writer: PackWriter) -> list[VideoRow]:
    shas = []
    for (record, clips), checksum in zip(stream.each(), stream.videos.checksums):
        require_clips_if_ok(record, len(clips[0]))
        # What readers of the remote will require is required here.
        if VideoFeatures(record, *clips).sha256 != checksum and len(clips[0]):
            raise NotAStore(f"{stream.name} {record.video_id}: its features do not match their checksum")
        shas.append(writer.add(video_bytes(clips)) if len(clips[0]) else "")
    writer.close()
    return [
        VideoRow(record, features_sha256, count, writer.pieces[sha256] if sha256 else None)
        for record, features_sha256, count, sha256 in zip(stream.records, stream.videos.checksums, stream.counts, shas)
    ]


def _in_order(rows: Sequence[VideoRow], labels: Labels) -> list[VideoRow]:
    """Of the labels: the order in which a store has grown is not part of its content."""
    return [rows[index] for index in labels.order_of([row.record.video_id for row in rows])]


def _facts(stream: Stream) -> StreamFacts:
    header = stream.header
    num_bytes = video_num_bytes(stream.num_clips, header.dim, stream.features.dtype)
    return StreamFacts(
        stream.name, len(stream.videos), stream.num_clips, header.dim, header.weights, header.weights_random, num_bytes
    )


@dataclass(frozen=True)
class _Base:
    """What the remote holds of the version before."""

    manifest: Manifest | None
    rows: Rows
    pieces: dict[str, Piece]
    """Of packs that are there."""

    @classmethod
    def of(cls, place: Place, version: Version | None) -> _Base:
        if version is None:
            return cls(None, {}, {})
        try:
            manifest = read_manifest(place, version.manifest)
            rows = {name: read_rows(place, ref) for name, ref in manifest.headers.items()}
        except LongtakeError:
            # A version that is damaged must not keep the next one from being whole: all of it is sent.
            return cls(None, {}, {})
        sizes: dict[str, int] = {}
        pieces = {}
        for name, ref in manifest.headers.items():
            dim = ref.read_header.dim
            for row in rows[name]:
                if row.piece is None:
                    continue
                pack = row.piece.pack
                if pack not in sizes:
                    sizes[pack] = place.size(pack_path(pack)) or 0
                if row.piece.offset + video_num_bytes(row.num_clips, dim, ref.numpy_dtype) <= sizes[pack]:
                    pieces[row.piece.sha256] = row.piece
        return cls(manifest, rows, pieces)

    def changes(self, rows: Rows, manifest: Manifest) -> Changes:
        added = removed = changed = 0
        for name in rows.keys() & self.rows.keys():
            ours, theirs = columns_of(rows[name]), columns_of(self.rows[name])
            added += len(ours.keys() - theirs.keys())
            removed += len(theirs.keys() - ours.keys())
            changed += sum(ours[v].identity != theirs[v].identity for v in ours.keys() & theirs.keys())
        labels = self.manifest is not None and self.manifest.labels.sha256 != manifest.labels.sha256
        return Changes(added, removed, changed, labels, tuple(sorted(rows.keys() - self.rows.keys())),
                       tuple(sorted(self.rows.keys() - rows.keys())))  # fmt: skip
