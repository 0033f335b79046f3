"""A store that an earlier release was filling is finished: its parts, an HDF5 file per video, are read, packed and removed."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from longtake.features.finished import read_finished
from longtake.features.parts import pack, parts_folder
from longtake.features.store import open_store
from longtake.features.tools.inspect import verify
from longtake.features.types import sha256_of
from tests.compat.make_parts import FOLDER, IMPORTED, LABELS, SOUND, VIDEO, made
from tests.features.fakes import write_part

EXPECTED = json.loads((FOLDER / "expected.json").read_text())


@pytest.fixture
def store(tmp_path) -> Path:
    with tarfile.open(FOLDER / "store.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "s.h5"


def sums(store):
    with open_store(store) as opened:
        return {
            stream.name: {
                r.video_id: sha256_of(stream.read(r.video_id).features) for r in stream.records if r.status == "ok"
            }
            for stream in opened.streams
        }


def test_a_store_that_was_being_filled_is_finished(store):
    finished = read_finished(store, "d", None)
    assert {recipe: sorted(records) for recipe, records in finished.records.items()} == {
        VIDEO.recipe_id: ["a", "b", "c"], SOUND.recipe_id: ["a", "b", "c"], IMPORTED.recipe_id: ["a", "d", "e"],
    }  # fmt: skip
    assert finished.records[VIDEO.recipe_id]["c"].error_message == "SIMULATED failure"
    for name in "cd":
        write_part(
            store, "d", LABELS.subset([LABELS.video_ids.index(name)]), {h: made(name, h) for h in (VIDEO, SOUND)}
        )
    packed = pack(store, dataset="d", card=None, labels=LABELS.subset([0, 1, 2]))
    assert (packed.published, packed.num_videos, packed.num_waiting) == (True, 5, 0)
    assert not parts_folder(store).exists()
    added = {h.stream_name: {name: made(name, h).sha256 for name in "cd"} for h in (VIDEO, SOUND)}
    assert sums(store) == {name: known | added.get(name, {}) for name, known in EXPECTED.items()}
    with open_store(store) as opened:
        assert not verify(opened)
        rows = opened.labels.rows()
        whole = LABELS.rows()
        # Of an import, the part keeps the labels of all videos.
        assert rows == whole
        np.testing.assert_array_equal(opened.stream("planted").read("b").start_seconds, np.arange(5.0))
