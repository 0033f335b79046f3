"""Which text features the heads of an experiment read."""

import pytest

from longtake.features.errors import NotInStore
from longtake.features.store import open_store
from longtake.train.data.dataset import FeatureSet
from longtake.train.errors import DataError
from longtake.train.heads import get_head
from longtake.train.heads.base import Needs
from longtake.train.protocol.settings import build_settings, settings_kinds
from longtake.train.protocol.texts import Texts, attach_texts
from tests.train.planted import planted_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = planted_store(tmp_path_factory.mktemp("texts") / "s.h5", num_train=6, num_test=4)
    with open_store(path) as opened:
        yield opened


def attached(store, head, needs=None, **overrides):
    settings = build_settings(head, store.dataset, "", overrides, settings_kinds(head))
    needs = needs or get_head(head).needs(settings.head)
    return attach_texts(store, FeatureSet.load(store), settings, (head, needs), None)


def test_a_head_without_texts_reads_none(store):
    found = attached(store, "gdlt")
    assert found == Texts() and found.sets == []


def test_a_head_gets_the_groups_that_it_needs(store):
    found = attached(store, "gslm", scores=11)
    assert found.prototypes.texts.keys() == {"grades", "scores"} and found.prototypes.random
    assert found.prototypes.texts["scores"].shape == (11, 32) and found.terms == {}
    assert [one.name for one in found.sets] == ["qgvl"]


def test_a_prompt_set_that_the_store_lacks(store):
    with pytest.raises(NotInStore, match="mlavl"):
        attached(store, "gslm", text="mlavl")


def test_texts_of_stages_are_required(store):
    needs = Needs(texts=("grades",), terms=("stages",))
    with pytest.raises(
        DataError, match="head gslm reads texts of the stages of each category, and the card in .* none"
    ):
        attached(store, "gslm", needs)
    assert attached(store, "gslm", Needs(texts=("grades",), terms=("actions",))).terms == {}
