from __future__ import annotations

from longtake.features.remotes import packs
from longtake.features.remotes.packs import Nowhere, PackWriter
from longtake.features.remotes.pieces import Piece, pack_path
from longtake.features.remotes.place import open_place


def test_pieces_are_put_together_and_none_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(packs, "PACK_BYTES", 10)
    place = open_place(tmp_path)
    known = Piece("c" * 64, 3, "d" * 64)
    writer = PackWriter(place, {known.sha256: known})
    data = [b"aaaa", b"bbbb", b"aaaa", b"c" * 25, b"dd"]
    shas = [writer.add(one) for one in data]
    writer.close()
    writer.close()
    for sha256, one in zip(shas, data):
        piece = writer.pieces[sha256]
        assert place.read_range(pack_path(piece.pack), piece.offset, piece.offset + len(one)) == one
    assert len(place.walk("packs")) == writer.num_files == 3 and writer.num_bytes == 4 + 4 + 25 + 2
    assert writer.pieces[known.sha256] == known


def test_what_an_interrupted_push_sent_is_not_sent_again(tmp_path):
    for sent in (2, 0):
        writer = PackWriter(open_place(tmp_path), {})
        writer.add(b"abc")
        writer.close()
        writer.text(b"text")
        assert writer.num_files == sent


def test_a_pack_that_is_not_whole_is_sent_again(tmp_path):
    writer = PackWriter(open_place(tmp_path), {})
    piece = writer.pieces[(writer.add(b"abc"), writer.close())[0]]
    (tmp_path / pack_path(piece.pack)).write_bytes(b"ab")
    writer = PackWriter(open_place(tmp_path), {})
    writer.add(b"abc")
    writer.close()
    assert writer.num_files == 1 and (tmp_path / pack_path(piece.pack)).read_bytes() == b"abc"


def test_nowhere_keeps_nothing():
    writer = PackWriter(Nowhere(), {})
    writer.add(b"abc")
    writer.close()
    assert Nowhere().walk("packs") == [] and Nowhere().read("packs", 1) is None
