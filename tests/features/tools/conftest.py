"""What several tests of tools need."""

import numpy as np
import pytest

from longtake.features.store import write_store
from longtake.manifests.card import find_card
from tests.features.fakes import header, labels, make_store, plan, text_features, video


@pytest.fixture
def folder(tmp_path):
    """A folder of whole stores, a broken one, parts and a loose array."""
    folder = tmp_path / "stores"
    make_store(folder / "one.h5", {"a": 5, "b": 0, "c": 7})
    make_store(folder / "deep" / "two words & <b>.zarr", {"x": 5}, head=header("net", weights_random=True))
    card = find_card("fisv")
    table = labels(["1", "2", "3"])
    streams = [plan(header("vst", 8), [video("1", 3, 8)]), plan(header("vst", 8, tail="drop"), [video("2", 4, 8)])]
    write_store(folder / "fisv.h5", dataset="fisv", card=card, labels=table, streams=streams, texts=[text_features()])
    (folder / "broken.h5").write_text("no store")
    (folder / "one.h5.parts").mkdir()
    make_store(folder / "one.h5.parts" / "p.h5", {"p": 1})
    np.save(folder / "loose.npy", np.zeros(3))
    return folder
