"""What `extract` prints for right and wrong calls, and its exit status."""

import json

import numpy as np
import pytest

from longtake.extract.backbones import weights
from longtake.extract.errors import WeightsError
from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.manifests.card import find_card
from tests.extract import fake_backbone
from tests.extract.media import write_video
from tests.extract.runs import extract, make_dataset, refused, run


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "either --dataset NAME or --manifest FILE"),
        (("--dataset", "rg", "--manifest", "x.csv"), "either --dataset NAME or --manifest FILE"),
        (("--dataset", "fis-v"), "did you mean fisv?"),
        (("--dataset", "rg", "--videos", "nowhere"), "nowhere"),
        (("--manifest", "nowhere.csv"), "nowhere.csv"),
    ],
)
def test_calls_that_name_no_videos(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused("run", *arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--backbone", "numberz"), "did you mean numbers?"),
        (("--tail", "cut"), "--tail takes pad, drop, centre, overlap"),
        (("--fps", "0"), "fps"),
        (("--fps", "-1"), "fps"),
        (("--clip-length", "0"), "--clip-length"),
        (("--limit", "0"), "--limit"),
        (("--only", "v9"), "no video of that id"),
        (("--stall-timeout", "inf"), "--stall-timeout takes 0 to"),
        (("--stall-timeout", "nan"), "--stall-timeout takes 0 to"),
        (("--clip-length", "1000000"), "a clip needs a length and a stride of 1 to 100000 frames"),
        (("--decoder", "pyavv"), "did you mean pyav?"),
        (("--precision", "int8"), "--precision takes"),
        (("--device", "abacus"), "--device abacus"),
        (("--weights", "nowhere.pt"), "nowhere.pt"),
        (("--out", "small.txt"), "must end in .h5"),
        (("--out", "s3://lab/small.zarr"), "features convert PATH s3://lab/small.zarr"),
    ],
)
def test_settings_that_cannot_be(arguments, message, tmp_path, numbers_backbone):
    make_dataset(tmp_path, [4, 4])
    done = extract(tmp_path, *arguments, status=2)
    assert message in done.output and done.output.lower().count("error:") == 1
    assert not list(tmp_path.glob("small.*.parts")) and not (tmp_path / "small.h5").exists()


def test_option_names_of_other_tools(tmp_path):
    """`--stack-size` and `--step-size`, as tools for optical flow name them."""
    write_video(tmp_path / "a.mp4", 7)
    (tmp_path / "m.csv").write_text("video_id\na\n")
    call = ("run", "--manifest", tmp_path / "m.csv", "--videos", tmp_path, "--out", tmp_path / "s.h5", "--weights")
    run(*call, "random", "--backbone", "i3d-flow", "--batch-size", "1", "--stack-size", "4", "--step-size", "3")
    with open_store(tmp_path / "s.h5") as store:
        (stream,) = store.streams
        assert (stream.header.backbone, stream.header.clip_length, stream.header.clip_stride) == ("i3d-flow", 4, 3)
        np.testing.assert_allclose(stream.read("a").start_seconds, [0, 3 / 25])


def test_weights_that_cannot_be_had_are_not_replaced(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise WeightsError("cannot download")

    make_dataset(tmp_path, [4])
    monkeypatch.setattr(weights, "fetch", unreachable)
    output = refused(
        "run", "--manifest", tmp_path / "small.csv", "--videos", tmp_path / "videos", "--out", tmp_path / "a.h5"
    )
    assert "cannot download" in output and "RANDOM" not in output
    assert not (tmp_path / "a.h5").exists()


def test_one_bad_video_does_not_stop_the_others(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [10, 4, 7])
    good = (tmp_path / "videos" / "v1.mp4").read_bytes()
    (tmp_path / "videos" / "v1.mp4").write_bytes(good[:300])
    done = extract(tmp_path, "--json", status=1)
    facts, begun = json.loads(done.stdout), json.loads(done.stderr.splitlines()[1])
    assert begun["networks"] == f"{fake_backbone.NAME}@{facts['recipes'][fake_backbone.NAME]}, float32; on cpu"
    assert facts["new"] == 2 and [row["video_id"] for row in facts["failed"]] == ["v1"]
    assert list(facts["recipes"]) == [fake_backbone.NAME] and facts["published"] and not facts["interrupted"]

    again = json.loads(extract(tmp_path, "--json", status=1).stdout)
    assert again["new"] == 0 and again["already_there"] == 2 and [row["video_id"] for row in again["failed"]] == ["v1"]

    (tmp_path / "videos" / "v1.mp4").write_bytes(good)
    mended = json.loads(extract(tmp_path, "--json", "--retry-failed").stdout)
    assert mended["new"] == 1 and not mended["failed"]
    with open_store(tmp_path / "small.h5") as store:
        assert {record.status for record in store.stream().records} == {"ok"}


def test_weights_commands(tmp_path, monkeypatch):
    monkeypatch.delenv("LONGTAKE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rows = json.loads(run("weights", "list", "--json"))
    assert all(row["url"].startswith("https://") and row["licence"] for row in rows)
    assert str(tmp_path) in run("weights", "where")
    name = next(row["name"] for row in rows if not row["here"])
    assert "fetch" in refused("weights", "verify", name)
    assert name in refused("weights", "verify", name[:-1])


def test_a_store_of_another_dataset_is_refused_before_any_work(tmp_path, monkeypatch, numbers_backbone):
    def works(*_, **__):
        raise AssertionError("work was begun")

    fisv, rg = find_card("fisv"), tmp_path / "rg.h5"
    labels = Labels(("a",), ("train",), ("",), ("total",), np.ones((1, 1)))
    write_store(rg, dataset="rg", card=find_card("rg"), labels=labels, streams=[])
    kept = rg.read_bytes()
    monkeypatch.setattr("longtake.extract.plan.plan.settle", works)
    monkeypatch.setattr("longtake.extract.backbones.text_encoders.encode_texts", works)
    (tmp_path / "mine.csv").write_text("video_id\na\n")
    call = ("run", "--manifest", tmp_path / "mine.csv", "--videos", tmp_path, "--backbone", numbers_backbone)
    assert "is a store of rg, and this is of mine" in refused(*call, "--weights", "random", "--out", rg)
    text = ("text", "--dataset", fisv.name, "--weights", "random", "--out", rg)
    assert "is a store of rg, and this is of fisv" in refused(*text)
    assert rg.read_bytes() == kept
    mine = tmp_path / "mine.h5"
    write_store(mine, dataset="mine", card=None, labels=labels, streams=[])
    assert "is a store of mine, and this is of fisv" in refused(*text[:-1], mine)


def test_control_characters_never_reach_a_terminal(tmp_path, numbers_backbone):
    """Of a file's name, an id that is asked for, and a name that is not in a table."""
    make_dataset(tmp_path, [8])
    evil = "a\x1b[2J\x07\u202eb.mp4"
    (tmp_path / evil).write_bytes((tmp_path / "videos" / "v0.mp4").read_bytes())
    outputs = [
        run("probe", tmp_path / evil),
        refused("probe", tmp_path / f"no{evil}"),
        refused("run", "--dataset", evil),
        refused("run", "--manifest", tmp_path / f"no{evil}"),
        refused("weights", "fetch", evil),
        extract(tmp_path, "--only", evil, status=2).output,
        extract(tmp_path, out=f"{evil}.h5").output,
    ]
    for output in outputs:
        assert not set("\x1b\x07\u202e") & set(output), ascii(output)
