"""What `features` prints, and with which exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from longtake.features.cli import main
from longtake.features.labels import Labels
from longtake.features.store import write_store
from longtake.features.tools.summary import RANDOM_NOTE
from tests.calls import invoke
from tests.features.fakes import header, make_store, plan, text_features, video

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status).output


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "a.h5", {"v0": 3, "broken": 0, "v1": 5})


def test_info(store):
    output = run("info", store)
    assert "2 videos, 8 clips x 3" in output and "failed: broken (decode)" in output and RANDOM_NOTE not in output
    facts = json.loads(run("info", store, "--json"))
    assert facts["videos_labelled"] == 3 and facts["streams"][0]["clips"] == 8


def test_many_failures_are_counted_and_ten_are_listed(tmp_path):
    path = make_store(tmp_path / "many.h5", {"v": 3} | {f"broken{number}": 0 for number in range(12)})
    output = run("info", path)
    assert "failed: 12 videos: decode" in output and output.count("failed: broken") == 10 and "2 more" in output
    assert run("info", path, "--all").count("failed: broken") == 12


def test_random_weights_show(tmp_path):
    path = make_store(tmp_path / "r.h5", {"v0": 3}, head=header(weights_random=True))
    assert RANDOM_NOTE in run("info", path)


def test_ls(store):
    head, *lines = run("ls", store).splitlines()
    assert head.split("\t") == ["video", "split", "category", "clips", "seconds", "status", "reason"]
    assert [line.split("\t")[0] for line in lines] == ["v0", "broken", "v1"]
    rows = json.loads(run("ls", store, "--json"))
    assert [(row["video_id"], row["clips"], row["status"]) for row in rows] == [
        ("v0", 3, "ok"), ("broken", 0, "failed"), ("v1", 5, "ok")
    ]  # fmt: skip
    assert "it holds fake@" in run("ls", store, "--backbone", "fakee", status=2)
    _, line = run("ls", store, "--where", "status=failed").splitlines()
    assert line.split("\t")[0] == "broken" and "decode: " in line
    assert [row["video_id"] for row in json.loads(run("ls", store, "--where", "clips=5", "--json"))] == ["v1"]
    assert "no video has a column" in run("ls", store, "--where", "skater=1", status=2)


def test_long_lists_are_counted_and_cut(tmp_path):
    names = [f"v{number}" for number in range(12)]
    store = make_store(tmp_path / "s.h5", {"a": 2})
    (tmp_path / "m.csv").write_text("video_id\n" + "\n".join(["a", *names]) + "\n")
    call = ["verify", store, "--manifest", tmp_path / "m.csv"]
    output = run(*call, status=1)
    assert "missing 12" in output and output.count(": missing\n") == 10 and "and 2 more of missing" in output
    assert run(*call, "--all", status=1).count(": missing\n") == 12
    found = json.loads(run(*call, "--json", status=1))
    assert found["counts"]["missing"] == 12 and len([one for one in found["faults"] if one.endswith("missing")]) == 12
    other = make_store(tmp_path / "t.h5", dict.fromkeys(["a", *names], 2))
    output = run("diff", store, other, status=1)
    assert "video 12" in output.splitlines()[0] and "and 2 more of video" in output
    assert run("diff", store, other, "--all", status=1).count("video v") == 12
    assert len(json.loads(run("diff", store, other, "--json", status=1))) > 12


def test_ls_of_several_stores_and_streams(store, tmp_path):
    other = make_store(tmp_path / "two.h5", {"w0": 2}, head=header(weights="more"))
    head, *lines = run("ls", store, other).splitlines()
    assert head.startswith("store\tstream\tvideo\t") and len(lines) == 4
    assert lines[0].startswith(f"{store}\tfake@") and lines[3].startswith(f"{other}\tfake@")
    assert {row["store"] for row in json.loads(run("ls", store, other, "--json"))} == {str(store), str(other)}
    # A score that one of the stores lacks.
    own = Labels(("x0",), ("train",), ("A",), ("own",), np.array([[7.5]]))
    third = tmp_path / "three.h5"
    write_store(third, dataset="d", card=None, labels=own, streams=[plan(header(), [video("x0", 2)])])
    assert len(run("ls", store, third, "--where", "own=7.5").splitlines()) == 2


def test_verify(store):
    assert "0 faults" in run("verify", store)
    content = bytearray(store.read_bytes())
    import h5py

    with h5py.File(store) as file:
        places = []
        file.visititems(lambda name, item: places.append((name, item)) if name.endswith("features") else None)
        values = np.concatenate(
            [np.asarray(item).ravel() for name, item in places if item.ndim == 2 and item.shape[1] == 3]
        )
    place = bytes(content).find(values[:3].astype("<f4").tobytes())
    if place < 0:
        pytest.fail("the features are compressed: change this test's way of damaging them")
    content[place + 3] ^= 0x01
    store.write_bytes(content)
    assert "v0" in run("verify", store, status=1)
    assert json.loads(run("verify", store, "--json", status=1))["faults"]


def test_diff(store, tmp_path):
    same = make_store(tmp_path / "b.h5", {"v0": 3, "broken": 0, "v1": 5})
    other = make_store(tmp_path / "c.h5", {"v0": 3, "broken": 0, "v1": 5}, seed=9)
    assert run("diff", store, same).strip() == "equal"
    assert "v0" in run("diff", store, other, status=1)
    assert json.loads(run("diff", store, other, "--json", status=1))
    assert json.loads(run("diff", store, same, "--json")) == []


@pytest.mark.parametrize("command", ["info", "ls", "verify"])
@pytest.mark.parametrize("what", ["missing", "folder", "text", "truncated", "empty"])
def test_a_file_that_is_not_a_store_gets_one_line(command, what, store, tmp_path):
    path = tmp_path / "x.h5"
    if what == "folder":
        path.mkdir()
    elif what != "missing":
        path.write_bytes({"text": b"hello", "truncated": store.read_bytes()[:2000], "empty": b""}[what])
    output = run(command, path, status=2)
    assert output.count("error:") == 1 and "x.h5" in output and len(output.splitlines()) <= 3


def test_json_has_no_nan(store):
    """The duration of a failed video is unknown."""

    def refuse(constant):
        raise AssertionError(constant)

    rows = json.loads(run("ls", store, "--json"), parse_constant=refuse)
    assert all(row["duration_seconds"] is None and row["span_start_seconds"] is None for row in rows)


def test_a_reader_that_has_enough(tmp_path):
    path = make_store(tmp_path / "many.h5", {f"v{number}": 1 for number in range(400)})
    code = "from longtake.features.cli import main; main()"
    call = [sys.executable, "-c", code, "ls", str(path), "--json"]
    # Unbuffered, Python itself loses what a pipe does not take at once.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(call, cwd=ROOT, env=environment, text=True, **pipes) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1, "what click gives for it"


def test_untrusted_text_stays_on_its_line(tmp_path):
    path = tmp_path / "s.h5"
    evil = "x\x1b[2J\r\x9b1A\n\u202ey"
    table = Labels(("v",), (evil,), (evil,), (evil,), np.ones((1, 1)))
    streams = [plan(header(evil, weights=evil), [video("w", 2)]), plan(header("other"), [video("v", 2)])]
    write_store(path, dataset=evil, card=None, labels=table, streams=streams, texts=[text_features(evil)])
    for message in (
        run("info", path),
        run("card", path),
        run("ls", path, "--backbone", "other"),
        run("verify", path, status=1),
        run("diff", path, make_store(tmp_path / "d.h5", {"v": 2}), status=1),
    ):
        assert "x [2J" in message.replace("\\[", "[") and not [
            line for line in message.split("\n") if line.strip().startswith("y")
        ]
        assert not [c for c in message if not c.isprintable() and c not in "\n\t"]
    listed = run("ls", path)
    assert "x [2J" in listed and not [c for c in listed if not c.isprintable() and c not in "\n\t"]
