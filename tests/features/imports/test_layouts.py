"""Every layout in circulation, built here as its authors build it, becomes a store with its labels."""

import json
import pickle

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from longtake.errors import ManifestError
from longtake.features.cli import main
from longtake.features.errors import InvalidFeatures
from longtake.features.imports.layouts import LAYOUTS
from longtake.features.imports.safe_pickle import read_values
from longtake.features.labels import LabelRow
from longtake.features.store import open_store
from longtake.manifests.card import find_card
from longtake.manifests.table import read_manifest
from tests.calls import invoke
from tests.features.imports.test_safe_pickle import Payload

RNG = np.random.default_rng(0)


def clips(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def run(*arguments, status=0):
    return invoke(main, "import", *arguments, status=status).output


def read(path, expected):
    with open_store(path) as store:
        stream = store.stream()
        assert set(stream.videos.video_ids) == set(expected)
        for video_id, values in expected.items():
            np.testing.assert_array_equal(stream.read(video_id).features, values)
        rows = {v: store.labels.row(i) for i, v in enumerate(store.labels.video_ids)}
    return rows


def test_pamfn(tmp_path):
    """A dictionary of each category and modality, pickled."""
    (tmp_path / "in").mkdir()
    videos = {"Ball": {"Ball_001": clips(4, 6), "Ball_002": clips(5, 6)}, "Clubs": {"Clubs_001": clips(3, 6)}}
    for category, arrays in videos.items():
        np.save(tmp_path / "in" / f"{category}_rgb_VST.npy", arrays, allow_pickle=True)
        np.save(tmp_path / "in" / f"{category}_audio_AST.npy", {k: v[:, :2] for k, v in arrays.items()})
    call = (tmp_path / "in", "--layout", "pamfn", "--dataset", "rg", "--backbone", "vst", "--out", tmp_path / "o.h5")
    assert "--files '*_rgb_VST.npy'" in run(*call, status=2)
    run(*call, "--files", "*_rgb_VST.npy")
    rows = read(tmp_path / "o.h5", videos["Ball"] | videos["Clubs"])
    assert rows["Ball_001"].category == "Ball" and rows["Ball_001"].scores


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_age(tmp_path, protocol):
    value = {"a": clips(2, 3), 5: [np.float32(1.5), "text", (1, None, True)], "f": np.asfortranarray(clips(3, 4))}
    (tmp_path / "x").write_bytes(pickle.dumps(value, protocol=protocol))
    found = read_values(tmp_path / "x")
    np.testing.assert_array_equal(found["a"], value["a"])
    np.testing.assert_array_equal(found["f"], value["f"])
    assert found[5] == [1.5, "text", (1, None, True)]


@pytest.mark.parametrize("save", ["npy", "pickle"])
@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: {"v": p}, lambda p: {"v": [np.zeros(2), p]}])
def test_a_malicious_pickle_is_refused(tmp_path, save, wrap):
    value = wrap(Payload(tmp_path / "ran"))
    if save == "npy":
        np.save(tmp_path / "x", np.array(value, dtype=object), allow_pickle=True)
    else:
        (tmp_path / "x.npy").write_bytes(pickle.dumps(value))
    with pytest.raises(InvalidFeatures, match="mkdir|only arrays"):
        read_values(tmp_path / "x.npy")
    assert not (tmp_path / "ran").exists()


def test_pickles_that_would_fill_the_memory(tmp_path):
    """A list that contains another twice, and so on, is short to write and takes forever to walk; an array may declare a false size."""
    laughs = []
    for _ in range(60):
        laughs = [laughs, laughs]
    (tmp_path / "x").write_bytes(pickle.dumps(laughs))
    with pytest.raises(InvalidFeatures, match="does not hold plain values"):
        read_values(tmp_path / "x")
    endless = []
    endless.append(endless)
    (tmp_path / "x").write_bytes(pickle.dumps(endless))
    with pytest.raises(InvalidFeatures):
        read_values(tmp_path / "x")
    honest = pickle.dumps(np.zeros((3, 100), np.float32))
    lying = honest.replace(b"K\x03Kd\x86", b"K\xffKd\x86")
    assert lying != honest
    (tmp_path / "x").write_bytes(lying)
    with pytest.raises(InvalidFeatures):
        read_values(tmp_path / "x")


