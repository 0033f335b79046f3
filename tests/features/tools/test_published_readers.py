"""Exports in the hands of published training code: readers of the same behaviour, written again here, and the videos that they see.

Each reader returns video -> (features, scores). A video that it would lose, or a file that it would not find, fails the test.
"""

import dataclasses
import json
import pickle

import numpy as np
import pytest

from longtake.features.labels import Labels, labels_of
from longtake.features.store import write_store
from longtake.manifests.card import find_card
from longtake.manifests.table import find_manifest
from tests.features.fakes import header, plan, run, video

torch = pytest.importorskip("torch")

RG = ("Ball", "Clubs", "Hoop", "Ribbon")
MODALITIES = {"vst": "video", "i3d-flow": "video", "ast": "audio"}


def write_dataset(folder, dataset, table, backbones=("vst",)):
    """A store of two clips a video, and of one in five three, for each backbone."""
    streams = []
    for number, name in enumerate(backbones):
        about = dataclasses.replace(header(name), modality=MODALITIES.get(name, "video"))
        videos = [video(one, 2 + (row % 5 == 0), seed=row + number) for row, one in enumerate(table.video_ids)]
        streams.append(plan(about, videos))
    write_store(folder / f"{dataset}.h5", dataset=dataset, card=find_card(dataset), labels=table, streams=streams)
    return folder / f"{dataset}.h5"


def export(store, name, layout, *backbones):
    chosen = [word for backbone in backbones for word in ("--backbone", backbone)]
    run("export", store, store.parent / name, "--layout", layout, *chosen)
    return store.parent / name


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    return {
        name: write_dataset(folder, name, labels_of(find_manifest(name)), tuple(MODALITIES)) for name in ("rg", "fisv")
    }


def lines_of(path, skip_first):
    return [line.strip() for number, line in enumerate(path.open(encoding="utf-8")) if number or not skip_first]


def gdlt_rg(folder, split, category, column=3):
    """GDLT, CoFInAl, QGVL and MLAVL: without the first line, a category by the beginning of the id, an array for each video."""
    words = [line.split() for line in lines_of(folder / f"{split}.txt", skip_first=True)]
    chosen = [one for one in words if one[0].split("_")[0] == category]
    return {one[0]: (np.load(folder / f"{one[0]}.npy"), float(one[column])) for one in chosen}


def gdlt_fisv(folder, split):
    """GDLT, CoFInAl and MLAVL: every line; TES and PCS follow the id."""
    words = [line.split() for line in lines_of(folder / f"{split}.txt", skip_first=False)]
    return {one[0]: (np.load(folder / f"{one[0]}.npy"), (float(one[1]), float(one[2]))) for one in words}


def qtd_fisv(folder, split):
    """QTD: every line, split at single blanks."""
    words = [line.split(" ") for line in lines_of(folder / f"{split}.txt", skip_first=False)]
    return {one[0]: (np.load(folder / f"{one[0]}.npy"), (float(one[1]), float(one[2].split("\t")[0]))) for one in words}


def pamfn(folder, split, name, skip_first, columns):
    """PAMFN: three dictionaries of one category or dataset. A video without all three is an error."""
    files = [f"{name}_rgb_VST.npy", f"{name}_flow_I3D.npy", f"{name}_audio_AST.npy"]
    streams = [np.load(folder / file, allow_pickle=True).item() for file in files]
    words = [line.split() for line in lines_of(folder / f"{split}.txt", skip_first)]
    chosen = [one for one in words if name == "FISV" or one[0].split("_")[0] == name]
    return {one[0]: ([stream[one[0]] for stream in streams], [float(one[i]) for i in columns]) for one in chosen}


def skating_mixer(pictures, sounds, split):
    """Skating-Mixer: every line; pictures are averaged over their second axis, sound is taken as it is; PCS by its factor."""
    found = {}
    for line in lines_of(pictures / f"{split}.txt", skip_first=False):
        name, *numbers = line.split()
        scores = list(map(float, numbers))
        scores[1] /= scores[7]
        features = np.load(pictures / f"{name}.npy").mean(axis=1), np.load(sounds / f"{name}.npy")
        found[name] = features, scores[:7]
    return found


def finefs(folder, split, numbers, num_training):
    """FineFS: shuffles the numbers of a programme by numpy's old generator, and opens a tensor and a JSON for each."""
    order = np.array(numbers)
    np.random.RandomState(42).shuffle(order)
    chosen = order[:num_training] if split == "train" else order[num_training:]
    found = {}
    for number in chosen.tolist():
        facts = json.loads((folder / "labels" / f"{number}.json").read_text())
        scores = facts["total_element_score"], facts["total_program_component_score(factored)"]
        found[str(number)] = torch.load(folder / f"{number}.pkl", weights_only=True).numpy(), scores
    return found


def logo(folder, split):
    """LOGO, CoFInAl and QTD: keys of two parts in a pickle for each split, the score at place 1 of an entry, `<a>_<b>.npy`."""
    annotations = pickle.loads((folder / "anno_dict.pkl").read_bytes())
    keys = pickle.loads((folder / f"{split}_split3.pkl").read_bytes())
    return {f"{a}_{b}": (np.load(folder / f"{a}_{b}.npy"), annotations[a, b][1]) for a, b in keys}


