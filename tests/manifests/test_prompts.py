"""Prompt sets of cards."""

import csv
import json

import pytest

from longtake.errors import ManifestError
from longtake.manifests.card import Card, find_card


@pytest.mark.parametrize(
    "name, file", [("rg", "RG"), ("fisv", "FS"), ("fs1000", "FS"), ("finefs", "FS"), ("logo", "LOGO")]
)
def test_prompts_match_those_of_the_published_text_features(shared, name, file):
    with (shared / "data" / "prompts" / f"action-label_{file}.csv").open(encoding="utf-8-sig") as lines:
        published = tuple(row["name"] for row in csv.DictReader(lines))
    assert find_card(name).prompts["mlavl"].texts == published


def test_texts_of_categories():
    dives = find_card("mtl-aqa").prompts["mvla"]
    assert dives.categories["407C"].video == (
        "a diving video of inward take-off, 3.5 somersaults tuck flight, and entry into the water"
    )
    assert set(dives.groups) == {"stages", "videos"} and len(dives.groups["videos"]) == 58
    assert {t for one in dives.categories.values() for t in one.stages} == set(dives.groups["stages"])
    tasks = find_card("jigsaws").prompts["mvla"]
    assert tasks.categories["Knot Tying"].grades == tuple(
        f"a video of a {grade} knot tying" for grade in ("poor", "fair", "good", "excellent")
    )
    assert len(tasks.groups["grades"]) == 12
    open_ended = find_card("finediving").prompts["mvla"]
    assert not open_ended.texts
    made = open_ended.composed_for(["107B", "407C"])
    assert made.categories["407C"] == dives.categories["407C"] and len(made.groups["stages"]) == 5
    for card in map(find_card, ("mtl-aqa", "jigsaws", "finediving")):
        assert Card.from_json(card.to_json()) == card


@pytest.mark.parametrize(
    "prompts, message",
    [
        ({"terminology": "knitting", "template": "{text}"}, "unknown terminology 'knitting'"),
        ({"terminology": "diving", "template": "{text}"}, "'Ball' is not a dive number"),
        ({"grades": ["poor"], "template": "a video"}, "has no {text}"),
        ({"categories": {"Ball": {"stages": ["a"], "video": "v"}, "Hoop": {"stages": ["a", "b"], "video": "w"}}},
         "different numbers of texts"),
        ({"groups": {"grades": ["a"]}, "categories": {"Ball": {"grades": ["b"]}}}, "the text 'b', which is in no group"),
        ({"categories": {"Ball": ["a"]}}, "prompts.p"),
    ],
)  # fmt: skip
def test_faults_of_composed_prompts(prompts, message):
    values = json.loads(find_card("rg").to_json()) | {"prompts": {"p": prompts}}
    with pytest.raises(ManifestError) as caught:
        Card.from_json(json.dumps(values))
    assert message in str(caught.value)
