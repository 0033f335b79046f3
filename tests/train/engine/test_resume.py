"""Interrupted training that is resumed gives the same results as training without interruption."""

import fcntl
import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from longtake.train.cli import main
from longtake.train.engine import parallel, resume
from longtake.train.errors import SettingsError
from longtake.train.protocol.options import Options
from longtake.train.runs import folder as report
from longtake.train.runs.fit import fit, open_experiment, train_into
from longtake.train.runs.folder import LOCK, RunFolder
from longtake.train.sweep import Cell, run_cell
from tests.calls import invoke
from tests.train.planted import planted_store

EPOCHS = 5


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status).output


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("planted") / "planted.h5"
    return planted_store(path, num_train=16, num_test=8, dim=12, difficulties=(1.0, 2.0))


@pytest.fixture(autouse=True)
def after_every_epoch(monkeypatch):
    monkeypatch.setattr(resume, "EVERY_SECONDS", 0.0)


def common(settings):
    return {"scores": ("total",), "overrides": tuple(sorted(settings.items()))}


def trained(store, out, options, *, again=False, stop_after=None):
    """Content of the folder at the end. With `stop_after`, the user interrupts after so many epochs of all models."""
    experiment, _ = open_experiment(store if isinstance(store, list) else [store], options)
    reported = []

    def on_epoch(model, epoch):
        reported.append((model.seed, epoch.index))
        if len(reported) == stop_after:
            raise KeyboardInterrupt

    try:
        results = list(train_into(out, experiment, on_epoch, again))
    except KeyboardInterrupt:
        return None, reported
    assert stop_after is None and all(result.fitted.head is None for result in results)
    metrics = json.loads((out / "metrics.json").read_text())
    for row in (*metrics["table"], *metrics["models"]):
        del row["seconds_per_epoch"]
    metrics["models"].sort(key=lambda row: (row["category"], row["seed"], row["control"]))
    heads = {path.name: load_file(path) for path in sorted((out / "checkpoints").iterdir())}
    predictions = sorted((out / "predictions.csv").read_text().splitlines())
    return (metrics, heads, predictions), reported


def require_equal(one, other):
    assert one[0] == other[0] and one[2] == other[2] and one[1].keys() == other[1].keys()
    for name, tensors in one[1].items():
        assert tensors.keys() == other[1][name].keys()
        assert all(torch.equal(tensor, other[1][name][key]) for key, tensor in tensors.items())


@pytest.mark.parametrize(
    "head, settings",
    [
        ("gdlt", {"width": 16, "optimizer": "sgd", "validation": 0.25, "window": 12}),
        ("gslm", {"optimizer": "adamw", "scores": 11}),
        ("core", {"optimizer": "adam", "dropout": None}),
        ("i3d-mlp", {"validation": 0.25}),
        ("hgcn", {"clips": 12, "width": 16, "dropout": None}),
    ],
)
def test_a_resumed_run_is_the_run(tmp_path, store, head, settings):
    settings = {"epochs": EPOCHS, "dropout": 0.3, "batch_size": 6, **settings}
    settings = {name: value for name, value in settings.items() if value is not None}
    options = Options(head=head, seeds=2, control=True, floor=True, **common(settings))
    whole, reported = trained(store, tmp_path / "whole", options)
    # Two seeds, each with its control: in the second of the four models, and then in the fourth.
    first, before = trained(store, tmp_path / "parts", options, stop_after=EPOCHS + 3)
    second, between = trained(store, tmp_path / "parts", options, again=True, stop_after=2 * EPOCHS)
    parts, after = trained(store, tmp_path / "parts", options, again=True)
    assert first is second is None
    require_equal(parts, whole)
    # Only the epoch that was interrupted before it was saved is trained again.
    assert len(before) + len(between) + len(after) == len(reported) + 2
    again, heard = trained(store, tmp_path / "parts", options, again=True)
    require_equal(again, whole)
    assert not heard and {path.suffix for path in (tmp_path / "parts" / "resume").iterdir()} == {".json"}
    ours, theirs = (sorted((tmp_path / run / "epochs.csv").read_text().splitlines()) for run in ("parts", "whole"))
    assert ours == theirs and len(ours) == 1 + 4 * EPOCHS


