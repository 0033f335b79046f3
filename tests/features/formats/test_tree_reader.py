"""Attributes and headers of the wrong type are refused with one message that names all of them."""

import json

import h5py
import pytest

from longtake.features.errors import NotAStore
from longtake.features.store import open_store
from tests.features import raw
from tests.features.fakes import header, make_store


def with_header(**changes):
    values = {**header().to_dict(), **changes}
    return json.dumps({name: value for name, value in values.items() if value != "missing"})


WRONG = {
    "root": ("", {"dataset": 3, "chunk_rows": "many"},
             "dataset must be text, got 3; chunk_rows must be a whole number, got 'many'"),
    "chunks": ("", {"chunk_rows": 0}, "chunk_rows must be 1 or more, got 0"),
    "scores": ("labels", {"score_names": '["a", 1]'}, r"score_names\[1\] must be text, got 1"),
    "scores that are one text": ("labels", {"score_names": '"total"'}, "score_names must be a list, got 'total'"),
    "scores without JSON": ("labels", {"score_names": "total"}, "score_names is damaged"),
    "a header that is a number": ("stream", {"header": 3}, "header must be text, got 3"),
    "a header that is a list": ("stream", {"header": "[1]"}, "must be a table"),
    "another version": ("stream", {"header": with_header(format_version=2)}, "features of format version 2"),
    "fields of a header": (
        "stream",
        {"header": with_header(dim="3", weights="missing", weights_random=1, fps="25", more=1)},
        "the header of /streams/.* is not valid: unknown entry 'more'; dim must be a whole number, got '3'; weights is missing; "
        "weights_random must be true or false, got 1; fps must be a finite number, got '25'",
    ),
    "a text header": ("text", {"header": '{"encoder": 3}'}, "encoder must be text, got 3; dim is missing; weights is missing"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_wrong_types_are_named_together(tmp_path, what):
    place, attributes, message = WRONG[what]
    path = raw.as_version_1(make_store(tmp_path / "s.h5", {"a": 2}))
    with h5py.File(path, "r+") as file:
        groups = {"": file, "labels": file["labels"]}
        groups |= {"stream": next(iter(file["streams"].values())), "text": next(iter(file["text"].values()))}
        groups[place].attrs.update(attributes)
    with pytest.raises(NotAStore, match=message) as caught, open_store(path) as store:
        assert store.labels
    assert "\n" not in str(caught.value)
