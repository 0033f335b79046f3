"""The benchmarks run, on sizes that say nothing about speed."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from longtake.train.heads import TABLE, get_head

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


def test_stores(tmp_path):
    call = [
        sys.executable,
        ROOT / "benchmarks" / "store.py",
        "--videos",
        "20",
        "--videos",
        "40",
        "--json",
        tmp_path / "s.json",
    ]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "s.json").read_text())["results"]
    assert set(results) == {"20", "40"} and set(results["20"]) >= {"longtake .h5", "longtake .zarr", "folder of .npy"}
    assert "open, read one s" in done.stdout and "at 40 over 20 videos" in done.stdout


def test_scale(tmp_path):
    def run(*arguments):
        call = [
            sys.executable,
            ROOT / "benchmarks" / "scale.py",
            "--sizes",
            "40",
            "--work",
            tmp_path / "work",
            *arguments,
        ]
        done = subprocess.run(
            [*call, "--json", tmp_path / "s.json"], capture_output=True, text=True, cwd=tmp_path, timeout=300
        )
        assert done.returncode == 0, done.stderr
        (table,) = json.loads((tmp_path / "s.json").read_text())["tables"]
        return {row["name"] for row in table["rows"]}, {ratio["name"] for ratio in table["ratios"]}

    rows, ratios = run("--kinds", ".h5")
    assert len(rows) == 10 and "train a head, `ridge`" in rows and "ten publications / one, .h5" in ratios
    assert run("--kinds", ".zarr", "--stages", "open")[0] == rows | {
        "publish all at once, .zarr", "open the store and read one video, .zarr"
    }  # fmt: skip
    assert not (tmp_path / "work" / "4-40").exists(), "what was made is removed"


def test_sharing(tmp_path):
    call = [sys.executable, ROOT / "benchmarks" / "sharing.py", "--stores", "2", "--videos", "3", "--rounds", "1"]
    done = subprocess.run(
        [*call, "--json", tmp_path / "s.json"], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (table,) = json.loads((tmp_path / "s.json").read_text())["tables"]
    assert len(table["rows"]) == 9 and len(table["ratios"]) == 2 and "pull one video, web server" in done.stdout


def test_features_beyond_memory(tmp_path):
    call = [
        sys.executable,
        ROOT / "benchmarks" / "beyond_memory.py",
        "--gigabytes",
        "0.02",
        "--limit",
        "5MB",
        "--steps",
        "2",
    ]
    done = subprocess.run(
        [*call, "--rounds", "1", "--json", tmp_path / "b.json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (table,) = json.loads((tmp_path / "b.json").read_text())["tables"]
    assert len(table["rows"]) == 6 and "steps a second, from the disk / in memory" in done.stdout


def test_planted_texts(tmp_path):
    call = [sys.executable, ROOT / "benchmarks" / "planted.py", "--videos", "8", "--worlds", "1", "--epochs", "2"]
    done = subprocess.run(
        [*call, "--json", tmp_path / "p.json"], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    arms = json.loads((tmp_path / "p.json").read_text())["spearman"]["8"]
    assert {"texts", "learnable vectors", "texts, one space"} <= set(arms) and all(len(v) == 1 for v in arms.values())
    assert "| texts, one space" in done.stdout
    # Texts in their space rank before much is learnt, and in another order they do not.
    assert arms["texts, one space"][0] > 0.7 > arms["shuffled texts, one space"][0]


def test_stages(tmp_path):
    """One small world: texts that say something help the host, texts drawn at random do not, and boundaries are found."""

    def run(*arguments):
        call = [sys.executable, ROOT / "benchmarks" / "stages.py", *arguments, "--json", tmp_path / "s.json"]
        done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, timeout=900)
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / "s.json").read_text())

    arms = {name: one for name, (one,) in run("--seeds", "1").items()}
    assert arms["stage texts"]["spearman"] > arms["host alone"]["spearman"] + 0.05
    nearer = (arms["host alone"]["spearman"] + arms["stage texts"]["spearman"]) / 2
    assert arms["texts shuffled"]["spearman"] < nearer
    assert arms["stage texts"]["aiou_75"] > 0.9 and arms["texts shuffled"]["aiou_75"] > 0.9
    counts = {row["part"]: row for row in run("--counts")["counts"]}
    parts = [row for name, row in counts.items() if name not in ("plug-in", "the paper's")]
    assert sum(row["parameters"] for row in parts) == counts["plug-in"]["parameters"]


def test_protocol(tmp_path):
    call = [
        sys.executable,
        ROOT / "benchmarks" / "protocol.py",
        "--dataset",
        "demo",
        "--head",
        "ridge",
        "--head",
        "gdlt",
    ]
    call += ["--set", "epochs=2", "--out", tmp_path / "runs"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith(("| ridge", "| gdlt"))]
    assert [[cell.strip() for cell in row[1:4]] for row in rows] == [["ridge", "2", ""], ["gdlt", "2", "4"]]
    again = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    results = [line for line in again.stderr.splitlines() if "Spearman" in line]
    assert len(results) == 4 and all(line.endswith("finished before") for line in results), (
        "what is there is not trained again"
    )
    assert again.stdout.count("| ridge") == 1


def test_cluster(tmp_path):
    def run(*arguments, into="--out"):
        call = [sys.executable, ROOT / "benchmarks" / "cluster.py", *arguments, into, tmp_path / "c.json"]
        done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, timeout=300)
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / "c.json").read_text())

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    small = ("--videos", "40", "--workers", "4", "--mean-seconds", "0.02", "--port", port)
    whole, where, *_ = run("simulate", *small, into="--json")["tables"]
    # Lost videos end the command. What workers did adds up to the makespan.
    spent = {row["name"]: row["values"][0] for row in where["rows"]}
    assert sum(spent.values()) == pytest.approx(whole["rows"][1]["values"][0])
    assert spent["videos"] == pytest.approx(whole["rows"][0]["values"][0]) and min(spent.values()) >= 0
    assert run("pack", "--videos", "5", "--clips", "3")["packed_per_second"] > 0


def test_training(tmp_path):
    call = [sys.executable, ROOT / "benchmarks" / "training.py", "--batch", "4", "--clips", "6", "--actions", "3"]
    call += ["--threads", "1"]
    done = subprocess.run(
        [*call, "--rounds", "1", "--json", tmp_path / "t.json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=800,
    )
    assert done.returncode == 0, done.stderr
    # A yardstick that computes something else ends the command.
    tables = json.loads((tmp_path / "t.json").read_text())["tables"]
    assert len(tables) == 3 and all(ratio["values"][0] > 0 for table in tables for ratio in table["ratios"])


def test_heads(tmp_path):
    call = [sys.executable, ROOT / "benchmarks" / "heads.py", "--batch", "2", "--clips", "9", "--dim", "64"]
    done = subprocess.run(
        [*call, "--rounds", "1", "--json", tmp_path / "h.json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    tables = json.loads((tmp_path / "h.json").read_text())["tables"]
    heads = {name for name in TABLE if not get_head(name).closed_form}
    plain = {"gdlt as published", "qtd as published", "t2cr as published", "pamfn as published"}
    for table in tables:
        rows = {row["name"] for row in table["rows"]}
        assert rows >= heads | plain and all(name.removesuffix(" as published") in heads for name in rows)
        assert len(table["ratios"]) == len(rows) - 1
    assert len(tables) >= 2


@pytest.mark.parametrize("features", [(), ("--white",)])
def test_jigsaws(tmp_path, features):
    call = [
        sys.executable,
        ROOT / "benchmarks" / "jigsaws.py",
        "--head",
        "ridge",
        "--task",
        "Knot Tying",
        "--worlds",
        "1",
        *features,
    ]
    done = subprocess.run(
        [*call, "--json", tmp_path / "j.json"], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "j.json").read_text())
    assert row["Knot Tying"] > 0.6


def test_loading(tmp_path):
    call = [sys.executable, ROOT / "benchmarks" / "loading.py", "--videos", "20", "--rounds", "1"]
    done = subprocess.run(
        [*call, "--json", tmp_path / "l.json"], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    for table in json.loads((tmp_path / "l.json").read_text())["tables"]:
        epoch, batches = (row["values"][0] for row in table["rows"])
        assert 0 < batches < epoch


def test_many_models_at_once(tmp_path):
    call = [sys.executable, ROOT / "benchmarks" / "parallel.py", "--way", "stacked", "--rounds", "1"]
    done = subprocess.run(
        [*call, "--json", tmp_path / "p.json"], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    tables = json.loads((tmp_path / "p.json").read_text())["tables"]
    assert len(tables) > 1 and all(
        [row["name"] for row in table["rows"]] == ["20 models, none", "20 models, stacked"] for table in tables
    )


def test_precision(tmp_path):
    call = [sys.executable, ROOT / "benchmarks" / "precision.py", "--head", "usdl", "--head", "gdlt", "--seeds", "1"]
    call += ["--steps", "2", "--rounds", "1", "--json", tmp_path / "p.json"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    if done.stdout.startswith("skipped"):
        pytest.skip("this processor does not compute in bfloat16")
    usdl, gdlt = json.loads((tmp_path / "p.json").read_text())["tables"]
    assert usdl["title"].startswith("`usdl`: auto takes float32") and "auto takes bfloat16" in gdlt["title"]
    # The same weights give nearly the same scores in both precisions, and not the same bits.
    assert 0 < gdlt["rows"][0]["values"][0] < 0.01


def test_busy(tmp_path):
    call = [sys.executable, ROOT / "benchmarks" / "busy.py", "--measure", "2", "--budget", "0.01"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 3 and min(found.values()) > 0


def test_allocator(tmp_path):
    call = [
        sys.executable,
        ROOT / "benchmarks" / "allocator.py",
        "--rounds",
        "1",
        *("--only resnet50 --only gdlt".split()),
    ]
    done = subprocess.run(
        [*call, "--json", tmp_path / "a.json"], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    network, step = json.loads((tmp_path / "a.json").read_text())["tables"]
    assert network["title"] == "`resnet50`, a batch" and step["title"].startswith("`gdlt`, a training step")
    for table in (network, step):
        assert [row["unit"] for row in table["rows"]] == ["s", "s", "MB", "MB"]
        assert min(row["values"][0] for row in table["rows"]) > 0


def test_startup(tmp_path):
    call = [sys.executable, ROOT / "benchmarks" / "startup.py", "--rounds", "1", "--json", tmp_path / "s.json"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    (table,) = json.loads((tmp_path / "s.json").read_text())["tables"]
    assert {"extract list", "features info", "train heads --help"} <= {row["name"] for row in table["rows"]}


def test_the_performance_page_is_what_the_results_give(tmp_path):
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "page.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    # Of a copy with another number it says so, and writes what is missing.
    for name in ("benchmarks", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "README.md", tmp_path)
    result = tmp_path / "benchmarks" / "results" / "startup.json"
    facts = json.loads(result.read_text())
    facts["tables"][0]["ratios"][0]["values"] = [77.0]
    result.write_text(json.dumps(facts))
    call = [sys.executable, tmp_path / "benchmarks" / "page.py"]
    stale = subprocess.run([*call, "--check"], capture_output=True, text=True)
    assert stale.returncode == 1 and "docs/performance.md" in stale.stdout and "README.md" in stale.stdout
    assert subprocess.run(call).returncode == 0
    assert "**missed**" in (tmp_path / "docs" / "performance.md").read_text()
    assert "| 77.00 | at most 0.3 | **missed** |" in (tmp_path / "README.md").read_text()
    assert subprocess.run([*call, "--check"]).returncode == 0


@pytest.mark.parametrize(("flags", "names"), [
    ([], ["1 finished video", "20 finished videos"]),
    (["--unpublished"], ["1 unpublished video", "19 unpublished videos"]),
])  # fmt: skip
def test_resuming(tmp_path, flags, names):
    call = [sys.executable, ROOT / "benchmarks" / "resume.py", "--videos", "20", "--rounds", "1", *flags]
    done = subprocess.run(
        [*call, "--json", tmp_path / "r.json"], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (table,) = json.loads((tmp_path / "r.json").read_text())["tables"]
    assert [row["name"] for row in table["rows"]] == names


def test_extraction(tmp_path):
    call = [
        sys.executable,
        ROOT / "benchmarks" / "extraction.py",
        "--backbone",
        "i3d",
        "--backbone",
        "resnet50",
        "--fps",
        "1",
    ]
    call += ["--num-videos", "1", "--seconds", "2", "--rounds", "1", "--batch-size", "2", "--json", tmp_path / "e.json"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr
    i3d, resnet, together = json.loads((tmp_path / "e.json").read_text())["tables"]
    rows = {row["name"]: row["values"][0] for row in i3d["rows"]}
    assert min(rows[name] for name in ("decode ceiling", "model ceiling", "reached", "a plain loop")) > 0
    busy = {ratio["name"]: ratio["values"][0] for ratio in i3d["ratios"]}[
        "i3d: share of the run in which the device was busy"
    ]
    assert 0 < busy <= 1
    assert [row["name"] for row in together["rows"]] == ["decode", "model i3d", "model resnet50", "run"]
    call = [sys.executable, ROOT / "benchmarks" / "extraction.py", "--no-model", "--num-videos", "1", "--seconds", "2"]
    call += ["--rounds", "1", "--json", tmp_path / "stub.json"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr
    (stub,) = json.loads((tmp_path / "stub.json").read_text())["tables"]
    assert [row["name"] for row in stub["rows"]] == ["decode", "stub"] and stub["ratios"][0]["at_most"] == 1.1


def test_memory(tmp_path):
    """A longer video takes a few MB more: its features and its list of clips. The shorter one fills all queues as well, or how full
    they happened to be would be compared; on a busy machine they do not always fill, but what grew with the video would grow every time."""
    call = [sys.executable, ROOT / "benchmarks" / "memory.py", "--short", "1", "--long", "5", "--rounds", "2"]
    done = subprocess.run(
        [*call, "--json", tmp_path / "m.json"], capture_output=True, text=True, cwd=tmp_path, timeout=600
    )
    assert done.returncode == 0, done.stderr
    (table,) = json.loads((tmp_path / "m.json").read_text())["tables"]
    assert 0 < min(table["ratios"][0]["values"]) < 1.2


def test_decoding(tmp_path):
    call = [sys.executable, ROOT / "benchmarks" / "decoding.py", "--frames", "10", "--rounds", "1"]
    without = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, timeout=300, env=without)
    assert done.returncode == 0 and done.stdout.startswith("skipped: no ffmpeg command on the PATH"), done.stderr
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg command on the PATH")
    done = subprocess.run(
        [*call, "--json", tmp_path / "d.json"], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (table,) = json.loads((tmp_path / "d.json").read_text())["tables"]
    assert [row["name"] for row in table["rows"]] == ["ffmpeg", "pyav", "pyav, own process", "pyav, Pillow's filter"]
    wall, processor = table["ratios"]
    assert wall["at_least"] == processor["at_least"] == 0.9 and wall["headline"]


def test_one_command_for_many_models(tmp_path):
    call = [sys.executable, ROOT / "benchmarks" / "commands.py", "--rounds", "1", "--seeds", "2", "--epochs", "1"]
    call += ["--category", "Ball", "--head", "i3d-mlp", "--json", tmp_path / "c.json"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    (table,) = json.loads((tmp_path / "c.json").read_text())["tables"]
    assert [row["name"] for row in table["rows"]] == ["2 commands", "one command"]
    assert min(row["values"][0] for row in table["rows"]) > 0 and table["ratios"][0]["at_most"] == 0.5


def test_faults(tmp_path):
    call = [sys.executable, ROOT / "benchmarks" / "faults.py", "--rounds", "1", "--flips", "5"]
    done = subprocess.run(
        [*call, "--json", tmp_path / "f.json"], capture_output=True, text=True, cwd=tmp_path, timeout=900
    )
    assert done.returncode == 0, done.stderr
    (table,) = json.loads((tmp_path / "f.json").read_text())["tables"]
    assert len(table["rows"]) == 11 and table["ratios"][0]["values"] == [0]
    tried = {row["name"]: row["values"][0] for row in table["rows"]}
    assert tried["stores with changed bytes"] == tried["checkpoints with changed bytes"] == 5


def test_faults_are_seen(tmp_path):
    """A comparison that finds nothing would find no fault."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "benchmarks")!r})
