"""The card of a store."""

from click.testing import CliRunner

from longtake.features.cli import main
from longtake.features.store import write_store
from longtake.manifests.card import find_card
from tests.features.fakes import header, labels, plan, video


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
