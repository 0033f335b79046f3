"""Runs beside each other and beside the papers, whose tables are consistent with how we average."""

import json

import pytest
from click.testing import CliRunner

from tests.train.planted import planted_store
from train.cli import main
from train.compare import published_lines
from train.metrics import fisher_mean

AVERAGE = ("average", "")
MISPRINTS = {("MLAVL", "fisv"): 0.0042, ("ACTION-NET", "rg"): 0.0042, ("ViFi-CLIP", "unified"): 0.025}
"""Printed averages that fit no way of averaging, and by how much they are off."""


@pytest.mark.parametrize("dataset, digits", [("rg", 3), ("fisv", 3), ("fs1000", 2), ("unified", 3)])
def test_averages_of_the_papers_are_fishers(dataset, digits):
    checked = 0
    for line in published_lines(dataset):
        single = [value for key, value in line.spearman.items() if key != AVERAGE]
        if len(single) < 2 or AVERAGE not in line.spearman:
            continue
        allowed = MISPRINTS.get((line.method, dataset), 0.002 if digits == 3 else 0.0101)
        assert fisher_mean(single) == pytest.approx(line.spearman[AVERAGE], abs=allowed), line
        errors = [value for key, value in line.mse.items() if key != AVERAGE]
        if errors and (line.method, dataset) not in {("ViFi-CLIP", "unified"), ("CLIP", "unified")}:
            assert sum(errors) / len(errors) == pytest.approx(
                line.mse[AVERAGE], abs={2: 0.5, 3: 0.051 if dataset == "unified" else 0.02}[digits]
            ), line
        checked += 1
    assert checked > 10


def run(*arguments, status=0):
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == status, (done.output, done.exception)
    return done.output


def test_two_runs_and_a_paper(tmp_path):
    store = planted_store(tmp_path / "p.h5", num_train=8, num_test=4)
    for head in ("ridge", "gdlt"):
        run("heads", "--features", store, "--head", head, "--epochs", 1, "--no-floor", "--out", tmp_path / head)
    output = run("compare", tmp_path / "ridge", tmp_path / "gdlt")
    assert (
        "ridge (ridge)" in output and "gdlt (gdlt)" in output and "last epoch" in output and "best epoch" not in output
    )
    assert "no paper's table is known for the dataset planted" in run("compare", tmp_path / "gdlt", "--paper", status=2)
    metrics = json.loads((tmp_path / "gdlt" / "metrics.json").read_text())
    (tmp_path / "gdlt" / "metrics.json").write_text(json.dumps({**metrics, "dataset": "rg"}))
    assert "different datasets: planted, rg" in run("compare", tmp_path / "ridge", tmp_path / "gdlt", status=2)
    output = run("compare", tmp_path / "gdlt", "--paper", "--format", "markdown")
    assert "0.849 / 4.47" in output and "MLAVL, Table 3, best epoch on test" in output and output.count("|") > 100
    lines = json.loads(run("compare", tmp_path / "gdlt", "--paper", "--json"))
    assert lines[-1]["source"] == "last epoch" and "A total" in lines[-1]["spearman"]
    assert "not a finished run" in run("compare", tmp_path / "none", status=2)