def test_a_unified_model_is_resumed_for_all_its_datasets(tmp_path):
    made = {"num_train": 12, "num_test": 6, "dim": 12, "world": 0, "categories": ("A", "B")}
    stores = [planted_store(tmp_path / f"{n}.h5", dataset=n, seed=k, **made) for k, n in enumerate(("one", "two"))]
    settings = {"epochs": EPOCHS, "width": 16, "batch_size": 6}
    options = Options(head="gdlt", seeds=2, overrides=tuple(settings.items()))
    whole, _ = trained(stores, tmp_path / "whole", options)
    trained(stores, tmp_path / "parts", options, stop_after=EPOCHS + 2)
    parts, reported = trained(stores, tmp_path / "parts", options, again=True)
    require_equal(parts, whole)
    assert len(parts[0]["models"]) == 8 and len(reported) == EPOCHS - 1


def test_a_run_in_processes_is_resumed_in_one(tmp_path, store):
    settings = {"batch_size": 6, "epochs": EPOCHS, "scores": 11}
    options = {"head": "gslm", "seeds": 3, "floor": False, **common(settings)}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole, _ = trained(store, tmp_path / "whole", Options(**options))
        stopped, _ = trained(store, tmp_path / "parts", Options(**options, parallel="processes"), stop_after=EPOCHS + 2)
        left = [path.name for path in (tmp_path / "parts" / "resume").iterdir()]
        parts, reported = trained(store, tmp_path / "parts", Options(**options), again=True)
    finally:
        torch.set_num_threads(threads)
    assert stopped is None and left and len(reported) < 3 * EPOCHS
    (ours, theirs) = ([model["test"]["mse"] for model in metrics["models"]] for metrics in (parts[0], whole[0]))
    assert ours == pytest.approx(theirs, rel=1e-4) and len(parts[1]) == 3


def test_the_command_resumes(tmp_path, store, monkeypatch):
    real, calls = parallel.fit, []

    def interrupted(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **keywords)

    monkeypatch.setattr(parallel, "fit", interrupted)
    out = tmp_path / "run"
    call = ["heads", "--features", store, "--head", "gdlt", "--score", "total", "--epochs", 1, "--set", "width=16"]
    call += ["--no-floor", "--seeds", 3, "--out", out]
    assert f"Run the same command with --resume --out {out} to resume" in run(*call, status=130)
    said = run(*call, "--resume", "--parallel", "none")
    assert said.count("finished before") == 1 and len(calls) == 4
    assert len(json.loads((out / "metrics.json").read_text())["models"]) == 3
    assert run(*call, "--resume", "--device", "cpu").count("finished before") == 3 and len(calls) == 4
    assert "finished before" not in run(*call) and len(calls) == 7, "without --resume all models are trained again"
    assert "finished before" not in run(*call[:-1], tmp_path / "new", "--resume"), "there is nothing to resume yet"


def test_another_run_is_not_resumed(tmp_path, store):
    other = planted_store(tmp_path / "other.h5", num_train=16, num_test=8, dim=12, difficulties=(1.0, 2.0), seed=1)
    out = tmp_path / "run"
    call = ["heads", "--score", "total", "--head", "i3d-mlp", "--no-floor", "--out", out, "--resume", "--features"]
    run(*call, store, "--epochs", 1)
    assert "holds another run (data_id): give a folder of its own with --out" in run(
        *call, other, "--epochs", 1, status=2
    )
    assert "another run (settings)" in run(*call, store, "--epochs", 2, status=2)
    copy = shutil.copy(store, tmp_path / "copy.h5")
    assert "finished before" in run(*call, copy, "--epochs", 1), "the content of the store counts, not its name"


