"""Manifests, cards and label files: every fault at once, nothing lost."""

import csv
import json
import os

import pytest

from longtake.errors import ManifestError, UnknownDataset
from longtake.manifests.author_labels import read_labels
from longtake.manifests.card import Card, card_path, find_card, list_cards, load_card
from longtake.manifests.table import Manifest, ManifestRow, check_video_id, find_manifest, read_manifest, write_manifest
from longtake.manifests.terminology import stages_of


def write(tmp_path, text, name="m.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_all_faults_of_all_rows_in_one_message(tmp_path):
    path = write(
        tmp_path,
        "video_id,path,split,category,start_seconds,end_seconds,score_total\n"
        "a,,train,Ball,,,12\n"
        "a,,train,Ball,,,12\n"
        "A,,test,Ball,,,12\n"
        "b,,train,Bal,,,12\n"
        "c,,tset,Hoop,,,12\n"
        "d,,train,Hoop,5,4,26\n"
        "e,../secret.mp4,train,Hoop,-1,,many\n"
        "../f,,train,Hoop,,,nan\n"
        "g,,train\n"
        "h,,train,Hoop,,,-1\n",
    )
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, find_card("rg"))
    message = str(caught.value)
    for fault in (
        "line 3: video_id 'a' stands already on line 2",
        "line 4: overlapping splits: 'A' is in 'test' and, on line 2, as 'a', in 'train'",
        "line 5: unknown category 'Bal'; did you mean Ball?",
        "line 6: unknown split 'tset'; did you mean test?",
        "line 7: end_seconds 4 is not after start_seconds 5",
        "line 7: score_total 26 is outside 0 to 25",
        "line 8: start_seconds -1 is negative",
        "line 8: path '../secret.mp4' must be relative",
        "line 8: score_total 'many' is not a number",
        "line 9: video_id '../f' begins or ends with a blank or a dot",
        "line 9: score_total 'nan' is not a number",
        "line 10: 3 fields where the header has 7",
        "line 11: score_total -1 is outside 0 to 25",
    ):
        assert fault in message
    assert "13 faults" in message


@pytest.mark.parametrize(
    "text, message",
    [
        ("id,split\na,train\n", "column video_id is missing"),
        ("video_id,splt\na,train\n", "did you mean split?"),
        ("video_id,split,split\na,train,train\n", "stands twice"),
        ("video_id\n", "no videos"),
        ("", "column video_id is missing"),
        ("video_id,score_artistry\na,1\n", "there are video_id, path"),
        ("video_id,boundary_2_seconds\na,1\n", "boundaries count from 1"),
        ("video_id,boundary_0_seconds\na,1\n", "did you mean boundary_1_seconds?"),
    ],
)
def test_headers(tmp_path, text, message):
    with pytest.raises(ManifestError, match=message):
        read_manifest(write(tmp_path, text), find_card("rg"))


def test_a_long_list_of_faults_is_cut(tmp_path):
    rows = "".join("same\n" for _ in range(40))
    with pytest.raises(ManifestError, match="and 19 more"):
        read_manifest(write(tmp_path, "video_id\n" + rows))


def test_boundaries_of_stages(tmp_path):
    header = "video_id,start_seconds,end_seconds,boundary_2_seconds,boundary_1_seconds\n"
    rows = read_manifest(write(tmp_path, f"{header}a,1,9,4,2\nb,,,,3\nc,,,,\n")).rows
    assert [row.boundaries for row in rows] == [(2.0, 4.0), (3.0,), ()]
    with pytest.raises(ManifestError) as caught:
        read_manifest(write(tmp_path, f"{header}a,2,9,4,2\nb,,9,9,4\nc,,,3,4\nd,,,5,\ne,,,soon,0\n"))
    for fault in (
        "line 2: boundary_1_seconds 2 is not after start_seconds 2",
        "line 3: boundary_2_seconds 9 is not before end_seconds 9",
        "line 4: boundary_2_seconds 3 is not after boundary_1_seconds 4",
        "line 5: boundary_2_seconds without boundary_1_seconds",
        "line 6: boundary_1_seconds 0 is not after start_seconds 0",
        "line 6: boundary_2_seconds 'soon' is not a number",
    ):
        assert fault in str(caught.value)
    assert "6 faults" in str(caught.value)