def test_skating_mixer(tmp_path):
    (tmp_path / "in").mkdir()
    videos = {"7": clips(4, 3, 768), "9": clips(2, 3, 768)}
    for name, values in videos.items():
        np.save(tmp_path / "in" / f"{name}.npy", values)
    # video_id TES PCS SS TR PE CO IN factor
    (tmp_path / "train.txt").write_text("7 60.5 64.0 8 7.5 8 8 8.25 1.6\n")
    (tmp_path / "test.txt").write_text("9 50 40 5 5 5 5 5 0.8\n")
    run(
        tmp_path / "in", "--layout", "skating-mixer", "--dataset", "fs1000", "--backbone", "timesformer",
        "--labels", tmp_path / "train.txt", "--labels", tmp_path / "test.txt", "--out", tmp_path / "o.h5",
    )  # fmt: skip
    rows = read(tmp_path / "o.h5", {name: values.mean(1) for name, values in videos.items()})
    assert rows["7"].split == "train" and rows["7"].scores["pcs"] == 40 and rows["7"].scores["in"] == 8.25
    assert rows["9"].split == "test" and rows["9"].scores["pcs"] == 50 and set(rows["9"].scores) == {
        "tes", "pcs", "ss", "tr", "pe", "co", "in"}  # fmt: skip


def test_finefs(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "json").mkdir()
    videos = {str(number): clips(3, 5) for number in (0, 1, 2, 728, 729, 1166)}
    for name, values in videos.items():
        torch.save(torch.from_numpy(values), tmp_path / "in" / f"{name}.pkl")
        facts = {"total_element_score": 30.5, "total_program_component_score(factored)": 28.0, "other": [1]}
        (tmp_path / "json" / f"{name}.json").write_text(json.dumps(facts))
    run(
        tmp_path / "in", "--layout", "finefs", "--dataset", "finefs", "--backbone", "i3d", "--labels", tmp_path / "json",
        "--out", tmp_path / "o.h5",
    )  # fmt: skip
    rows = read(tmp_path / "o.h5", videos)
    assert rows["728"] == LabelRow(rows["728"].split, "short", {"short_tes": 30.5, "short_pcs": 28})
    assert rows["729"] == LabelRow(rows["729"].split, "free", {"free_tes": 30.5, "free_pcs": 28})
    # The split as the published code makes it.
    short = np.arange(729)
    np.random.RandomState(42).shuffle(short)
    assert all((rows[n].split == "train") == (int(n) in short[:583]) for n in ("0", "1", "2", "728"))
    (tmp_path / "json" / "2.json").write_text("{}")
    assert "2.json" in run(
        tmp_path / "in", "--layout", "finefs", "--dataset", "finefs", "--backbone", "i3d", "--labels", tmp_path / "json",
        "--out", tmp_path / "p.h5", status=2,
    )  # fmt: skip


def test_finefs_split_files(tmp_path):
    """The published lists of numbers decide the splits, as text or JSON; a number of no list has none."""
    card = find_card("finefs")
    (tmp_path / "json").mkdir()
    for name in ("0", "5", "800"):
        facts = {"total_element_score": 30.5, "total_program_component_score(factored)": 28.0}
        (tmp_path / "json" / f"{name}.json").write_text(json.dumps(facts))
    train, test = tmp_path / "train_split.txt", tmp_path / "test.json"
    train.write_text("5\n")
    test.write_text("[0, 7]")
    manifest = LAYOUTS["finefs"].labels([tmp_path / "json", train, test], card)
    assert {row.video_id: row.split for row in manifest.rows} == {"0": "test", "5": "train", "800": None}
    for content, message in (("[5]", "overlapping splits: video 5"), ("0 five", "but holds 'five'"), ("", "'nothing'")):
        test.write_text(content)
        with pytest.raises(ManifestError, match=message):
            LAYOUTS["finefs"].labels([tmp_path / "json", train, test], card)


