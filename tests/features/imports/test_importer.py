"""Import of folders and arrays with their labels."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from longtake.features import parts
from longtake.features.cli import main
from longtake.features.parts import lock_file
from longtake.features.store import open_store
from longtake.features.tools.inspect import verify
from longtake.manifests.card import find_card
from longtake.manifests.table import find_manifest
from tests.calls import invoke
from tests.features.fakes import header, labels, list_parts, locked_by_another, video

IDS = [row.video_id for row in find_manifest("fisv").rows[:4]]


def write_folder(folder, lengths=(5, 7, 3), dim=6):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for video_id, length in zip(IDS, lengths):
        np.save(folder / f"{video_id}.npy", rng.normal(size=(length, dim)).astype(np.float32))
    return folder


def run(*arguments, status=0):
    return invoke(main, "import", *arguments, status=status).output


def import_folder(folder, out, *options, status=0):
    call = (folder, "--layout", "gdlt", "--dataset", "fisv", "--backbone", "vst", "--out", out, *options)
    return run(*call, status=status)


def test_features_labels_and_what_is_known(tmp_path):
    folder, out = write_folder(tmp_path / "in"), tmp_path / "out.h5"
    np.save(folder / "unknown.npy", np.zeros((2, 6), np.float32))
    output = import_folder(folder, out, "--clip-length", "32", "--clip-stride", "16", "--fps", "25")
    assert "1 videos without labels, left out: unknown" in output and "497 labelled videos without features" in output
    with open_store(out) as store:
        stream = store.stream("vst")
        assert [record.video_id for record in stream.records] == IDS[:3]
        for row, video_id in enumerate(IDS[:3]):
            video = stream.read(row)
            np.testing.assert_array_equal(video.features, np.load(folder / f"{video_id}.npy"))
            np.testing.assert_allclose(video.start_seconds, np.arange(len(video.features)) * 16 / 25)
            np.testing.assert_allclose(video.end_seconds - video.start_seconds, 32 / 25)
        assert stream.header.weights == "unknown" and stream.header.tail is None and not stream.header.weights_random
        assert store.labels.video_ids[:3] == tuple(IDS[:3]) and store.labels.score_names[:2] == ("tes", "pcs")
        assert not verify(store)


def test_sound_is_recorded_as_sound(tmp_path):
    """`train sweep` uses all streams of a store except those of sound."""
    folder = write_folder(tmp_path / "in")
    import_folder(folder, tmp_path / "out.h5")
    call = ("--layout", "gdlt", "--dataset", "fisv", "--backbone", "ast", "--out", tmp_path / "out.h5")
    run(folder, *call, "--modality", "audio")
    with open_store(tmp_path / "out.h5") as store:
        assert {s.header.backbone: s.header.modality for s in store.streams} == {"vst": "video", "ast": "audio"}


def test_half_precision(tmp_path):
    import_folder(write_folder(tmp_path / "in"), tmp_path / "out.h5", "--dtype", "float16")
    with open_store(tmp_path / "out.h5") as store:
        assert store.stream().read_all().dtype == np.float16


def test_all_bad_files_are_reported_together(tmp_path):
    folder = write_folder(tmp_path / "in", (5, 7, 3, 4))
    np.save(folder / f"{IDS[0]}.npy", np.zeros(6, np.float32))
    np.save(folder / f"{IDS[1]}.npy", np.full((2, 6), np.nan, np.float32))
    np.save(folder / f"{IDS[2]}.npy", np.zeros((2, 6), np.int64))
    (folder / f"{IDS[3]}.npy").write_bytes(b"nothing")
    output = import_folder(folder, tmp_path / "out.h5", status=2)
    assert all(f"{video_id}.npy" in output for video_id in IDS)
    assert not (tmp_path / "out.h5").exists()


def test_one_bad_file_does_not_stop_the_others(tmp_path):
    folder = write_folder(tmp_path / "in")
    (folder / f"{IDS[0]}.npy").write_bytes(b"nothing")
    output = import_folder(folder, tmp_path / "out.h5", status=1)
    assert "2 videos, 10 clips x 6" in output and f"bad, left out: {folder / IDS[0]}.npy is neither" in output
    with open_store(tmp_path / "out.h5") as store:
        assert store.stream().videos.video_ids == (IDS[1], IDS[2]) and IDS[0] in store.labels.video_ids


def test_a_dry_run_writes_nothing(tmp_path):
    folder = write_folder(tmp_path / "in")
    output = import_folder(
        folder, tmp_path / "out.h5", "--dry-run", "--fps", 25, "--clip-length", 25, "--clip-stride", 25
    )
    assert "would hold 3 videos, 15 clips x 6" in output and f"{IDS[0]}.npy" in output and "0.00 to 5.00 s" in output
    assert "split=" in output and "score_tes=" in output
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    import_folder(folder, tmp_path / "out.h5")
    assert "already holds vst" in import_folder(folder, tmp_path / "out.h5", "--dry-run", status=2)


def test_files_of_different_widths(tmp_path):
    folder = write_folder(tmp_path / "in")
    np.save(folder / f"{IDS[0]}.npy", np.zeros((5, 7), np.float32))
    message = import_folder(folder, tmp_path / "out.h5", status=2)
    assert "different widths: 6 (" in message and f"7 ({IDS[0]}.npy)" in message


def test_videos_of_ones_own_need_no_card(tmp_path):
    folder, out, table = write_folder(tmp_path / "in"), tmp_path / "out.h5", tmp_path / "mine.csv"
    table.write_text("video_id,split,score_total\n" + "".join(f"{name},train,{n}\n" for n, name in enumerate(IDS[:3])))
    call = (folder, "--layout", "gdlt", "--backbone", "vst", "--out", out)
    assert "--dataset NAME or, for your own videos, --manifest FILE" in run(*call, status=2)
    assert "excludes --labels" in run(*call, "--manifest", table, "--labels", table, status=2)
    run(*call, "--manifest", table)
    message = CliRunner().invoke(main, ["info", str(out)]).output
    assert "clips of unknown every unknown at an unknown rate, tail unknown" in message
    with open_store(out) as store:
        assert store.dataset == "mine" and store.card is None
        assert store.labels.scores[:, 0].tolist() == [0, 1, 2]


def test_another_dataset_does_not_join(tmp_path):
    folder, out = write_folder(tmp_path / "in"), tmp_path / "fisv.h5"
    import_folder(folder, out)
    table = tmp_path / "mine.csv"
    table.write_text("video_id,split\n" + "".join(f"{name},train\n" for name in IDS[:3]))
    message = run(folder, "--layout", "gdlt", "--manifest", table, "--backbone", "i3d", "--out", out, status=2)
    assert "is a store of fisv, and this is of mine: one store holds one dataset" in message
    np.save(tmp_path / "texts.npy", np.zeros((82, 8), np.float32))
    text = ("--layout", "text", "--dataset", "rg", "--text", "mlavl", "--out", out)
    assert "is a store of fisv, and this is of rg" in run(tmp_path / "texts.npy", *text, status=2)
    with open_store(out) as store:
        assert store.dataset == "fisv" and not store.texts and len(store.streams) == 1


def test_a_store_that_another_process_publishes(tmp_path, monkeypatch):
    """The features are kept as a part; texts leave nothing."""
    folder, out = write_folder(tmp_path / "in"), tmp_path / "out.h5"
    locked_by_another(out, monkeypatch)
    assert "is locked by" in import_folder(folder, out, status=2) and not out.exists()
    lock_file(out).unlink()
    import_folder(folder, out)
    kept = out.read_bytes()
    holder = locked_by_another(out, monkeypatch)
    np.save(tmp_path / "text.npy", np.zeros((102, 8), np.float32))
    call = (tmp_path / "text.npy", "--layout", "text", "--dataset", "fisv", "--text", "mlavl", "--out", out)
    message = run(*call, status=2)
    assert f"{out} is locked by {holder}" in message and "are kept" not in message
    again = ("--fps", "25", "--beside")
    message = import_folder(folder, out, *again, status=2)
    assert f"{out} is locked by {holder}" in message and "3 finished videos are kept" in message
    assert out.read_bytes() == kept
    lock_file(out).unlink()
    import_folder(folder, out, *again)
    with open_store(out) as store:
        assert len(store.streams) == 2 and not list_parts(out)


@pytest.mark.parametrize(
    "option, value", [("--fps", "nan"), ("--fps", "-3"), ("--fps", "1e400"), ("--clip-length", "0")]
)
def test_impossible_recipes(tmp_path, option, value):
    message = import_folder(write_folder(tmp_path / "in"), tmp_path / "out.h5", option, value, status=2)
    assert f"{option} must be a number above 0" in message


@pytest.mark.parametrize("first", ["id,score_tes", "video_id;score_tes", "video_id\tscore_tes"])
@pytest.mark.parametrize("dataset, more", [("fisv", "should begin with its split"), ("mine", "describes no other")])
def test_files_that_are_not_tables(tmp_path, monkeypatch, first, dataset, more):
    """The card of Fis-V describes the authors' files; the other card does not."""
    source = Path(find_card.__code__.co_filename).with_name("demo.toml").read_text()
    (tmp_path / "mine.toml").write_text(source.replace('name = "demo"', 'name = "mine"'))
    monkeypatch.setenv("LONGTAKE_MANIFESTS", str(tmp_path))
    folder, table = write_folder(tmp_path / "in"), tmp_path / "labels.csv"
    call = (
        folder,
        "--layout",
        "gdlt",
        "--dataset",
        dataset,
        "--backbone",
        "vst",
        "--out",
        tmp_path / "o.h5",
        "--labels",
        table,
    )
    table.write_text(f"{first}\n1,2\n")
    message = run(*call, status=2)
    assert "its first line must name the columns, separated by commas, video_id among them" in message
    assert repr(first) in message and more in message
    table.write_bytes("video_id,split\nJos\xe9,train\n".encode("latin-1"))
    assert "save it as CSV in UTF-8" in run(*call, status=2)