def test_missing_and_unreadable(tmp_path):
    with pytest.raises(ManifestError, match="no manifest at"):
        read_manifest(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(b"video_id\n\xff\xfe\n")
    with pytest.raises(ManifestError, match="is not text in UTF-8: save it as CSV in UTF-8"):
        read_manifest(tmp_path / "latin.csv")


def test_round_trip_with_a_byte_order_mark(tmp_path):
    rows = (
        ManifestRow("ünïcode 1", "a/b.mp4", "train", "A", 1.5, 2.5, {"total": 3.25}),
        ManifestRow("2", None, "test", None, None, None, {}),
        ManifestRow("3", boundaries=(0.125, 7.5)),
    )
    manifest = Manifest("m", rows, ("total",))
    write_manifest(tmp_path / "m.csv", manifest)
    assert read_manifest(tmp_path / "m.csv") == manifest
    (tmp_path / "m.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "m.csv").read_bytes())
    assert read_manifest(tmp_path / "m.csv") == manifest


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "..",
        ".hidden",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        " a",
        "a ",
        "x" * 181,
        "ü" * 91,
        "a:b",
        "a?",
        "r\udce9sum\udce9",
    ],
)
def test_ids_that_cannot_be_file_names(bad):
    with pytest.raises(ManifestError):
        check_video_id(bad)


@pytest.mark.parametrize("good", ["Ball_001", "1", "Zürich 2024 (final)", "x" * 180, "日本"])
def test_ids_that_can(good):
    assert check_video_id(good) == good


def test_shipped_cards_and_tables():
    assert set(list_cards()) >= {"demo", "rg", "fisv"}
    for name, train, test, actions in (("rg", 800, 200, 32), ("fisv", 400, 100, 42)):
        manifest = find_manifest(name)
        assert [sum(row.split == s for row in manifest.rows) for s in ("train", "test")] == [train, test]
        prompts = manifest.card.prompts
        assert [len(texts) for texts in prompts["qgvl"].groups.values()] == [101, 4]
        assert prompts["qgvl"].texts[100].endswith("a quality score of 100.")
        assert len(prompts["mlavl"].texts) == 2 * actions + 18
        assert Card.from_json(manifest.card.to_json()) == manifest.card
    assert find_card("rg").window_clips == 68 and find_card("fisv").window_clips == 124
    assert {row.category for row in find_manifest("rg").rows} == {"Ball", "Clubs", "Hoop", "Ribbon"}


