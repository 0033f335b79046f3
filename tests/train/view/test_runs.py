"""Rows of runs, sweeps and benches; what is broken is a row with its reason."""

import json

from longtake.features.catalog.walk import Folders
from longtake.train.view.runs import (
    MARKERS,
    RUN,
    Predictions,
    read_bench_row,
    read_run_row,
    read_sweep_row,
    runs_on,
)


def rows(lab, read):
    with Folders.of([lab]) as folders:
        return {one.name: read(folders, one) for one in folders.find(MARKERS)}


def test_a_run(made):
    row, folder = rows(made, read_run_row)["runs/one"]
    assert (row.head, row.dataset, row.features, row.num_models, row.fault) == ("ridge", "gym", "vst", 1, "")
    (figures,) = row.rows
    assert (figures.spearman, figures.spearman_interval, figures.mse_interval) == (0.5, [0.1, 0.9], None)
    assert figures.floor_spearman is None or figures.floor_spearman != figures.floor_spearman, "missing, never 0"
    assert folder == made / "runs" / "one"


def test_a_damaged_run_is_a_row(made):
    row, folder = rows(made, read_run_row)["runs/damaged"]
    assert folder is None and "metrics.json is damaged" in row.fault and str(made) not in row.fault


def test_predictions_are_means_over_heads_without_controls(made):
    predictions = Predictions([made / "runs" / "one", None, made / "runs"])
    assert predictions.of_run(0)["videos"] == [["a", "Ball", "total", 0.0, 0.5, 2], ["b", "Ball", "total", 1.0, 1.5, 2]]
    assert predictions.of_run(1)["fault"] and "predictions.csv" in predictions.of_run(2)["fault"]
    assert predictions.of_store(["x", "b"], [0, 2]) == [[0, [[1, "Ball", "total", 1.0, 1.5]]]]


def test_runs_of_a_dataset(made):
    found = [row for row, _ in rows(made, read_run_row).values() if row.name.startswith("runs/")]
    assert len(runs_on("gym", found)) == 3 and runs_on("g", found) == [] and runs_on("", found) == []


def test_sweeps(made):
    found = rows(made, read_sweep_row)
    (line,) = found["sweep"].lines
    assert (line["head"], line["spearman"], line["num_seeds"]) == ("ridge", 0.5, 1)
    assert "no cell of this sweep is finished" in found["empty-sweep"].fault


def test_a_sweep_reads_inside_the_folders_alone(lab, tmp_path):
    (lab / "sweep" / "ridge-vst-seed0").rename(tmp_path / "outside")
    (lab / "sweep" / "cell").symlink_to(tmp_path / "outside", target_is_directory=True)
    row = rows(lab, read_sweep_row)["sweep"]
    assert "outside of the given folders" in row.fault and row.lines == []


def test_benches(lab):
    row = rows(lab, read_bench_row)["bench"]
    assert (row.title, len(row.tables), row.tables[0]["rows"][0]["rank_high"]) == ("A bench", 1, 2)
    path = lab / "bench" / "leaderboard.json"
    changed = json.loads(path.read_text())
    changed["tables"][0]["rows"][0]["figures"]["total"]["spearman"]["value"] = "high"
    path.write_text(json.dumps(changed))
    assert "value must be" in rows(lab, read_bench_row)["bench"].fault
    path.write_text("[" * 100_000)
    assert "nested too deeply" in rows(lab, read_bench_row)["bench"].fault


def test_every_kind_has_its_file():
    assert MARKERS["metrics.json"] == RUN and len(set(MARKERS.values())) == 3
