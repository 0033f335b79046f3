"""Manifest tables: every fault at once, nothing lost; the built-in tables against their sources."""

import pytest

from longtake.errors import ManifestError
from longtake.manifests.card import Card, card_path, find_card, list_cards
from longtake.manifests.table import (
    Manifest,
    ManifestRow,
    check_video_id,
    check_video_ids,
    find_manifest,
    read_manifest,
    write_manifest,
)


def write(tmp_path, text, name="m.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_one_message_reports_all_faults_of_all_rows(tmp_path):
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
        "line 3: video_id 'a' is already on line 2",
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
        ("a,train,3\nb,test,4\n", "the first line must name the columns, such as video_id,.*it is 'a,train,3'"),
        ("video_id,splt\na,train\n", "did you mean split?"),
        ("video_id,split,split\na,train,train\n", "appears twice"),
        ("video_id\n", "no videos"),
        ("", "m.csv is empty: the first line .* must name the columns"),
        ("video_id,score_artistry\na,1\n", "there are video_id, path"),
        ("video_id,boundary_2_seconds\na,1\n", "boundaries count from 1"),
        ("video_id,boundary_0_seconds\na,1\n", "did you mean boundary_1_seconds?"),
    ],
)
def test_faulty_headers(tmp_path, text, message):
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


def test_groups_of_videos(tmp_path):
    manifest = read_manifest(write(tmp_path, 'video_id,Group Skater,group_event,group_club\na,s1,3,\nb,,"1,2",\n'))
    assert [row.groups for row in manifest.rows] == [{"skater": "s1", "event": "3"}, {"event": "1,2"}]
    assert manifest.group_names == ("skater", "event")
    for column in ("group_", "group_a/b", "group_1", "group_" + "a" * 41):
        with pytest.raises(ManifestError, match="a group is named by a letter and then up to 39"):
            read_manifest(write(tmp_path, f"video_id,{column}\na,s1\n"))