def test_a_broken_card_hides_no_other(tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text("name = ")
    monkeypatch.setenv("LONGTAKE_MANIFESTS", str(tmp_path))
    cards = list_cards()
    assert isinstance(cards["rg"], Card) and str(cards["mine"]).startswith(
        f"cannot read the card {tmp_path / 'mine.toml'}"
    )


def test_all_faults_of_a_card_together(tmp_path):
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


def test_datasets_of_the_users_own(tmp_path, monkeypatch):
    card = find_card("demo")
    source = os.path.join(os.path.dirname(__import__("manifests").__file__), "demo.toml")
    (tmp_path / "mine.toml").write_text(open(source).read().replace('name = "demo"', 'name = "mine"'))
    monkeypatch.setenv("LONGTAKE_MANIFESTS", str(tmp_path))
    assert find_card("mine").scores == card.scores
    with pytest.raises(ManifestError, match="The table goes to .*mine.csv"):
        find_manifest("mine")
    (tmp_path / "mine.csv").write_text("video_id,score_total\na,3\n")
    assert find_manifest("mine").rows[0].scores == {"total": 3.0}
    (tmp_path / "copied.toml").write_text(open(source).read())
    for read in (find_card, find_manifest):
        with pytest.raises(
            ManifestError, match="says that its name is 'demo': a card has the name of its file, 'copied'"
        ):
            read("copied")


def test_a_table_for_a_card_that_ships(tmp_path, monkeypatch):
    with pytest.raises(ManifestError, match="finediving.csv, or into a folder of yours that LONGTAKE_MANIFESTS names"):
        find_manifest("finediving")
    monkeypatch.setenv("LONGTAKE_MANIFESTS", str(tmp_path))
    with pytest.raises(ManifestError, match=f"The table goes to {tmp_path}/finediving.csv$"):
        find_manifest("finediving")
    (tmp_path / "finediving.csv").write_text("video_id,split\na,train\n")
    assert find_manifest("finediving").rows[0].video_id == "a"
    (tmp_path / "rg.csv").write_text("video_id,split\na,train\n")
    assert len(find_manifest("rg").rows) == 1, "the user's own counts before what ships"
    (tmp_path / "rg.csv").unlink()
    (tmp_path / "rg.toml").write_text(card_path("rg").read_text())
    with pytest.raises(ManifestError, match="no table"):
        find_manifest("rg")  # a card of one's own has no table that ships


@pytest.mark.parametrize("name", ["rg", "fisv"])
def test_label_files_of_the_authors(shared, name):
    folder = shared / "data" / "labels" / name
    manifest = read_labels([folder / "train.txt", folder / "test.txt"], find_card(name))
    shipped = find_manifest(name)
    assert manifest.rows == shipped.rows, "the shipped table is what the files say, first row included"


def test_label_file_faults(tmp_path):
    path = write(tmp_path, "1 28.71 29.36 1\n2 99 27.08 1\n1 30 30 0\n3 30\n", "train.txt")
    with pytest.raises(ManifestError) as caught:
        read_labels([path], find_card("fisv"))
    for fault in ("line 2: score_tes 99", "line 3: video_id '1'", "line 4: 2 columns; 4 expected"):
        assert fault in str(caught.value)
    with pytest.raises(ManifestError, match="begin with its split"):
        read_labels([write(tmp_path, "1 2 3 4\n", "labels.txt")], find_card("fisv"))
    with pytest.raises(ManifestError, match="no label file"):
        read_labels([tmp_path / "train2.txt"], find_card("fisv"))
    test = write(tmp_path, "1 28.71 29.36 1\n", "test.txt")
    train = write(tmp_path, "1 28.71 29.36 1\n", "train.txt")
    with pytest.raises(ManifestError, match="overlapping splits"):
        read_labels([train, test], find_card("fisv"))


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
def test_hostile_cards_are_refused(change):
    """A store from a stranger carries a card."""
    values = {**json.loads(find_card("demo").to_json()), **change}
    with pytest.raises(ManifestError, match="the card in the store is not valid"):
        Card.from_json(json.dumps(values))


def test_a_card_that_is_nested_without_end():
    with pytest.raises(ManifestError, match="nested too deeply"):
        Card.from_json("[" * 100_000)


@pytest.mark.parametrize("name, actions", [("fs1000", 42), ("finefs", 42), ("logo", 63)])
def test_cards_of_datasets_whose_tables_are_the_users(name, actions):
    card = find_card(name)
    groups = card.prompts["mlavl"].groups
    assert [len(texts) for texts in groups.values()] == [actions, actions, 12, 6]
    assert set(card.default_scores) == set(card.scores)
    with pytest.raises(ManifestError, match="has a card but no table"):
        find_manifest(name)


@pytest.mark.parametrize(
    "name, file", [("rg", "RG"), ("fisv", "FS"), ("fs1000", "FS"), ("finefs", "FS"), ("logo", "LOGO")]
)
def test_prompts_are_those_that_the_text_features_encode(shared, name, file):
    with (shared / "data" / "prompts" / f"action-label_{file}.csv").open(encoding="utf-8-sig") as lines:
        published = tuple(row["name"] for row in csv.DictReader(lines))
    assert find_card(name).prompts["mlavl"].texts == published


def test_diving_and_surgery():
    dives = find_manifest("mtl-aqa")
    assert [sum(row.split == split for row in dives.rows) for split in ("train", "test")] == [1059, 353]
    totals = [row.scores["total"] for row in dives.rows]
    assert max(totals) - min(totals) == 104.5 and not dives.card.protocol.one_model_per == ("category", "score")
    for row in dives.rows:
        judges = sorted(row.scores[f"judge{number}"] for number in range(1, 8))
        if row.video_id == "1_1":
            # Three middle judges times the difficulty is what a dive is worth.
            assert row.category == "407C" and sum(judges[2:5]) * row.scores["difficulty"] == pytest.approx(
                88.0, abs=0.5
            )
    trials = find_manifest("jigsaws")
    folds = {}
    for row in trials.rows:
        folds.setdefault(row.category, {}).setdefault(row.split, set()).add(row.video_id)
        assert 6 <= row.scores["total"] <= 30
    assert {task: sum(map(len, parts.values())) for task, parts in folds.items()} == {
        "Suturing": 39, "Needle Passing": 28, "Knot Tying": 36,
    }  # fmt: skip
    assert all(set(parts) == {"fold1", "fold2", "fold3", "fold4"} for parts in folds.values())


@pytest.mark.parametrize("name", ["mtl-aqa", "jigsaws"])
def test_tables_are_those_of_the_authors(shared, name):
    """Against the label files, where they are at hand; read without running anything in them."""
    from longtake.features.imports.safe_pickle import read_values

    manifest = {row.video_id: row for row in find_manifest(name).rows}
    if name == "jigsaws":
        labels = read_values(shared / "data/labels/jigsaws/label.pkl")
        ratings = {video_id: [row.scores[f"rating{n}"] for n in range(1, 7)] for video_id, row in manifest.items()}
        assert ratings == labels
        assert {video_id: row.scores["total"] for video_id, row in manifest.items()} == {
            k: sum(v) for k, v in labels.items()
        }
        return
    labels = read_values(shared / "data/labels/mtl_aqa/final_annotations_dict_with_dive_number.pkl")
    assert {
        f"{event}_{dive}": (facts["final_score"], facts["dive_number"]) for (event, dive), facts in labels.items()
    } == {video_id: (row.scores["total"], row.category) for video_id, row in manifest.items()}


def test_every_dive_number_of_mtl_aqa_in_words():
    """Against the digits, read here one by one."""
    numbers = {row.category for row in find_manifest("mtl-aqa").rows}
    assert len(numbers) == 58 and numbers == set(find_card("mtl-aqa").categories)
    directions = dict(zip("1234", ("forward", "back", "reverse", "inward")))
    for number in numbers:
        take_off, flight, entry = stages_of("diving", number)
        digits, position = number[:-1], number[-1]
        group = directions[digits[1] if digits[0] in "56" else digits[0]]
        assert take_off == ("armstand " if digits[0] == "6" else "") + f"{group} take-off"
        halves = int(digits[2])
        twists = int(digits[3]) if len(digits) > 3 else 0
        words = dict(A="straight", B="pike", C="tuck", D="free")[position]
        assert flight.endswith(f"{words} flight") and entry == "entry into the water"
        assert (f"{halves / 2:g} somersault" in flight) == bool(halves), number
        assert (f"{twists / 2:g} twist" in flight) == bool(twists), number


@pytest.mark.parametrize(
    "number, stages",
    [
        ("407B", ("inward take-off", "3.5 somersaults pike flight", "entry into the water")),
        ("5152B", ("forward take-off", "2.5 somersaults and 1 twist pike flight", "entry into the water")),
        ("6243D", ("armstand back take-off", "2 somersaults and 1.5 twists free flight", "entry into the water")),
        ("112B", ("forward take-off", "flying 1 somersault pike flight", "entry into the water")),
        ("1011C", ("forward take-off", "5.5 somersaults tuck flight", "entry into the water")),
        ("100A", ("forward take-off", "straight flight", "entry into the water")),
    ],
)
def test_dive_numbers_in_words(number, stages):
    assert stages_of("diving", number) == stages


@pytest.mark.parametrize("number", ["", "407", "407E", "707B", "4077B", "5652B", "6443D", "124B", "x407B"])
def test_what_is_no_dive_number(number):
    with pytest.raises(ManifestError, match="is no dive number: a group from 1 to 6"):
        stages_of("diving", number)


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
        ({"terminology": "knitting", "template": "{text}"}, "no terminology is called 'knitting'"),
        ({"terminology": "diving", "template": "{text}"}, "'Ball' is no dive number"),
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
