from __future__ import annotations

import pytest

from longtake.features.content import Storage
from longtake.features.errors import InvalidFeatures, NotAStore
from longtake.features.remotes.manifest import Manifest, StreamRef, TextRef, read_manifest, read_prompt_sets, read_text
from longtake.features.remotes.packs import PackWriter
from longtake.features.remotes.pieces import Ref
from longtake.features.remotes.place import open_place
from tests.features.fakes import header, text_features

A = "a" * 64


def test_the_content_is_that_of_all_parts(tmp_path):
    refs = StreamRef(header().to_json(), "float32", Ref(A, 1)), StreamRef(header("b").to_json(), "float16", Ref(A, 1))
    rows = {header().stream_name: [], header("b").stream_name: []}
    made = Manifest("d", "null", Storage(), Ref(A, 1), refs, ())
    same = Manifest("d", "null", Storage(9), Ref(A, 9), tuple(reversed(refs)), ())
    others = (
        Manifest("e", "null", Storage(), Ref(A, 1), refs, ()), Manifest("d", "{}", Storage(), Ref(A, 1), refs, ()),
        Manifest("d", "null", Storage(), Ref("b" * 64, 1), refs, ()), Manifest("d", "null", Storage(), Ref(A, 1), refs[:1], ()),
    )  # fmt: skip
    assert made.content_id(rows) == same.content_id(rows)
    assert made.content_id(rows) not in {other.content_id(rows) for other in others}
    place = open_place(tmp_path)
    assert read_manifest(place, PackWriter(place, {}).text(made.to_bytes())) == made and made.card is None


def test_prompt_sets_and_their_sizes(tmp_path):
    place, text = open_place(tmp_path), text_features()
    ref = PackWriter(place, {}).text(text.features.tobytes())
    made = TextRef(text.name, text.header.to_json(), text.texts, text.groups, ref)
    assert read_prompt_sets(place, [made])[0].equals(text)
    with pytest.raises(NotAStore, match="3 texts of 2 values, but 16 bytes"):
        read_prompt_sets(place, [TextRef(text.name, text.header.to_json(), (*text.texts, "c"), ("g",) * 3, ref)])
    with pytest.raises(NotAStore, match="twice"):
        read_prompt_sets(place, [made, made])
    for name, texts in (("a/b", ("x",)), ("", ("x",)), ("a", ("x\0",))):
        with pytest.raises(InvalidFeatures):
            TextRef(name, "{}", texts, texts, ref)
    with pytest.raises(NotAStore, match="is missing"):
        read_text(place, Ref(A, 1))


def test_types_of_features():
    with pytest.raises(InvalidFeatures, match="features of the type 'object'"):
        StreamRef("{}", "object", Ref(A, 1))