from pathlib import Path
from fault_world import Tally
from forked import CHANGED, EQUAL, REFUSED, call
from tests.features.fakes import make_store
if __name__ == "__main__":
    folder = Path({str(tmp_path)!r})
    one, other = (make_store(folder / f"{{seed}}.h5", {{"a": 5, "b": 3}}, seed=seed) for seed in (0, 1))
    torn = folder / "torn.h5"
    torn.write_bytes(one.read_bytes()[:-900])
    said = folder / "said"
    found = [call(said, "compare", one, store)[0] for store in (one, other, torn)]
    assert found == [EQUAL, CHANGED, REFUSED], found
    tally = Tally("x", "y")
    tally.plain((1, "Traceback (most recent call last)"), 1)
    tally.plain((2, "nothing said"), 2)
    tally.plain((0, ""), 0)
    assert len(tally.faults) == 2
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert done.returncode == 0, done.stderr


def test_view(tmp_path):
    call = [sys.executable, ROOT / "benchmarks" / "view.py", "--stores", "2", "--videos", "3", "--rounds", "1"]
    done = subprocess.run(
        [*call, "--json", tmp_path / "v.json"], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (table,) = json.loads((tmp_path / "v.json").read_text())["tables"]
    assert {"all videos", "sent for all videos"} <= {row["name"] for row in table["rows"]}


@pytest.mark.parametrize("alone", [False, True])
def test_runtimes(tmp_path, alone):
    """Commands by torch and by OpenVINO on one short video, and networks alone."""
    pytest.importorskip("openvino")
    call = [
        sys.executable,
        ROOT / "benchmarks" / "runtimes.py",
        "--backbone",
        "efficientnet-lite0",
        "--num-videos",
        "1",
    ]
    call += ["--seconds", "0.6", "--json", tmp_path / "r.json", *["--alone"] * alone]
    done = subprocess.run(
        call, capture_output=True, text=True, cwd=ROOT, timeout=600, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    *products, table = json.loads((tmp_path / "r.json").read_text())["tables"]
    names = {row["name"] for row in table["rows"]}
    assert {"network alone, OpenVINO, float32", "converting, OpenVINO, float32"} <= names
    if alone:
        assert all(value > 0 for row in products[0]["rows"] for value in row["values"])
        assert not any("whole command" in name for name in names)
    else:
        wanted = {"whole command, torch, float32", "whole command, OpenVINO, float32", "decoding alone"}
        assert wanted <= names and not products
        assert table["ratios"][0]["name"] == "efficientnet-lite0: OpenVINO, float32 / torch, float32"


def test_gpu_with_tests_that_fail(tmp_path):
    (tmp_path / "pytest.py").write_text("print('1 failed'); raise SystemExit(1)")
    how = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}, "capture_output": True, "text": True, "timeout": 600}
    code = f"import sys, pathlib; sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); import gpu; gpu.ROOT = pathlib.Path({str(tmp_path)!r}); gpu.main()"
    done = subprocess.run([sys.executable, "-c", code, "--device", "cpu", "--small"], cwd=tmp_path, **how)
    assert done.returncode == 1 and "1 failed" in done.stdout, done.stderr