def test_missing_and_unreadable_files(tmp_path):
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
        ManifestRow("4", groups={"skater": "=s 1", "event": "3,4"}),
    )
    manifest = Manifest("m", rows, ("total",))
    write_manifest(tmp_path / "m.csv", manifest)
    assert read_manifest(tmp_path / "m.csv") == manifest
    (tmp_path / "m.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "m.csv").read_bytes())
    assert read_manifest(tmp_path / "m.csv") == manifest


def test_texts_are_written_so_that_they_are_read_the_same(tmp_path):
    texts = ["\tx", " x", "x ", " ", "\xa0x", " =x", "=x ", "'x", "' x", "'\"x", ' "x"', "x\r\ny", "3,4", "-x"]
    rows = tuple(ManifestRow(f"v{n}", text, category=text, split=text) for n, text in enumerate(texts))
    manifest = Manifest("m", (*rows, ManifestRow("last", scores={" a ": 1.5, "\tb": 2.0})), (" a ", "\tb"))
    write_manifest(tmp_path / "m.csv", manifest)
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
def test_ids_that_are_not_valid_file_names(bad):
    with pytest.raises(ManifestError):
        check_video_id(bad)


@pytest.mark.parametrize("good", ["Ball_001", "1", "Zürich 2024 (final)", "x" * 180, "日本"])
def test_valid_ids(good):
    assert check_video_id(good) == good


def test_many_video_ids_are_checked_as_one_is():
    for good in ((), ("a",), ("a", "b-1", "v_2"), ("a", "mit Leerzeichen", "é")):
        assert check_video_ids(good) == good
    for bad in (("a", ""), ("",), ("a\nb",), ("a", "b\n", "c"), ("\n",), ("a", "b/c"), ("a", "b" * 181)):
        with pytest.raises(ManifestError):
            check_video_ids(bad)


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


def test_datasets_in_the_users_folder(tmp_path, monkeypatch):
    card = find_card("demo")
    source = card_path("demo")
    (tmp_path / "mine.toml").write_text(source.read_text().replace('name = "demo"', 'name = "mine"'))
    monkeypatch.setenv("LONGTAKE_MANIFESTS", str(tmp_path))
    assert find_card("mine").scores == card.scores
    with pytest.raises(ManifestError, match="The table goes to .*mine.csv"):
        find_manifest("mine")
    (tmp_path / "mine.csv").write_text("video_id,score_total\na,3\n")
    assert find_manifest("mine").rows[0].scores == {"total": 3.0}
    (tmp_path / "copied.toml").write_text(source.read_text())
    for read in (find_card, find_manifest):
        with pytest.raises(ManifestError, match="has the name 'demo': a card must be named as its file is, 'copied'"):
            read("copied")


def test_a_users_table_for_a_built_in_card(tmp_path, monkeypatch):
    with pytest.raises(ManifestError, match="finediving.csv, or into a folder that LONGTAKE_MANIFESTS lists"):
        find_manifest("finediving")
    monkeypatch.setenv("LONGTAKE_MANIFESTS", str(tmp_path))
    with pytest.raises(ManifestError, match=f"The table goes to {tmp_path}/finediving.csv$"):
        find_manifest("finediving")
    (tmp_path / "finediving.csv").write_text("video_id,split\na,train\n")
    assert find_manifest("finediving").rows[0].video_id == "a"
    (tmp_path / "rg.csv").write_text("video_id,split\na,train\n")
    assert len(find_manifest("rg").rows) == 1, "a user's table comes before the built-in one"
    (tmp_path / "rg.csv").unlink()
    (tmp_path / "rg.toml").write_text(card_path("rg").read_text())
    with pytest.raises(ManifestError, match="no table"):
        find_manifest("rg")  # the built-in table belongs to the built-in card


@pytest.mark.parametrize("name, actions", [("fs1000", 42), ("finefs", 42), ("logo", 63)])
def test_cards_without_a_built_in_table(name, actions):
    card = find_card(name)
    groups = card.prompts["mlavl"].groups
    assert [len(texts) for texts in groups.values()] == [actions, actions, 12, 6]
    assert set(card.default_scores) == set(card.scores)
    with pytest.raises(ManifestError, match="has a card but no table"):
        find_manifest(name)


def test_tables_of_diving_and_surgery():
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
        event, _ = row.video_id.split("_")
        assert row.groups == {
            "event": event, "dive": row.category, "difficulty": f"{row.scores['difficulty']:g}",
        }  # fmt: skip
    trials = find_manifest("jigsaws")
    assert {row.groups["surgeon"] for row in trials.rows} == set("BCDEFGHI")
    folds = {}
    for row in trials.rows:
        folds.setdefault(row.category, {}).setdefault(row.split, set()).add(row.video_id)
        assert 6 <= row.scores["total"] <= 30
    assert {task: sum(map(len, parts.values())) for task, parts in folds.items()} == {
        "Suturing": 39, "Needle Passing": 28, "Knot Tying": 36,
    }  # fmt: skip
    assert all(set(parts) == {"fold1", "fold2", "fold3", "fold4"} for parts in folds.values())


def test_skaters_and_events_of_fisv():
    rows = find_manifest("fisv").rows
    assert [len({row.groups[name] for row in rows}) for name in ("skater", "event")] == [148, 38]
    known = [{row.groups["skater"] for row in rows if row.split == split} for split in ("train", "test")]
    assert sum(row.groups["skater"] in known[0] for row in rows if row.split == "test") == 87


@pytest.mark.parametrize("name", ["mtl-aqa", "jigsaws"])
def test_tables_match_the_label_files_of_the_authors(shared, name):
    """Read without executing code from the label files."""
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


@pytest.mark.parametrize("cell, advice", [
    ("NA", "; leave the cell empty if it is not known"), ("1:20", "; write seconds, such as 80"),
    ("1:00:02.5", "; write seconds, such as 3602.5"), ("three", ""),
])  # fmt: skip
def test_numbers_that_people_write_otherwise(tmp_path, cell, advice):
    with pytest.raises(ManifestError) as caught:
        read_manifest(write(tmp_path, f"video_id,end_seconds\na,{cell}\n"))
    assert str(caught.value).endswith(f"line 2: end_seconds {cell!r} is not a number{advice}")


def test_minus_signs_of_typography_and_paths_of_windows(tmp_path):
    (row,) = read_manifest(write(tmp_path, "video_id,path,score_total\na,day 1\\a.mp4,\u22123.5\n")).rows
    assert row.path == "day 1/a.mp4" and row.scores == {"total": -3.5}


def test_numbers_beyond_any_score(tmp_path):
    with pytest.raises(ManifestError, match="line 2: score_total '1e30' is larger than any score or time, 1e\\+12"):
        read_manifest(write(tmp_path, "video_id,score_total\na,1e30\nb,-1e11\n"))
