"""What may join a store."""

from dataclasses import replace

import pytest

from longtake.features.errors import FeaturesError, StoreConflict
from longtake.features.joins import (
    card_differences,
    combine_texts,
    require_may_join,
    require_new,
    require_no_conflicts,
    require_one_recipe,
)
from longtake.manifests.card import find_card
from tests.features.fakes import header, make_store, text_features


def test_one_store_holds_one_dataset(tmp_path):
    path = make_store(tmp_path / "s.h5", {"a": 1})
    require_may_join(path, "another name of a file", None)
    require_may_join(tmp_path / "none.h5", "rg", find_card("rg"))
    with pytest.raises(StoreConflict, match="is a store of d, and this is of rg"):
        require_may_join(path, "rg", find_card("rg"))
    with pytest.raises(FeaturesError, match="exists; choose another name"):
        require_new(path)


def test_recipes_of_one_backbone_do_not_mix():
    require_one_recipe([header()], [header(), header("other", fps=25.0)], "s.h5")
    with pytest.raises(StoreConflict, match="tail: 'pad' before, 'drop' now"):
        require_one_recipe([header()], [header(tail="drop")], "s.h5")


def test_many_conflicts_are_cut():
    require_no_conflicts([], "labels")
    with pytest.raises(StoreConflict, match="labels differ for 30 videos:\n  0\n(.|\n)*  and 10 more"):
        require_no_conflicts([str(number) for number in range(30)], "labels")


def test_a_new_prompt_set_replaces_one_of_the_same_recipe():
    old, other = text_features("qgvl"), text_features("mlavl")
    new = replace(old, texts=("x", "y"))
    assert [text.texts for text in combine_texts([new], [old, other])] == [("x", "y"), other.texts]


def test_cards_differ_in_named_entries():
    card = find_card("rg")
    assert card_differences(card, replace(card, title="Another")) == ["title"]
    assert card_differences(card, card) == [] and "title" in card_differences(card, None)