def test_logo(tmp_path):
    (tmp_path / "in").mkdir()
    keys = [("WorldChampionship2019_free_final", 0), ("WorldChampionship2019_free_final", 11), ("Games_tech", 3)]
    videos = {f"{a}_{b}": clips(48, 4) for a, b in keys}
    for name, values in videos.items():
        np.save(tmp_path / "in" / f"{name}.npy", values)
    events = ["free", "free", "tech"]
    annotations = {k: [event, 80.5 + i, {"frames": [1, 2]}] for i, (k, event) in enumerate(zip(keys, events))}
    for name, value in {"anno_dict": annotations, "train_split3": keys[:2], "test_split3": keys[2:]}.items():
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(value))
    call = (tmp_path / "in", "--layout", "logo", "--dataset", "logo", "--backbone", "vst", "--out", tmp_path / "o.h5")
    labels = [tmp_path / f"{name}.pkl" for name in ("anno_dict", "train_split3", "test_split3")]
    run(*call, *(part for path in labels for part in ("--labels", path)))
    rows = read(tmp_path / "o.h5", videos)
    assert rows["Games_tech_3"] == LabelRow("test", "tech", {"total": 82.5}, groups={"event": "Games_tech"})
    assert rows["WorldChampionship2019_free_final_11"].split == "train"
    (tmp_path / "anno_dict.pkl").write_bytes(pickle.dumps({"k": Payload(tmp_path / "ran")}))
    assert "mkdir" in run(*call, "--labels", tmp_path / "anno_dict.pkl", status=2)
    assert not (tmp_path / "ran").exists()


def test_labels_that_do_not_go_together(tmp_path, monkeypatch):
    for name, value in {
        "anno": {("event", 0): ["free", 80.0]}, "train_numbers": [1, 2], "train_texts": ["e_1"], "train_others": [("else", 0)],
    }.items():  # fmt: skip
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(value))

    def message(split, layout="logo", dataset="logo"):
        call = ["labels", "--layout", layout, "--dataset", dataset, "--labels", tmp_path / "anno.pkl"]
        return invoke(main, *call, "--labels", tmp_path / f"{split}.pkl", "--out", tmp_path / "t.csv", status=2).output

    assert "1 is not a key of an annotation" in message("train_numbers") and "'e_1' is not a key" in message(
        "train_texts"
    )
    assert "no key of the splits, such as ('else', 0), is one of the annotations, such as ('event', 0)" in message(
        "train_others"
    )
    assert "does not have the frame rate" in message("train_others", "finediving", "mtl-aqa")


