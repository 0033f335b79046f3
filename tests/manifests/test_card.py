"""Cards: built-in, a user's own, and from untrusted stores."""

import json
from dataclasses import replace

import pytest

from longtake.errors import ManifestError, UnknownDataset
from longtake.manifests.card import Card, find_card, list_cards, load_card


def write(tmp_path, text, name="m.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_broken_card_does_not_hide_the_others(tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text("name = ")
    monkeypatch.setenv("LONGTAKE_MANIFESTS", str(tmp_path))
    cards = list_cards()
    assert isinstance(cards["rg"], Card) and str(cards["mine"]).startswith(
        f"cannot read the card {tmp_path / 'mine.toml'}"
    )


def test_all_faults_of_a_card_are_reported_together(tmp_path):
    text = 'name = "x"\ntitle = 3\nsurprise = 1\nsplits = ["train"]\ndefault_scores = ["pcs"]\n'
    text += '[scores.tes]\ntitle = 3\nminimum = 4\n[scores.tes2]\ntitle="t"\nminimum = 5\nmaximum = 5\n[prompts.p.groups]\ng = { template = "a" }\n'
    with pytest.raises(ManifestError) as caught:
        load_card(write(tmp_path, text, "x.toml"))
    for fault in (
        "unknown entry 'surprise'",
        "title must be text, got 3",
        "authors is missing",
        "scores.tes.title must be text, got 3",
        "scores.tes.maximum is missing",
        "scores.tes2: minimum 5 is not below maximum 5",
        "prompts.p.groups.g.first is missing",
    ):
        assert fault in str(caught.value)
    with pytest.raises(ManifestError, match="cannot read the card"):
        load_card(write(tmp_path, "name = [", "y.toml"))
    values = json.loads(find_card("demo").to_json()) | {"default_scores": ["pcs"], "prompts": {"p": {}}}
    with pytest.raises(ManifestError, match="default_scores names 'pcs', which is not a score") as caught:
        Card.from_json(json.dumps(values))
    assert "prompts.p: has no groups" in str(caught.value)


def test_unknown_dataset():
    with pytest.raises(UnknownDataset, match="did you mean fisv.*--manifest FILE"):
        find_card("fis-v")


@pytest.mark.parametrize(
    "change",
    [
        {"scores": 3},
        {"scores": {"total": 3}},
        {"scores": {"total": {"title": "t", "minimum": "low", "maximum": 3}}},
        {"scores": {"total": {"title": "t", "minimum": 0, "maximum": 3, "unit": 7}}},
        {"scores": {"total": {"title": "t", "minimum": 0, "maximum": 3, "judges": [["total"]]}}},
        {"default_scores": [["total"]]},
        {"splits": 1},
        {"splits": [1, 2]},
        {"clips": {"length": "16"}},
        {"clips": {"fps": True}},
        {"clips": {"fps": float("inf")}},
        {"window_clips": -1},
        {"scores": {"total": {"title": "t", "minimum": 0, "maximum": 10**400}}},
        {"scores": {"total": {"title": "t", "minimum": float("nan"), "maximum": 3}}},
        {"prompts": {"p": {"groups": {"g": ["a"]}, "template": 3}}},
        {"labels": {"divided_by": {"total": 3}}},
        {"clips": []},
        {"protocol": {"one_model_per": ["video"]}},
        {"prompts": {"p": 1}},
        {"prompts": {"p": {"groups": {"g": 7}}}},
        {"prompts": {"p": {"groups": {"g": {"template": "{value}", "first": 0, "last": 10**12}}}}},
        {"prompts": {"p": {"groups": {"g": {"template": 1, "first": 0, "last": 3}}}}},
    ],
)
def test_invalid_cards_are_refused(change):
    """Stores from untrusted sources hold cards."""
    values = {**json.loads(find_card("demo").to_json()), **change}
    with pytest.raises(ManifestError, match="the card in the store is not valid"):
        Card.from_json(json.dumps(values))


def test_a_card_that_is_nested_too_deeply():
    with pytest.raises(ManifestError, match="nested too deeply"):
        Card.from_json("[" * 100_000)


def test_fields_that_0_1_did_not_have_are_in_the_json_where_they_are_not_empty():
    card = replace(find_card("rg"), doi="10.1145/1", forbids_sharing="Keep it.")
    assert Card.from_json(card.to_json()) == card and "forbids_sharing" not in find_card("rg").to_json()