def test_parts_of_an_import_that_was_stopped_after_it_was_published(tmp_path, monkeypatch):
    folder, out = write_folder(tmp_path / "in"), tmp_path / "out.h5"

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(parts, "_clear", stopped)
    import_folder(folder, out, status=130)
    monkeypatch.undo()
    before = out.read_bytes()
    import_folder(folder, out, "--dry-run", status=2)
    assert parts.parts_folder(out).exists()
    assert "already holds vst features of this recipe" in import_folder(folder, out, status=2)
    assert not parts.parts_folder(out).exists() and out.read_bytes() == before

    head, other = header(), video(IDS[3], 2)
    with parts.part_writer(out) as writer:
        writer.append("fisv", labels([IDS[3]]), {head: other})
    assert "already holds vst features of this recipe" in import_folder(folder, out, status=2)
    assert len(list_parts(out)) == 1 and out.read_bytes() == before, "parts of others are not published by a refusal"


def test_a_second_recipe_joins_and_the_same_is_refused(tmp_path):
    folder, out = write_folder(tmp_path / "in"), tmp_path / "out.h5"
    import_folder(folder, out)
    assert "already holds vst features of this recipe" in import_folder(folder, out, status=2)
    assert "fps: None before, 25.0 now" in import_folder(folder, out, "--fps", "25", status=2)
    import_folder(folder, out, "--fps", "25", "--beside")
    with open_store(out) as store:
        assert len({stream.name for stream in store.streams}) == 2


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda folder: None, "there is no file or folder"),
        (lambda folder: folder.mkdir(), "holds no file *.npy"),
        (lambda folder: (folder.mkdir(), np.save(folder / "x.npy", np.zeros((2, 2)))), "none of the 1 videos"),
    ],
)
def test_folders_without_a_dataset(tmp_path, make, message):
    make(tmp_path / "in")
    assert message in import_folder(tmp_path / "in", tmp_path / "out.h5", status=2)