@pytest.mark.parametrize("named", [False, True])
def test_finediving(tmp_path, named):
    """Files in the authors' structure: facts by (event, instance), as a list or in two files by name, and lists of keys for the splits."""
    keys = [
        ("FINADivingWorldCup2021_Men3m_final_r1", 0),
        ("FINADivingWorldCup2021_Men3m_final_r1", 11),
        ("FullMen_2", 3),
    ]
    steps = [[1] * 50 + [14] * 30 + [37] * 20, [9] * 25 + [12] * 25 + [33] * 5 + [37] * 5, [4] * 10 + [37] * 10]
    dives = [("107b", 81.6, 3.1), ("5253B", 70.0, 3.4), ("614B", 64.2, 2.4)]
    if named:
        coarse = {k: {"action_type": a, "dive_score": s, "difficulty": d, "judge_scores": [8.5, 9], "start_frame": 489, "end_frame": 592}
                  for k, (a, s, d) in zip(keys, dives)}  # fmt: skip
        fine = {k: {"action_type": a, "dive_score": s, "sub-action_types": {1: "Forward"}, "frames_labels": np.array(labels),
                    "steps_transit_frames": np.array([5])}
                for k, (a, s, _), labels in zip(keys, dives, steps)}  # fmt: skip
        files = {"FineDiving_coarse_annotation": coarse, "FineDiving_fine-grained_annotation": fine}
    else:
        facts = {k: [a, s, np.float64(d), "?", labels] for k, (a, s, d), labels in zip(keys, dives, steps)}
        files = {"fine-grained_annotation_aqa": facts}
    files |= {"train_split": keys[:2], "test_split": keys[2:]}
    for name, value in files.items():
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(value))
    given = [part for name in files for part in ("--labels", tmp_path / f"{name}.pkl")]
    (tmp_path / "in").mkdir()
    videos = {f"{a}_{b}": clips(9, 4) for a, b in keys}
    for name, values in videos.items():
        np.save(tmp_path / "in" / f"{name}.npy", values)
    call = ("--layout", "finediving", "--dataset", "finediving", *given)
    run(tmp_path / "in", *call, "--backbone", "i3d", "--out", tmp_path / "o.h5")
    rows = read(tmp_path / "o.h5", videos)
    assert rows[f"{keys[0][0]}_0"] == LabelRow(
        "train", "107B", {"total": 81.6, "difficulty": 3.1}, (2.0, 3.2), {"event": keys[0][0]}
    )
    assert rows[f"{keys[1][0]}_11"].boundaries == (1.0, 2.2), "where the second and the last step begin"
    assert rows["FullMen_2_3"] == LabelRow(
        "test", "614B", {"total": 64.2, "difficulty": 2.4}, (0.4,), {"event": "FullMen_2"}
    ), "two steps, one boundary"
    done = CliRunner().invoke(main, ["labels", *map(str, call), "--out", str(tmp_path / "table.csv")])
    assert done.exit_code == 0 and "3 videos (train 2, test 1)" in done.output, done.output
    table = read_manifest(tmp_path / "table.csv", find_card("finediving"))
    assert {row.video_id: row.boundaries for row in table.rows} == {v: row.boundaries for v, row in rows.items()}
    broken = next(iter(files))
    (tmp_path / f"{broken}.pkl").write_bytes(pickle.dumps({keys[0]: ["107B", 80.0]}))
    assert "dive number, score, difficulty and labels of frames expected" in run(
        tmp_path / "in", *call[:4], "--labels", tmp_path / f"{broken}.pkl", "--backbone", "i3d", "--out", tmp_path / "p.h5",
        status=2,
    )  # fmt: skip
    (tmp_path / f"{broken}.pkl").write_bytes(pickle.dumps({"k": Payload(tmp_path / "ran")}))
    assert "mkdir" in run(tmp_path / "in", *call, "--backbone", "i3d", "--out", tmp_path / "p.h5", status=2)
    assert not (tmp_path / "ran").exists()


def test_an_old_torch_file(tmp_path):
    torch.save(torch.zeros(2, 3), tmp_path / "x.pkl", _use_new_zipfile_serialization=False)
    with pytest.raises(InvalidFeatures, match="older than 1.6"):
        read_values(tmp_path / "x.pkl")


@pytest.mark.parametrize("layout", ["gdlt", "skating-mixer"])
def test_one_video_in_two_files(tmp_path, layout):
    for kind in ("audio", "rgb"):
        (tmp_path / "in" / kind).mkdir(parents=True)
        np.save(tmp_path / "in" / kind / "Ball_001.npy", clips(4, 6))
    call = (tmp_path / "in", "--layout", layout, "--dataset", "rg", "--backbone", "vst", "--out", tmp_path / "o.h5")
    message = run(*call, "--files", "**/*.npy", status=2)
    assert all(f"{kind}/Ball_001.npy" in message for kind in ("audio", "rgb")) and "--files PATTERN" in message
    assert not (tmp_path / "o.h5").exists()
    run(*call, "--files", "rgb/*.npy")


@pytest.mark.parametrize("pattern", ["/data/*.npy", "**.npy", "rgb/**.npy", "**", "rgb/**", "."])
def test_patterns_that_are_refused(tmp_path, pattern):
    np.save(tmp_path / "Ball_001.npy", clips(4, 6))
    call = (tmp_path, "--layout", "gdlt", "--dataset", "rg", "--backbone", "vst", "--out", tmp_path / "o.h5")
    assert f"such as '*.npy' or '**/*_rgb.npy', got '{pattern}'" in run(*call, "--files", pattern, status=2)