def tensors_of(file):
    with safe_open(file, framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()


def rewrite(file, *, tensor=None, replaced=None, **metadata):
    """Change a resume file: remove or replace a tensor, or replace metadata."""
    tensors, known = tensors_of(file)
    if tensor:
        (name,) = [name for name in tensors if name.endswith(tensor)][:1]
        tensors.pop(name) if replaced is None else tensors.update({name: replaced})
    save_file(tensors, file, known | metadata)


REACHED = {"epochs": 1, "best": None, "selected": None, "best_validation": 0.0, "training_seconds": 1.0}
DAMAGES = {
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:-10]),
    "no tensors": lambda file: save_file({}, file, tensors_of(file)[1]),
    "weights of another head": lambda file: rewrite(file, tensor=".weight", replaced=torch.zeros(1)),
    "a tensor of the optimizer that is too small": lambda file: rewrite(file, tensor="momentum_buffer", replaced=torch.zeros(1)),
    "a missing tensor of the optimizer": lambda file: rewrite(file, tensor="momentum_buffer"),
    "too many epochs": lambda file: rewrite(file, reached=json.dumps(REACHED | {"epochs": 3})),
    "epochs as text": lambda file: rewrite(file, reached=json.dumps(REACHED | {"epochs": "1"})),
    "seconds as text": lambda file: rewrite(file, reached=json.dumps(REACHED | {"training_seconds": "long"})),
    "a generator without a state": lambda file: rewrite(file, rng='{"bit_generator": "PCG64", "state": -1}'),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_resume_file_is_named(tmp_path, store, what):
    options = Options(head="gdlt", floor=False, **common({"epochs": 3, "width": 16, "optimizer": "sgd"}))
    trained(store, tmp_path / "run", options, stop_after=2)
    (state,) = (tmp_path / "run" / "resume").iterdir()
    DAMAGES[what](state)
    call = ["heads", "--features", store, "--head", "gdlt", "--score", "total", "--epochs", 3, "--set", "width=16"]
    call += ["--set", "optimizer=sgd", "--no-floor", "--resume", "--out", tmp_path / "run"]
    said = run(*call, status=2)
    assert f"{state.name} is damaged and training cannot resume" in said and "delete it" in said
    state.unlink()
    run(*call)


@pytest.fixture
def finished(tmp_path, store):
    """A call that resumes a finished run of one model, and the results file of that model."""
    call = ["heads", "--features", store, "--head", "i3d-mlp", "--score", "total", "--epochs", 1, "--no-floor"]
    call += ["--resume", "--out", tmp_path / "run"]
    run(*call)
    assert "finished before" in run(*call)
    return call, tmp_path / "run" / "resume" / "A-total-seed0.json"


@pytest.mark.parametrize(
    "damage", ["[" * 100_000, "{}", {"predicted": [1.0]}, {"test": {"spearman": "high"}}, {"seconds_per_epoch": "0.5"}]
)
def test_a_finished_model_that_is_damaged_is_named(finished, damage):
    call, record = finished
    known = json.loads(record.read_text())
    record.write_text(damage if isinstance(damage, str) else json.dumps(known | damage))
    assert f"{record.name} is damaged and training cannot resume" in run(*call, status=2)


def test_files_of_another_run_are_not_used(finished, monkeypatch):
    """The run is identified in config.json and in each file."""
    call, record = finished
    with monkeypatch.context() as trusting:
        trusting.setattr(RunFolder, "_require_mine", lambda *_: None)
        assert "finished before" not in run(*call, "--set", "lr=0.5")
    (record.parents[1] / "config.json").unlink()
    assert "checkpoints of no run" in run(*call, "--set", "lr=0.5", status=2)
    (record.parents[1] / "config.json").write_text("[]")
    assert "config.json cannot be read" in run(*call, "--set", "lr=0.5", status=2)


def test_a_model_without_its_checkpoint_is_trained_again(finished):
    call, record = finished
    (checkpoint,) = (record.parents[1] / "checkpoints").iterdir()
    checkpoint.unlink()
    assert "finished before" not in run(*call) and checkpoint.exists()


def test_files_have_the_permissions_of_the_umask(tmp_path, store):
    (tmp_path / "plain").touch()
    options = Options(head="gdlt", floor=False, seeds=2, **common({"epochs": 2, "width": 16}))
    trained(store, tmp_path / "run", options, stop_after=4)
    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file() and "tensorboard" not in path.parts]
    assert {path.suffix for path in written} == {".json", ".csv", ".md", ".safetensors", ""} and len(written) == 9
    assert {path.stat().st_mode for path in written} == {(tmp_path / "plain").stat().st_mode}


def test_kept_results_are_written_once(tmp_path, store, monkeypatch):
    options = Options(head="i3d-mlp", floor=False, seeds=3, **common({"epochs": 1}))
    whole, _ = trained(store, tmp_path / "run", options)
    (tmp_path / "run" / "metrics.json").unlink()
    counted = []
    real = RunFolder._write_results
    monkeypatch.setattr(RunFolder, "_write_results", lambda folder: (counted.append(1), real(folder)))
    again, _ = trained(store, tmp_path / "run", options, again=True)
    assert len(counted) == 1 and again[0] == whole[0]