def require(found, rows, count, scores, num_axes=2):
    """All videos of a split, with their own scores and features."""
    assert len(found) == count and found.keys() == {row.video_id for row in rows}
    for row in rows:
        features, own = found[row.video_id]
        for one in features if isinstance(features, list | tuple) else [features]:
            assert one.ndim == num_axes and one.dtype == np.float32 and len(one) in (2, 3)
        assert own == pytest.approx(scores(row))


def rows_of(dataset, split, category=None):
    rows = find_manifest(dataset).rows
    return [row for row in rows if row.split == split and category in (None, row.category)]


@pytest.mark.parametrize("dataset", ["rg", "fisv"])
def test_readers_of_a_file_for_each_video(stores, dataset):
    folder = export(stores[dataset], f"{dataset}-gdlt", "gdlt", "vst")
    if dataset == "rg":
        for split, count in (("train", 200), ("test", 50)):
            for category in RG:
                found = gdlt_rg(folder, split, category)
                require(found, rows_of("rg", split, category), count, lambda row: row.scores["total"])
        return
    for reader in (gdlt_fisv, qtd_fisv):
        for split, count in (("train", 400), ("test", 100)):
            found = reader(folder, split)
            require(found, rows_of("fisv", split), count, lambda row: (row.scores["tes"], row.scores["pcs"]))


@pytest.mark.parametrize("dataset", ["rg", "fisv"])
def test_readers_of_dictionaries(stores, dataset):
    folder = export(stores[dataset], f"{dataset}-pamfn", "pamfn", *MODALITIES)
    if dataset == "rg":
        for split, count in (("train", 200), ("test", 50)):
            for category in RG:
                found = pamfn(folder, split, category, True, [3])
                require(found, rows_of("rg", split, category), count, lambda row: [row.scores["total"]])
        return
    for split, count in (("train", 400), ("test", 100)):
        found = pamfn(folder, split, "FISV", False, [1, 2])
        require(found, rows_of("fisv", split), count, lambda row: [row.scores["tes"], row.scores["pcs"]])


def test_skating_mixer(tmp_path):
    ids = tuple(f"v{n}" for n in range(12))
    names = ("tes", "pcs", "ss", "tr", "pe", "co", "in")
    scores = np.random.default_rng(0).uniform(1, 9, (12, 7)).round(2)
    table = Labels(ids, ("train",) * 8 + ("test",) * 4, ("",) * 12, names, scores)
    store = write_dataset(tmp_path, "fs1000", table, ("vst", "ast"))
    pictures, sounds = (export(store, name, "skating-mixer", name) for name in ("vst", "ast"))
    for split, count in (("train", 8), ("test", 4)):
        rows = [(row, name) for row, name in enumerate(ids) if table.splits[row] == split]
        found = skating_mixer(pictures, sounds, split)
        assert len(found) == count
        for row, name in rows:
            (picture, sound), own = found[name]
            np.testing.assert_array_equal(picture, video(name, len(picture), seed=row).features)
            np.testing.assert_array_equal(sound, video(name, len(sound), seed=row + 1).features)
            assert own == pytest.approx(scores[row].tolist())


def test_finefs(tmp_path):
    """All short programmes, and the first free skatings."""
    ids = tuple(map(str, range(732)))
    is_short = np.arange(732) < 729
    scores = np.where(is_short[:, None] == [True, True, False, False], np.arange(732)[:, None] % 50 + 0.5, np.nan)
    table = Labels(
        ids, ("train",) * 732, tuple("short" if one else "free" for one in is_short), ("short_tes", "short_pcs", "free_tes", "free_pcs"), scores
    )  # fmt: skip
    folder = export(write_dataset(tmp_path, "finefs", table), "out", "finefs")
    seen = {}
    for split, count in (("train", 583), ("test", 146)):
        found = finefs(folder, split, range(729), 583)
        assert len(found) == count
        seen |= found
    assert seen.keys() == set(ids[:729])
    assert all(own == (int(name) % 50 + 0.5,) * 2 for name, (_, own) in seen.items())
    assert finefs(folder, "train", range(729, 732), 2).keys() <= {"729", "730", "731"}
    assert (folder / "train_split.txt").read_text().split() == list(ids) and not (folder / "test_split.txt").exists()


def test_logo(tmp_path):
    ids = tuple(f"WorldChampionship2019_free_final_{n}" for n in range(5)) + ("Games_tech_3",)
    table = Labels(
        ids, ("train",) * 4 + ("test",) * 2, ("free",) * 5 + ("tech",), ("total",), np.arange(60.0, 66.0)[:, None]
    )  # fmt: skip
    folder = export(write_dataset(tmp_path, "logo", table), "out", "logo")
    for split, expected in (("train", ids[:4]), ("test", ids[4:])):
        found = logo(folder, split)
        assert tuple(found) == expected
        assert [own for _, own in found.values()] == [60.0 + ids.index(name) for name in expected]
