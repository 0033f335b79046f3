from __future__ import annotations

from dataclasses import replace

from longtake.features.tools.cite import bibtex
from longtake.manifests.card import find_card
from tests.features.remotes.test_versions import VERSION
from tests.features.tools.test_terms import store_with


def test_dataset_weights_and_version(tmp_path):
    card = replace(find_card("rg"), doi="10.1145/1_2")
    with store_with(tmp_path / "a.h5", card, "vst_b_kinetics600_22k") as store:
        text = bibtex(store, VERSION)
    entries = text.split("\n\n")
    assert [entry.partition("{")[2].partition(",")[0] for entry in entries] == [
        "rg",
        "vst-b-kinetics600-22k",
        "rg-2026-11-29.2",
    ]
    assert "author = {Ling-An Zeng and Fa-Ting Hong and " in entries[0] and "year = {2020}" in entries[0]
    assert "doi = {10.1145/1_2}" in entries[0] and r"title = {Weights vst\_b\_kinetics600\_22k}" in entries[1]
    assert VERSION.content_id in entries[2]
    assert text.count("{") == text.count("}")


def test_untrusted_cards_stay_inside_their_fields(tmp_path):
    card = replace(
        find_card("rg"), title="}, x = {\\input{/etc/passwd}\n```\x1b[2J", authors="A & B, C", doi="10.1/}{x\\y"
    )
    with store_with(tmp_path / "a.h5", card) as store:
        text = bibtex(store)
    assert "\\input" not in text and "`" not in text and "\x1b" not in text and r"A \& B and C" in text
    assert len(text.splitlines()) == 7 and "doi = {10.1/xy}" in text


def test_a_store_of_unknown_origin_has_nothing_to_cite(tmp_path):
    with store_with(tmp_path / "a.h5") as store:
        assert bibtex(store) == ""
