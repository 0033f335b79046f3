"""The card of a store."""

import numpy as np
import pytest
from click.testing import CliRunner

from longtake.features.cli import main
from longtake.features.store import write_store
from longtake.manifests.card import find_card
from tests.features.fakes import header, labels, make_store, plan, text_features, video


@pytest.fixture
def folder(tmp_path):
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


def test_a_store_card_names_dataset_weights_and_licences(folder, tmp_path):
    done = CliRunner().invoke(main, ["card", str(folder / "fisv.h5"), "--out", str(tmp_path / "README.md")])
    assert done.exit_code == 0
    text = (tmp_path / "README.md").read_text()
    card = find_card("fisv")
    for expected in (
        "# Features of Figure Skating Videos",
        card.citation,
        card.licence.split(".")[0],
        "features info fisv.h5",
        '"tail": "drop"',
    ):
        assert expected in text, expected
    bare = CliRunner().invoke(main, ["card", str(folder / "deep" / "two words & <b>.zarr")]).output
    assert "RANDOM weights" in bare and "has no card" in bare and "<b>.zarr" not in bare


def test_untrusted_text_stays_in_its_cell(tmp_path):
    import dataclasses

    card = dataclasses.replace(find_card("fisv"), licence="free | <script>\n# Mine")
    streams = [plan(header("vst", 8, weights="vst_b_kinetics600_22k"), [video("1", 3, 8)])]
    write_store(tmp_path / "s.h5", dataset="fisv", card=card, labels=labels(["1"]), streams=streams)
    text = CliRunner().invoke(main, ["card", str(tmp_path / "s.h5")]).output
    assert "| free \\| &lt;script> # Mine |" in text and "\n# Mine" not in text
    assert "Video Swin" in text and "https://" in text