def test_gpu_on_a_processor(tmp_path):
    """The same code as on a GPU, small; where there is none, the default says so and ends well."""
    import torch

    call = [sys.executable, ROOT / "benchmarks" / "gpu.py"]
    how = {
        "capture_output": True,
        "text": True,
        "cwd": ROOT,
        "timeout": 600,
        "env": {**os.environ, "PYTHONPATH": str(ROOT)},
    }
    done = subprocess.run([*call, "--device", "cpu", "--small", "--json", tmp_path / "g.json"], **how)
    assert done.returncode == 0, done.stderr
    tests, heads, backbone = json.loads((tmp_path / "g.json").read_text())["tables"]
    assert tests["rows"][0]["note"] and {row["name"] for row in heads["rows"]} == {
        "i3d-mlp, float32",
        "i3d-mlp, bfloat16",
    }
    assert {"decode ceiling", "model ceiling", "reached", "a plain loop"} <= {row["name"] for row in backbone["rows"]}
    assert any("device was busy" in ratio["name"] for ratio in backbone["ratios"])
    if not torch.cuda.is_available():
        done = subprocess.run(call, **how)
        assert done.returncode == 0 and "skipped: torch sees no GPU" in done.stdout


def test_planning(tmp_path):
    call = [sys.executable, ROOT / "benchmarks" / "planning.py", "--rows", "30", "--rounds", "1"]
    done = subprocess.run(
        [*call, "--json", tmp_path / "p.json"], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (table,) = json.loads((tmp_path / "p.json").read_text())["tables"]
    assert table["title"] == "30 rows" and table["rows"][-1]["name"].startswith("the whole")


def test_leaderboard():
    """The pages are what the cells give, or are not written before all cells are there."""
    call = [sys.executable, ROOT / "benchmarks" / "leaderboard.py", "--check"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT, timeout=600)
    if done.returncode:
        title, *rows = done.stderr.splitlines()
        assert title == "Error: the cells are not whole:", done.stdout + done.stderr
        assert rows and all(row.endswith((": not run", ": failed", " of 5 seeds")) for row in rows)


def test_tables_of_the_leaderboard(monkeypatch):
    """They are made from whole rows alone: a cell that has failed is not whole."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import leaderboard

    from longtake.train.protocol.rows import AVERAGE
    from longtake.train.runs.board import Figure, Row, Table

    figures = {AVERAGE: {name: Figure(0.5, 0.25, 0.75) for name in ("spearman", "mse", "within_group")}}

    def row(name, **changes):
        given = {"state": "done", "num_seeds": 5, "figures": figures, "rank": 1, "rank_low": 1, "rank_high": 2, "seconds_per_model": 9.0, "parameters": 10}  # fmt: skip
        return Row(name, name, "vst", **(given | changes))

    def table(*rows):
        return Table("fisv", "random", "", "", 400, (AVERAGE,), ("spearman",), rows)

    closed = [row(name, num_seeds=1, parameters=None) for name in ("kernel", "metadata", "ridge")]
    fewer = row("gdlt", marks=("10 epochs, its preset has 30",))
    whole = table(*closed, fewer, row("avcf", state="not applicable", figures={}))
    assert not list(leaderboard.missing(whole))
    broken = table(row("usdl", state="failed"), row("core", num_seeds=4), row("tpt", state="not run"))
    assert list(leaderboard.missing(broken)) == ["random: usdl: failed", "random: core: 4 of 5 seeds", "random: tpt: not run"]  # fmt: skip
    page = leaderboard.real_data(whole, whole)
    assert (
        "| `gdlt` | 0.500 [0.25, 0.75] / 0.5 | 1-2 | 0.50 | 0.500 [0.25, 0.75] / 0.5 | 1-2 | 0.50 | 10 of 30 | 9 |"
        in page
    )
    assert page.count("closed form") == 3 and "avcf" not in page
    assert "| `ridge`, the baseline | 0.500 [0.25, 0.75] / 0.5 |" in leaderboard.readme(whole, whole)
    for name in ("README.md", "docs/real-data.md"):
        assert "\nTABLE\n" in leaderboard.replaced(ROOT / name, "TABLE")
