"""`extract text`: the prompts of a dataset in its store, with an encoder that has no network."""

from pathlib import Path

import numpy as np
import pytest

from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.features.types import TextHeader
from longtake.manifests.card import find_card
from longtake.train.data.prompts import terms_of
from longtake.train.errors import DataError
from tests.extract.runs import refused, run
from tests.features.fakes import list_parts, locked_by_another


def test_text_of_a_card_without_prompts(tmp_path, monkeypatch):
    card = Path(find_card.__code__.co_filename).with_name("demo.toml").read_text().partition("[prompts")[0]
    (tmp_path / "mine.toml").write_text(card.replace('name = "demo"', 'name = "mine"'))
    monkeypatch.setenv("LONGTAKE_MANIFESTS", str(tmp_path))
    assert "the card of mine has no prompts" in refused("text", "--dataset", "mine", "--out", tmp_path / "s.h5")


def test_text_of_an_unknown_prompt_set():
    assert "qgvl" in refused("text", "--dataset", "rg", "--prompts", "poems")
    assert "did you mean clip?" in refused("text", "--dataset", "rg", "--encoder", "clipp", "--weights", "random")


@pytest.fixture
def encoded(monkeypatch):
    """The texts that were given to an encoder without a network."""
    found = []

    def encode(texts, **_):
        found.extend(texts)
        return np.ones((len(texts), 4), np.float32), TextHeader("clip", 4, "random:0", "ab", True, library="l, m")

    monkeypatch.setattr("longtake.extract.backbones.text_encoders.encode_texts", encode)
    return found


def test_only_the_prompt_set_that_is_asked_for(tmp_path, encoded):
    prompts = find_card("rg").prompts
    assert len(prompts) > 1
    call = ("text", "--dataset", "rg", "--out", tmp_path / "s.h5")
    assert "prompt set mlavl@" in run(*call, "--prompts", "mlavl")
    assert encoded == list(prompts["mlavl"].texts)
    with open_store(tmp_path / "s.h5") as store:
        assert [text.name for text in store.texts] == ["mlavl"]
    run(*call)
    with open_store(tmp_path / "s.h5") as store:
        assert {text.name for text in store.texts} == set(prompts)


def test_texts_for_a_store_that_another_process_publishes(tmp_path, monkeypatch, encoded):
    out = tmp_path / "s.h5"
    call = ("text", "--dataset", "rg", "--prompts", "mlavl", "--out", out)
    run(*call)
    kept = out.read_bytes()
    holder = locked_by_another(out, monkeypatch)
    assert f"{out} is locked by {holder}" in refused(*call)
    assert out.read_bytes() == kept and not list_parts(out)


def test_texts_are_composed_for_the_categories_of_the_store(tmp_path, encoded):
    """Of a card that names a terminology and no categories: those of the videos that are there."""
    out = tmp_path / "f.h5"
    call = ("text", "--dataset", "finediving", "--out", out)
    assert "extract or import features with their labels first" in refused(*call) and not out.exists()
    labels = Labels(("a", "b"), ("train", "test"), ("107B", "407C"), ("total",), np.array([[80.0], [70.0]]))
    write_store(out, dataset="finediving", card=find_card("finediving"), labels=labels, streams=[])
    run(*call)
    assert len(encoded) == 7 and "a diving video of inward take-off" in encoded
    with open_store(out) as store:
        terms = terms_of(store.card, store.text("mvla"), ("stages", "videos"), ["107B", "407C", ""])
        assert terms == {"107B": (0, 1, 2, 0), "407C": (3, 4, 2, 1)}
        with pytest.raises(DataError, match="no texts for the categories 5253B"):
            terms_of(store.card, store.text("mvla"), ("stages", "videos"), ["5253B"])
