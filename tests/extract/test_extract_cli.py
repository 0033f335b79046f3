"""What `extract` says to good and bad calls, and with which exit status."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.extract.backbones import weights
from longtake.extract.cli import main
from longtake.extract.errors import WeightsError
from longtake.features.labels import Labels
from longtake.features.parts import list_parts
from longtake.features.store import open_store, write_store
from longtake.manifests.card import find_card
from longtake.train.data.prompts import terms_of
from longtake.train.errors import DataError
from tests.calls import invoke
from tests.extract import fake_backbone
from tests.extract.media import write_sound, write_video
from tests.extract.runs import extract, make_dataset
from tests.features.fakes import locked_by_another


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status).output


def refused(*arguments) -> str:
    output = run(*arguments, status=2)
    assert output.lower().count("error:") == 1 and "Traceback" not in output
    return output


def test_list():
    found = json.loads(run("list", "--json"))
    assert set(found) == {"datasets", "backbones", "recipes", "decoders", "encoders", "weights"}
    assert {"demo", "rg", "fisv"} <= {entry["name"] for entry in found["datasets"]}
    assert next(entry for entry in found["backbones"] if entry["name"] == "i3d")["dim"] == 1024
    assert next(entry for entry in found["decoders"] if entry["name"] == "pyav")["installed"]
    assert run("list", "decoders").startswith("decoders:")
    assert "(vst, ast, i3d-flow)" in next(entry for entry in found["recipes"] if entry["name"] == "pamfn")["about"]
    for entry in found["backbones"]:
        assert entry["dim"] and entry["frames"] and entry["clips"]["length"] and entry["default_weights"]
        weights = next(w for w in entry["weights"] if w["name"] == entry["default_weights"])
        assert weights["url"] and weights["licence"] and weights["citation"]


def test_probe(tmp_path):
    write_video(tmp_path / "a.mp4", 10)
    facts = json.loads(run("probe", tmp_path / "a.mp4", "--json"))
    assert facts["num_frames"] == 10 and facts["fps"] == pytest.approx(25)
    assert "num frames" in run("probe", tmp_path / "a.mp4")


@pytest.mark.parametrize("what", ["missing", "folder", "text", "empty", "sound"])
def test_probe_of_what_is_no_video(tmp_path, what):
    path = tmp_path / "a.mp4"
    if what == "folder":
        path.mkdir()
    elif what == "sound":
        write_sound(path)
    elif what != "missing":
        path.write_bytes(b"hello" if what == "text" else b"")
    assert "a.mp4" in refused("probe", path)


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
        (("--only", "v9"), "no such video"),
        (("--stall-timeout", "inf"), "--stall-timeout takes 0 to"),
        (("--stall-timeout", "nan"), "--stall-timeout takes 0 to"),
        (("--clip-length", "1000000"), "a clip needs a length and a stride of 1 to 100000 frames"),
        (("--decoder", "pyavv"), "did you mean pyav?"),
        (("--precision", "int8"), "--precision takes"),
        (("--device", "abacus"), "--device abacus"),
        (("--weights", "nowhere.pt"), "nowhere.pt"),
        (("--out", "small.txt"), "must end in .h5"),
        (("--out", "s3://lab/small.zarr"), "features convert HERE s3://lab/small.zarr"),
    ],
)
def test_settings_that_cannot_be(arguments, message, tmp_path, numbers_backbone):
    make_dataset(tmp_path, [4, 4])
    done = extract(tmp_path, *arguments, status=2)
    assert message in done.output and done.output.lower().count("error:") == 1
    assert not list(tmp_path.glob("small.*.parts")) and not (tmp_path / "small.h5").exists()


@pytest.fixture
def batches(monkeypatch):
    """The shapes of what the fake backbone is given."""
    shapes, forward = [], fake_backbone.Numbers.forward

    def watched(self, clips):
        shapes.append(tuple(clips.shape[:2]))
        return forward(self, clips)

    monkeypatch.setattr(fake_backbone.Numbers, "forward", watched)
    return shapes


def test_clips_per_step(tmp_path, numbers_backbone, batches):
    """The backbone's number, or the call's; of a network that sees single frames, as many clips as have so many frames."""
    make_dataset(tmp_path, [20])
    for modality, arguments, expected in (
        ("video", (), (3, 4)),
        ("video", ("--batch-size", "2"), (2, 4)),
        ("image", (), (2, 4)),
        ("image", ("--clip-length", "9"), (1, 9)),
        ("image", ("--batch-size", "5"), (5, 4)),
    ):
        fake_backbone.install(modality=modality, batch_size={"video": 3, "image": 8}[modality])
        batches.clear()
        extract(tmp_path, "--stall-timeout", "0", *arguments, out=f"{len(list(tmp_path.iterdir()))}.h5")
        assert set(batches) == {expected}


@pytest.mark.parametrize("source", ["random", "w.pt"])
def test_networks_are_compiled_when_asked(tmp_path, numbers_backbone, monkeypatch, source):
    compiled = []
    monkeypatch.setattr(fake_backbone.Numbers, "compile", lambda self: compiled.append(self), raising=False)
    monkeypatch.setattr(fake_backbone.Numbers, "load_weights", lambda self, state: None)
    monkeypatch.chdir(tmp_path)
    torch.save({"none": torch.zeros(1)}, "w.pt")
    make_dataset(tmp_path, [4])
    extract(tmp_path, "--weights", source, out="plain.h5")
    assert not compiled
    extract(tmp_path, "--weights", source, "--compile")
    assert len(compiled) == 1


def test_words_of_other_tools(tmp_path):
    """`--stack-size` and `--step-size`, as whoever extracts flow calls them."""
    write_video(tmp_path / "a.mp4", 7)
    (tmp_path / "m.csv").write_text("video_id\na\n")
    call = ("run", "--manifest", tmp_path / "m.csv", "--videos", tmp_path, "--out", tmp_path / "s.h5", "--weights")
    run(*call, "random", "--backbone", "i3d-flow", "--batch-size", "1", "--stack-size", "4", "--step-size", "3")
    with open_store(tmp_path / "s.h5") as store:
        (stream,) = store.streams
        assert (stream.header.backbone, stream.header.clip_length, stream.header.clip_stride) == ("i3d-flow", 4, 3)
        np.testing.assert_allclose(stream.read("a").start_seconds, [0, 3 / 25])


def test_missing_videos_say_what_to_put_where(tmp_path):
    output = refused("run", "--dataset", "rg", "--videos", tmp_path / "rg")
    assert str(tmp_path / "rg") in output and "video" in output


def test_all_faults_of_a_manifest_at_once(tmp_path):
    (tmp_path / "m.csv").write_text("video_id,split,score_total\na,train,1\na,test,2\nb,train,3\n../c,train,x\n")
    output = refused("run", "--manifest", tmp_path / "m.csv", "--videos", tmp_path)
    assert all(f"line {number}" in output for number in (3, 5))


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


def test_text_of_a_card_without_prompts(tmp_path, monkeypatch):
    card = Path(find_card.__code__.co_filename).with_name("demo.toml").read_text().partition("[prompts")[0]
    (tmp_path / "mine.toml").write_text(card.replace('name = "demo"', 'name = "mine"'))
    monkeypatch.setenv("LONGTAKE_MANIFESTS", str(tmp_path))
    assert "the card of mine has no prompts" in refused("text", "--dataset", "mine", "--out", tmp_path / "s.h5")


def test_a_routine_after_the_end_of_its_file(tmp_path, numbers_backbone):
    write_video(tmp_path / "a.mp4", 50)
    (tmp_path / "mine.csv").write_text("video_id,start_seconds,end_seconds\na,20,30\n")
    call = ("run", "--manifest", tmp_path / "mine.csv", "--videos", tmp_path, "--backbone", numbers_backbone)
    told = run(*call, "--weights", "random", "--out", tmp_path / "s.h5", status=1)
    assert "start_seconds 20 is after the end of the video, 2.00 s" in told and "--tail pad" not in told


def test_a_routine_that_goes_on_after_the_end_of_its_file(tmp_path, numbers_backbone):
    """Frames for seconds, or a file that was cut: it is extracted, and told of."""
    write_video(tmp_path / "a.mp4", 50)
    (tmp_path / "mine.csv").write_text("video_id,path,end_seconds\na,a.mp4,50\nb,a.mp4,2.5\n")
    call = ("run", "--manifest", tmp_path / "mine.csv", "--videos", tmp_path, "--backbone", numbers_backbone)
    told = run(*call, "--weights", "random", "--out", tmp_path / "s.h5")
    assert "clips; end_seconds is 50, but the file ends at 2.0 s" in told and told.count("end_seconds") == 1


def test_text_of_an_unknown_prompt_set():
    assert "qgvl" in refused("text", "--dataset", "rg", "--prompts", "poems")
    assert "did you mean clip?" in refused("text", "--dataset", "rg", "--encoder", "clipp", "--weights", "random")


@pytest.fixture
def encoded(monkeypatch):
    """The texts that were given to an encoder without a network."""
    found = []

    def encode(texts, **_):
        found.extend(texts)
        recipe = {
            "dim": 4,
            "weights": "random:0",
            "weights_sha256": "ab",
            "is_random": True,
            "library": "l",
            "model": "m",
        }
        return np.ones((len(texts), 4), np.float32), recipe

    monkeypatch.setattr("longtake.extract.backbones.text_encoders.encode_texts", encode)
    return found


def test_only_the_prompt_set_that_is_asked_for(tmp_path, encoded):
    prompts = find_card("rg").prompts
    assert len(prompts) > 1
    call = ("text", "--dataset", "rg", "--out", tmp_path / "s.h5")
    assert "prompt set mlavl@" in run(*call, "--prompts", "mlavl")
    assert encoded == list(prompts["mlavl"].texts)
    with open_store(tmp_path / "s.h5") as store:
        assert [text.name for text in store.texts] == ["mlavl"]
    run(*call)
    with open_store(tmp_path / "s.h5") as store:
        assert {text.name for text in store.texts} == set(prompts)


def test_texts_for_a_store_that_another_process_publishes(tmp_path, monkeypatch, encoded):
    out = tmp_path / "s.h5"
    call = ("text", "--dataset", "rg", "--prompts", "mlavl", "--out", out)
    run(*call)
    kept = out.read_bytes()
    holder = locked_by_another(out, monkeypatch)
    assert f"{out} is locked by {holder}" in refused(*call)
    assert out.read_bytes() == kept and not list_parts(out)


def test_texts_are_composed_for_the_categories_of_the_store(tmp_path, encoded):
    """Of a card that names a terminology and no categories: those of the videos that are there."""
    out = tmp_path / "f.h5"
    call = ("text", "--dataset", "finediving", "--out", out)
    assert "extract or import features with their labels first" in refused(*call) and not out.exists()
    labels = Labels(("a", "b"), ("train", "test"), ("107B", "407C"), ("total",), np.array([[80.0], [70.0]]))
    write_store(out, dataset="finediving", card=find_card("finediving"), labels=labels, streams=[])
    run(*call)
    assert len(encoded) == 7 and "a diving video of inward take-off" in encoded
    with open_store(out) as store:
        terms = terms_of(store.card, store.text("mvla"), ("stages", "videos"), ["107B", "407C", ""])
        assert terms == {"107B": (0, 1, 2, 0), "407C": (3, 4, 2, 1)}
        with pytest.raises(DataError, match="no texts for the categories 5253B"):
            terms_of(store.card, store.text("mvla"), ("stages", "videos"), ["5253B"])
