"""Licences that forbid passing on, and those that do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from longtake.features.errors import FeaturesError
from longtake.features.store import open_store
from longtake.features.tools import terms
from longtake.features.tools.terms import clause_in, terms_of, unknown_licences
from longtake.manifests.card import dataset_names, find_card
from longtake.manifests.pretrained import TABLE
from tests.features.fakes import header, labels, plan, video, write_store


def store_with(path, card=None, weights="w"):
    write_store(
        path, dataset="d", card=card, labels=labels(["a"]), streams=[plan(header(weights=weights), [video("a", 3)])]
    )
    return open_store(path)


@pytest.mark.parametrize("licence, clause", [
    ("For research. The data may not be redistributed. Cite us.", "The data may not be redistributed."),
    ("Do not share the features with third parties", "Do not share the features with third parties"),
    ("CC BY-NC-ND 4.0", "CC BY-NC-ND 4.0"), ("CC-BY-ND-4.0", "CC-BY-ND-4.0"), ("All rights reserved.", "All rights reserved."),
    ("You must not pass it on; ask us.", "You must not pass it on;"), ("No derivatives.", "No derivatives."),
    ("CC BY 4.0", ""), ("CC BY-NC-SA 4.0", ""), ("Apache-2.0", ""), ("MIT", ""), ("Redistribution is permitted.", ""), ("", ""),
    ("No warranty. You may share it.", ""),
])  # fmt: skip
def test_clauses(licence, clause):
    assert clause_in(licence) == clause


def test_of_the_datasets_that_come_with_longtake_only_finediving_forbids_it():
    cards = [find_card(name) for name in dataset_names()]
    assert [card.name for card in cards if card.forbids_sharing or clause_in(card.licence)] == ["finediving"]
    assert not [entry.name for entry in TABLE.values() if clause_in(entry.licence)]


def test_a_clause_refuses_unless_a_permission_is_stated(tmp_path):
    card = replace(find_card("rg"), forbids_sharing="Section 3: keep it in your lab")
    with store_with(tmp_path / "a.h5", card) as store:
        for said in ("", "  "):
            with pytest.raises(FeaturesError, match="the dataset rg: Section 3: keep it in your lab\n.*--permission"):
                terms_of(store, said)
        found = terms_of(store, "J. Doe by mail, 2026-11-01, for features")
        assert found.permission.startswith("J. Doe") and found.clauses == (
            "the dataset rg: Section 3: keep it in your lab",
        )


def test_weights_forbid_it_as_well(tmp_path, monkeypatch):
    entry = replace(TABLE["vst_b_kinetics600_22k"], licence="No redistribution")
    monkeypatch.setattr(terms, "TABLE", {**TABLE, entry.name: entry})
    with store_with(tmp_path / "a.h5", find_card("rg"), entry.name) as store:
        with pytest.raises(FeaturesError, match="the weights vst_b_kinetics600_22k: No redistribution"):
            terms_of(store)


def test_a_permission_that_is_not_needed_is_left_out(tmp_path):
    with store_with(tmp_path / "a.h5", find_card("rg"), "random:0") as store:
        found = terms_of(store, "J. Doe")
        assert found.permission == "" and found.weights_licences == {"random:0": "none: random numbers"}
        assert list(unknown_licences(store)) == []
    with store_with(tmp_path / "b.h5") as store:
        assert list(unknown_licences(store)) == ["the dataset d", "the weights w"]
