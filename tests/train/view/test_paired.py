"""Paired tests in the pages are those of `train compare --test`."""

import json

import pytest

from longtake.features.catalog.site import Site, plain_json, write
from longtake.features.catalog.walk import Folders
from longtake.train.runs.pairs import compare_pair
from longtake.train.view import paired
from longtake.train.view.build import read
from longtake.train.view.paired import PairedTests, papers_of
from longtake.train.view.runs import RunRow
from tests.train.view.conftest import write_run


def run_row(name, dataset="gym", part_of=""):
    return RunRow(name, f"/secret/{name}", dataset=dataset, part_of=part_of)


@pytest.fixture
def tests(made):
    names = ["one", "two", "undefined", "damaged"]
    folders = [made / "runs" / name for name in names]
    return PairedTests([*folders[:3], None], [run_row(name) for name in names])


def test_a_pair_is_that_of_the_command(tests, made):
    found = compare_pair(made / "runs" / "two", made / "runs" / "one")
    assert tests.of_two([1, 0])[:2] == [found.num_videos, found.spearman] and tests.of_two([1, 0])[5] == found.mse_ratio


@pytest.mark.parametrize("numbers", [[0], [0, 9], [0, 3], [0, 1, 2]])
def test_no_such_pair(tests, numbers):
    assert tests.of_two(numbers) == "there is no such run, or it cannot be read"


def test_why_two_are_not_compared_names_the_runs_alone(tests, made, tmp_path):
    tests.runs[1] = run_row("two", "other")
    assert tests.of_two([0, 1]) == "they are on different datasets"
    (tmp_path / "predictions.csv").write_text(
        (made / "runs" / "one" / "predictions.csv").read_text().replace("a,", "c,")
    )
    other = PairedTests([made / "runs" / "one", tmp_path], [run_row("one"), run_row("two")])
    assert other.of_two([0, 1]) == "one and two were not tested on the same videos, scores and folds"


def test_an_export_has_all_pairs_or_those_of_single_runs(tests, monkeypatch):
    tests.runs[2] = run_row("undefined", part_of="sweep")
    for most, which, names in ((6, "all", [0, 1, 2]), (5, "single", [0, 1]), (1, "", [])):
        monkeypatch.setattr(paired, "MOST_PAIRS", most)
        site = Site()
        assert tests.add(site) == which and sorted(site.data) == [f"paired-{number}" for number in names]
    monkeypatch.setattr(paired, "MOST_PAIRS", 6)
    tests.add(site)
    ((other, found), *_) = json.loads(site.json("paired-0"))
    assert other == 1 and found == json.loads(plain_json(tests.of_two([0, 1])))


def test_data_that_a_server_makes_when_it_is_asked(made):
    with Folders.of([made]) as folders:
        site = read(folders).site
        assert json.loads(site.json("index"))["paired"] == "asked"
        numbers = {run["name"]: number for number, run in enumerate(json.loads(site.json("runs")))}
        one, two = numbers["runs/one"], numbers["runs/two"]
        assert json.loads(site.json(f"paired-{two}-{one}"))[0] == 2
        for name in ("paired", "paired-x-1", "paired-1-99999999999", "other-1-2"):
            with pytest.raises(KeyError):
                site.json(name) if name != "paired" else site.data[name]
        exported = read(folders, for_export=True).site
        assert json.loads(exported.json("index"))["paired"] == "all" and f"paired-{one}" in exported.data


def test_papers_of_the_datasets():
    found = papers_of([run_row("a", "rg"), run_row("b", "rg"), run_row("c", "mine"), run_row("d", "")])
    assert list(found) == ["rg"] and "Ball total" in found["rg"][0]["spearman"]


def test_the_first_chosen_run_is_the_one_to_test_against(tmp_path, browser):
    for name in "ab":
        write_run(tmp_path / "lab" / name)
    with Folders.of([tmp_path / "lab"]) as folders:
        write(read(folders, for_export=True).site, tmp_path / "lab.html")
    for address, said in (("1,0", "a against b"), ("0,1", "b against a"), ("1,0?against=0", "b against a")):
        opened = browser.open(f"{(tmp_path / 'lab.html').as_uri()}#/compare/{address}")
        opened.page.wait_for_selector("text=Paired test")
        assert said in opened.page.inner_text("main")