def test_labels_of_the_authors(tmp_path):
    """Two files without a header, as Fis-V has them."""
    folder = write_folder(tmp_path / "in")
    (tmp_path / "train.txt").write_text(f"{IDS[0]} 20.5 21.5 0\n{IDS[1]} 30 31 -1\n")
    (tmp_path / "test.txt").write_text(f"{IDS[2]} 25 26 0\n")
    import_folder(folder, tmp_path / "out.h5", "--labels", tmp_path / "train.txt", "--labels", tmp_path / "test.txt")
    with open_store(tmp_path / "out.h5") as store:
        assert store.labels.splits == ("train", "train", "test")
        assert store.labels.scores[:, :2].tolist() == [[20.5, 21.5], [30, 31], [25, 26]]


def test_text_features(tmp_path):
    texts = np.random.default_rng(0).normal(size=(102, 8)).astype(np.float32)
    torch.save(torch.from_numpy(texts), tmp_path / "text.npy")
    call = (tmp_path / "text.npy", "--layout", "text", "--dataset", "fisv", "--out", tmp_path / "out.h5")
    run(*call, "--text", "mlavl", "--encoder", "vifi-clip")
    with open_store(tmp_path / "out.h5") as store:
        text = store.text("mlavl")
        np.testing.assert_array_equal(text.group("visual_grades"), texts[96:])
        assert text.header.encoder == "vifi-clip" and text.texts[96] == "a video of bad action performance"
    assert "has 105 texts" in run(*call, "--text", "qgvl", status=2)
    assert "no prompt set 'nothing'" in run(*call, "--text", "nothing", status=2)
    assert "needs --text" in run(*call, status=2)
    assert "not for layout text" in run(*call, "--text", "mlavl", "--dry-run", status=2)
    np.save(tmp_path / "text.npy", np.full((102, 8), "abc"))
    message = run(*call, "--text", "mlavl", status=2)
    assert "holds <U3 (102, 8)" in message and "numbers of (102, dim) are expected" in message


