"""Bench files: all faults together, and the installed ones are valid."""

import pytest

from longtake.train.bench.file import FOLDER, find_bench, read_bench
from longtake.train.errors import DataError, SettingsError
from tests.train.bench.benches import FILE, bench_file


def test_it_is_read(tmp_path):
    bench = read_bench(bench_file(tmp_path, tmp_path / "s.h5"))
    assert list(bench.heads) == ["ridge", "gdlt", "heard"] and bench.heads["heard"].head == "avcf"
    assert bench.settings_of(bench.heads["gdlt"]).ways[0].settings == {"epochs": 2, "precision": "float32", "width": 16}
    assert bench.settings_of(bench.heads["ridge"]).ways[0].settings == {}, "nothing for a head without gradient steps"
    assert bench.datasets["planted"].dataset == "planted" and bench.splits["random"].folds == 2


def test_all_faults_are_reported_together(tmp_path):
    text = FILE.replace("seeds = 2", "seeds = 0").replace('"mse"]', '"msa"]').replace("width = 16", "widht = 16")
    text += '[heads.gslm]\npreset = "tunde"\n[heads.gdl]\n[heads.usdl]\nstreams = ["flow"]\n'
    with pytest.raises(DataError) as error:
        read_bench(bench_file(tmp_path, tmp_path / "s.h5", text))
    for part in ("seeds must be 1", "'msa'; did you mean mse", "heads.gdlt: head gdlt has no setting 'widht'",
                 "heads.gslm: no preset is called 'tunde'", "heads.gdl: no head is called 'gdl'; did you mean gdlt",
                 "heads.usdl: --stream takes NAME=BACKBONE"):  # fmt: skip
        assert part in str(error.value), part


def test_types_and_unknown_entries(tmp_path):
    text = FILE.replace("folds = 2", 'folds = "five"').replace('title = "Planted"', "title = 1\nmetric = 2")
    with pytest.raises(DataError) as error:
        read_bench(bench_file(tmp_path, tmp_path / "s.h5", text))
    for part in (
        "title must be text",
        "unknown entry 'metric'; did you mean metrics",
        'folds must be a whole number, "groups" or "leave-one-out"',
    ):
        assert part in str(error.value), part


@pytest.mark.parametrize(
    "entry, message",
    [
        ("choices = [{}]", "takes two or more"),
        ('preset = "tuned"\nchoices = [{}, {}]', "go into each of choices"),
        ("inner_folds = 1\nchoices = [{}, {}]", "inner_folds must be 2 or more"),
        ("settings = { width = [1] }", "settings.width must be text, a number"),
    ],
)
def test_what_a_head_cannot_have(tmp_path, entry, message):
    with pytest.raises(DataError, match=message):
        read_bench(
            bench_file(
                tmp_path, tmp_path / "s.h5", FILE + "\n[heads.usdl]\n" + entry.replace("{", "{{").replace("}", "}}")
            )
        )


@pytest.mark.parametrize(
    "entry, message",
    [
        ("folds = 1", "folds must be 0"),
        ('group = "skater"', "group goes with a number of folds"),
        ('folds = "groups"', '"groups" with a group'),
        ('folds = "leave-one-out"\ngroup = "skater"', "group goes with a number of folds"),
    ],
)
def test_what_a_split_cannot_have(tmp_path, entry, message):
    with pytest.raises(DataError, match=message):
        read_bench(bench_file(tmp_path, tmp_path / "s.h5", FILE.replace("folds = 2", entry)))


def test_damaged_files(tmp_path):
    path = tmp_path / "b.toml"
    path.write_text("title = ")
    with pytest.raises(DataError, match="damaged"):
        read_bench(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_bench(tmp_path)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_installed_benches(path):
    assert find_bench(path.stem) == path
    assert read_bench(path).heads


def test_unknown_bench():
    with pytest.raises(SettingsError, match="did you mean fisv"):
        find_bench("fisvv")
