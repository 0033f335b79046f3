"""What `features` prints, and with which exit status."""

import json

import pytest
from click.testing import CliRunner

from features.cli import RANDOM_NOTE, main
from tests.features.fakes import header, make_store


def run(*arguments, status=0):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == status, (done.output, done.exception)
    return done.output


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "a.h5", {"v0": 3, "broken": 0, "v1": 5})


def test_info(store):
    output = run("info", store)
    assert "2 videos, 8 clips x 3" in output and "failed  broken (decode)" in output and RANDOM_NOTE not in output
    facts = json.loads(run("info", store, "--json"))
    assert facts["videos_labelled"] == 3 and facts["streams"][0]["clips"] == 8


def test_random_weights_show(tmp_path):
    path = make_store(tmp_path / "r.h5", {"v0": 3}, head=header(weights_random=True))
    assert RANDOM_NOTE in run("info", path)


def test_ls(store):
    lines = run("ls", store).splitlines()
    assert [line.split("\t")[0] for line in lines] == ["v0", "broken", "v1"]
    rows = json.loads(run("ls", store, "--json"))
    assert [(row["video_id"], row["clips"], row["status"]) for row in rows] == [
        ("v0", 3, "ok"), ("broken", 0, "failed"), ("v1", 5, "ok")
    ]  # fmt: skip
    assert "it holds fake@" in run("ls", store, "--backbone", "fakee", status=2)


def test_verify(store):
    assert "0 faults" in run("verify", store)
    content = bytearray(store.read_bytes())
    import h5py
    import numpy as np

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
def test_what_is_no_store_gets_one_line(command, what, store, tmp_path):
    path = tmp_path / "x.h5"
    if what == "folder":
        path.mkdir()
    elif what != "missing":
        path.write_bytes({"text": b"hello", "truncated": store.read_bytes()[:2000], "empty": b""}[what])
    output = run(command, path, status=2)
    assert output.count("error:") == 1 and "x.h5" in output and len(output.splitlines()) <= 3