def test_real_features(shared, tmp_path):
    source = shared / "data" / "fisv" / "swintx_avg_fps25_clip32"
    (tmp_path / "in").mkdir()
    files = sorted(source.glob("*.npy"))[:5]
    for file in files:
        shutil.copy(file, tmp_path / "in")
    import_folder(tmp_path / "in", tmp_path / "out.h5")
    with open_store(tmp_path / "out.h5") as store:
        stream = store.stream()
        for row, record in enumerate(stream.records):
            np.testing.assert_array_equal(stream.read(row).features, np.load(source / f"{record.video_id}.npy"))
        assert len(stream.records) == 5


def test_a_video_that_half_precision_cannot_hold_does_not_stop_the_others(tmp_path):
    folder = write_folder(tmp_path / "in")
    np.save(folder / f"{IDS[0]}.npy", np.full((2, 6), 1e6, np.float32))
    output = import_folder(folder, tmp_path / "out.h5", "--dtype", "float16", status=1)
    assert "values up to 1e+06 are too large for float16" in output and "2 videos" in output


def test_names_with_decomposed_accents_are_those_of_the_labels(tmp_path):
    """As macOS writes them into archives."""
    folder = tmp_path / "in"
    folder.mkdir()
    np.save(folder / "cafe\u0301.npy", np.ones((2, 6), np.float32))
    (tmp_path / "m.csv").write_text("video_id,score_total\ncaf\u00e9,3\n", encoding="utf-8")
    call = (
        folder,
        "--layout",
        "gdlt",
        "--manifest",
        tmp_path / "m.csv",
        "--backbone",
        "vst",
        "--out",
        tmp_path / "o.h5",
    )
    run(*call)
    with open_store(tmp_path / "o.h5") as store:
        assert [record.video_id for record in store.stream("vst").records] == ["caf\u00e9"]
    np.save(folder / "caf\u00e9.npy", np.ones((2, 6), np.float32))
    assert "are both video caf" in run(*call[:-1], tmp_path / "p.h5", status=2)
