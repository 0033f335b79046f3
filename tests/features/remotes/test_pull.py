"""Pulls: what travels, what kills leave, and remotes that mean harm."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import signal
import subprocess
import sys
import time

import filelock
import numpy as np
import pytest

from longtake.errors import LongtakeError
from longtake.features.errors import FeaturesError, NotAStore, NotInStore
from longtake.features.remotes import fetch as fetch_module
from longtake.features.remotes import pull as pull_module
from longtake.features.remotes.pieces import Ref, hash_of, json_bytes, text_path, video_num_bytes
from longtake.features.store import open_store
from tests.calls import ROOT
from tests.features.fakes import header, labels, plan, text_features, video, write_store
from tests.features.remotes.places import counted, differences, pull_name, push_path
from tests.features.remotes.test_push import ONE, wide

SMALL = header("small", dim=4)


def two_backbones(path, ids="abcdefgh"):
    write_store(
        path, dataset="d", card=None, labels=labels(list(ids)), texts=[text_features()],
        streams=[plan(header(dim=256), [video(v, 40, 256, ord(v)) for v in ids]), plan(SMALL, [video(v, 5, 4, ord(v)) for v in ids])],
    )  # fmt: skip
    return path


@pytest.fixture
def remote(tmp_path):
    push_path(two_backbones(tmp_path / "a.h5"), tmp_path / "remote")
    return tmp_path / "remote"


def test_one_backbone_and_one_video_fetch_only_these(tmp_path, remote, monkeypatch):
    places = counted(monkeypatch)
    small = pull_name("rg", remote, backbones=["small"])
    assert small.num_bytes == places[-1].read_bytes["packs"] == 8 * video_num_bytes(5, 4, np.dtype("float32"))
    video_c = pull_name("rg", remote, backbones=["fake"], only=["c"])
    assert video_c.num_bytes == places[-1].read_bytes["packs"] == ONE
    with open_store(video_c.path) as store, open_store(tmp_path / "a.h5") as whole:
        np.testing.assert_array_equal(store.stream().read("c").features, whole.stream("fake").read("c").features)
        assert store.labels.video_ids == ("c",) and store.texts[0].equals(whole.texts[0])
        assert [stream.header.backbone for stream in store.streams] == ["fake"]
    # What one backbone lacks joins it; the small features are on this machine already.
    whole = pull_name("rg", remote)
    assert whole.path == small.path and whole.num_bytes == places[-1].read_bytes["packs"] == 8 * ONE
    assert differences(whole.path, tmp_path / "a.h5") == []
    assert not pull_name("rg", remote).is_new and "packs" not in places[-1].read_bytes
    assert not pull_name("rg", remote, backbones=["fake"]).is_new


def test_a_part_is_never_found_by_the_name_of_the_whole(remote):
    part = pull_name("rg", remote, only=["c"])
    with pytest.raises(NotInStore, match="rg was not pulled"):
        open_store("rg")
    with open_store(part.path) as store:
        assert store.stream("small").videos.video_ids == ("c",)


def test_two_parts_never_share_a_file(remote):
    choices = [
        {"only": ["c"]},
        {"only": ["c", "d"]},
        {"only": ["c"], "backbones": ["small"]},
        {"only": ["c"], "backbones": ["fake"]},
    ]
    parts = [pull_name("rg", remote, **choice) for choice in choices]
    assert len({part.path for part in parts}) == 4 and [part.num_videos for part in parts] == [2, 4, 1, 1]
    assert not pull_name("rg", remote, only=["d", "c"]).is_new
    version = parts[0].version
    assert pull_module._part_path(version, (), ["a-b"]) != pull_module._part_path(version, (), ["a", "b"])


def test_a_new_version_fetches_only_what_is_new(tmp_path, remote, monkeypatch):
    pull_name("rg@1", remote)
    push_path(two_backbones(tmp_path / "b.h5", "abcdefghi"), remote)
    places = counted(monkeypatch)
    done = pull_name("rg", remote)
    new = ONE + video_num_bytes(5, 4, np.dtype("float32"))
    assert done.num_bytes == places[-1].read_bytes["packs"] == new
    assert differences(done.path, tmp_path / "b.h5") == []
    # A damaged store of this machine is no source: its bytes are fetched.
    data = bytearray((path := pull_name("rg@1", remote).path).read_bytes())
    with open_store(path) as store:
        place = bytes(data).index(store.stream("fake").read("c").features.tobytes())
    data[place] ^= 1
    path.write_bytes(data)
    done.path.unlink()
    again = pull_name("rg", remote)
    assert again.num_bytes == new + ONE and differences(again.path, tmp_path / "b.h5") == []


@pytest.mark.parametrize("ending", [".h5", ".zarr"])
def test_to_a_path_of_your_own(tmp_path, remote, library, ending):
    out = tmp_path / f"mine{ending}"
    assert pull_name("rg", remote, out=out).path == out
    assert differences(out, tmp_path / "a.h5") == [] and not library.exists()
    with pytest.raises(FeaturesError, match="exists"):
        pull_name("rg", remote, out=out)
    with pytest.raises(NotAStore, match="must end in"):
        pull_name("rg", remote, out=tmp_path / "mine.npz")


def test_what_is_not_there(remote):
    with pytest.raises(NotInStore, match="no features of 'smal' .there are fake@"):
        pull_name("rg", remote, backbones=["smal"])
    with pytest.raises(NotInStore, match="no video 'z'"):
        pull_name("rg", remote, only=["z"])
    with pytest.raises(NotInStore, match="no store 'rg2'"):
        pull_name("rg2", remote)
    assert pull_name("rg", remote, backbones=[SMALL.stream_name[:9]]).num_videos == 8


def test_an_interrupted_pull_goes_on(tmp_path, remote, monkeypatch, library):
    monkeypatch.setattr(fetch_module, "RUN_BYTES", 2 * ONE)
    monkeypatch.setattr(fetch_module, "CONNECTIONS", 1)
    places = counted(monkeypatch)
    usual = fetch_module._fetch
    done = []

    def stop(*arguments):
        if len(done) == 3:
            raise KeyboardInterrupt
        usual(*arguments)
        done.append(arguments)

    monkeypatch.setattr(fetch_module, "_fetch", stop)
    with pytest.raises(KeyboardInterrupt):
        pull_name("rg", remote)
    before = places[-1].read_bytes["packs"]
    monkeypatch.setattr(fetch_module, "_fetch", usual)
    again = pull_name("rg", remote)
    assert before > 0 and before + again.num_bytes == 8 * ONE + 8 * video_num_bytes(5, 4, np.dtype("float32"))
    assert differences(again.path, tmp_path / "a.h5") == []
    assert sorted(path.name for path in (library / "rg").iterdir() if not path.name.endswith(".lock")) == [
        again.path.name, again.path.with_suffix(".json").name
    ]  # fmt: skip


PULL = """
import sys
from tests.features.remotes.places import pull_name
print("ready", flush=True)
pull_name("rg", sys.argv[1])
print("done", flush=True)
"""


def kill_at_random(tmp_path, rounds, seed):
    draw = random.Random(seed)
    store = wide(tmp_path / "a.h5")
    push_path(store, tmp_path / "remote")
    killed = 0
    for _ in range(rounds):
        shutil.rmtree(tmp_path / "library", ignore_errors=True)
        with subprocess.Popen(
            [sys.executable, "-c", PULL, str(tmp_path / "remote")], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(draw.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
            killed += "done" not in process.stdout.read()
        assert differences(pull_name("rg", tmp_path / "remote").path, store) == []
    assert killed


def test_pulls_that_are_killed(tmp_path):
    kill_at_random(tmp_path, 2, 3)


@pytest.mark.slow
def test_many_pulls_that_are_killed(tmp_path):
    kill_at_random(tmp_path, 15, 4)


def rewrite(remote, number, change):
    """A remote of a person who means harm: the manifest is changed, and all hashes fit."""
    version = remote / "stores" / "rg" / f"{number:06d}.json"
    facts = json.loads(version.read_bytes())
    path = remote / text_path(facts["manifest"]["sha256"])
    manifest = json.loads(gzip.decompress(path.read_bytes()))
    put = lambda value: put_bytes(remote, json_bytes(value))  # noqa: E731
    change(manifest, put, lambda ref: json.loads(gzip.decompress((remote / text_path(ref["sha256"])).read_bytes())))
    facts["manifest"] = put(manifest)
    version.write_bytes(json.dumps(facts).encode())


def put_bytes(remote, data):
    ref = Ref(hash_of(data), len(data))
    path = remote / text_path(ref.sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data))
    return vars(ref)


def rows(**changes):
    """Changes of the table of the first stream; `video_id` is a column."""

    def change(manifest, put, read):
        table = read(manifest["streams"][0]["rows"])
        for name, values in changes.items():
            (table["columns"] if name in table["columns"] else table)[name] = values
        manifest["streams"][0]["rows"] = put(table)

    return change


def stream_header(**changes):
    def change(manifest, put, read):
        header_facts = json.loads(manifest["streams"][0]["header"])
        manifest["streams"][0]["header"] = json.dumps({**header_facts, **changes})

    return change


@pytest.mark.parametrize("change, words", [
    (rows(video_id=["../../../x", *"bcdefgh"]), "video_id|id"),
    (rows(num_clips=[1 << 30] * 8), "GB of features"),
    (rows(num_clips=[41] * 8), "damaged|declares"),
    (rows(offset=[1 << 39] * 8), "damaged"),
    (rows(packs=["../" * 21 + "a"]), "SHA-256"),
    (rows(features_sha256=["0" * 64] * 8), "do not match|not those that were pushed"),
    (stream_header(dim=1 << 60), "GB of features|dim|not those"),
    (stream_header(dim=128), "damaged|do not match|not those"),
    (lambda m, put, read: m.update(dataset="\ud800"), "Unicode|cannot be shared|damaged"),
    (lambda m, put, read: m.update(labels={"sha256": "f" * 64, "num_bytes": 5}), "missing"),
    (lambda m, put, read: m["texts"][0].update(name="../x"), "prompt set"),
    (lambda m, put, read: m["texts"].append(m["texts"][0]), "a prompt set is in the manifest twice"),
    (lambda m, put, read: m["streams"][0].update(dtype="object"), "features of the type"),
    (lambda m, put, read: m.update(card_json="[" * 100_000), "card|nested"),
])  # fmt: skip
def test_hostile_manifests(tmp_path, remote, library, change, words):
    rewrite(remote, 1, change)
    with pytest.raises(LongtakeError, match=words) as caught:
        pull_name("rg", remote, backbones=["fake"])
    assert len(str(caught.value)) < 1000
    assert not [
        path for path in tmp_path.rglob("*") if path.name == "x" or path.suffix == ".h5" and "library" in str(path)
    ]


def test_a_table_of_another_version_is_noticed(tmp_path, remote):
    """Even where all hashes of files fit."""
    rewrite(remote, 1, rows(source_name=["other.mp4"] * 8))
    with pytest.raises(NotAStore, match="not those that were pushed"):
        pull_name("rg", remote)


def test_a_store_of_the_library_whose_record_is_damaged_is_written_again(tmp_path, remote):
    path = pull_name("rg", remote).path
    two_backbones(tmp_path / "other.h5", "abc").replace(path)
    path.with_suffix(".json").write_text("{")
    assert pull_name("rg", remote).is_new and differences(path, tmp_path / "a.h5") == []


def test_a_pull_that_waits_for_another_does_not_replace_its_store(tmp_path, remote, monkeypatch):
    push_path(two_backbones(tmp_path / "other.h5", "abc"), tmp_path / "other")
    usual = filelock.FileLock

    def slow(path):
        monkeypatch.setattr(filelock, "FileLock", usual)
        pull_name("rg", tmp_path / "other", **choices)
        return usual(path)

    for choices, words in (({}, "with other content"), ({"out": tmp_path / "o.h5"}, "exists")):
        monkeypatch.setattr(filelock, "FileLock", slow)
        with pytest.raises(FeaturesError, match=words):
            pull_name("rg", remote, **choices)
    assert differences(tmp_path / "o.h5", tmp_path / "other.h5") == differences("rg", tmp_path / "other.h5") == []