def test_a_cell_of_a_sweep_is_resumed(tmp_path, store, monkeypatch):
    real, calls = parallel.fit, []

    def interrupted(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **keywords)

    monkeypatch.setattr(parallel, "fit", interrupted)
    cell = Cell("gdlt", "planted", "", 0)
    choices = {"scores": ("total", "difficulty"), "epochs": 1, "width": 16}
    with pytest.raises(KeyboardInterrupt):
        run_cell(tmp_path, store, cell, choices=choices)
    assert run_cell(tmp_path, store, cell, choices=choices).error is None and len(calls) == 3, (
        "the first of two is kept"
    )


def test_a_full_disk_does_not_end_the_training(tmp_path, store, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(resume, "write_sealed", full)
    monkeypatch.setattr(resume.ResumePoint, "finish", lambda *_: None)
    options = Options(head="gdlt", floor=False, **common({"epochs": 3, "width": 16}))
    assert trained(store, tmp_path / "run", options)[0] is not None
    assert "cannot be saved, so --resume would start from an earlier epoch: [Errno 28]" in caplog.text


def test_score_ranges_of_a_unified_model_identify_it(tmp_path):
    made = {"num_train": 12, "num_test": 6, "dim": 12, "world": 0}
    stores = [planted_store(tmp_path / f"{n}.h5", dataset=n, seed=k, **made) for k, n in enumerate(("one", "two"))]
    experiment, _ = open_experiment(stores, Options(head="i3d-mlp"))
    part = experiment.parts[1]
    unit = replace(part.unit, scale=replace(part.unit.scale, maximum=60.0))
    other = replace(experiment, parts=(experiment.parts[0], replace(part, unit=unit)))
    assert other.data_id != experiment.data_id and other.run_id != experiment.run_id


def test_two_models_with_one_file_name_are_refused(tmp_path):
    store = planted_store(tmp_path / "s.h5", num_train=6, num_test=4, categories=("A B", "A_B"))
    said = run("heads", "--features", store, "--head", "i3d-mlp", "--epochs", 1, "--out", tmp_path / "run", status=2)
    assert "'A B total' and 'A_B total' would have the same checkpoint, A_B-total-seed0: rename one" in said


def test_one_process_trains_in_a_folder(finished):
    call, record = finished
    with (record.parent.parent / LOCK).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        said = run(*call, status=2)
        assert f"another process trains in {record.parent.parent} now" in said
        assert f"delete the lock file {record.parent.parent / LOCK}" in said
    assert "finished before" in run(*call)


def test_a_disk_without_locks(finished, monkeypatch):
    """Some cluster file systems have none, and filelock raises an error."""

    def none(lock, **_):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("longtake.train.runs.folder.FileLock.acquire", none)
    assert "finished before" in run(*finished[0])


def test_versions_of_both_halves_are_reported(finished, monkeypatch):
    call, record = finished
    now = report.versions()
    monkeypatch.setattr(report, "versions", lambda: now | {"torch": "99.0"})
    assert f"computed by other versions (torch {now['torch']} then, 99.0 now)" in run(*call)
    assert "other versions" not in run(*call)
    page = (record.parent.parent / "README.md").read_text()
    assert "torch 99.0" in page and f"before it was resumed | longtake {now['longtake']}, torch {now['torch']}," in page
    run("report", record.parent.parent)
    page = (record.parent.parent / "report.html").read_text()
    assert (
        "torch 99.0" in page
        and f"before it was resumed</dt><dd>longtake {now['longtake']}, torch {now['torch']}," in page
    )
    assert "before it was resumed" not in card_of_a_new_run(call)


def card_of_a_new_run(call):
    run(*(argument for argument in call if argument != "--resume"))
    return (call[-1] / "README.md").read_text()


def test_a_folder_is_asked_for(store):
    assert "--resume needs --out" in run("heads", "--features", store, "--resume", status=2)
    with pytest.raises(SettingsError, match="resume=True needs out=FOLDER"):
        fit(store, resume=True)
