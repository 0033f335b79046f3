"""Features made as a header says, which may come from an untrusted file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from longtake.extract.errors import (
    ExtractError,
)
from longtake.extract.like import _ids, extract_like
from longtake.features.store import open_store
from longtake.features.types import FeatureHeader
from longtake.files import file_sha256
from tests.extract import fake_backbone
from tests.extract.backbones.hf_models import save
from tests.extract.fake_backbone import NAME
from tests.extract.media import write_video
from tests.extract.runs import make_dataset, refused, run
from tests.processor import needs_bfloat16

HEADER = FeatureHeader(NAME, "video", 4, "random:0", None, True, 4, 4, "pad", None)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"clip_length": 10**9}, "1 to 100000 frames"),
        ({"clip_length": "16"}, "no valid clip rule"),
        ({"tail": "cut"}, "no tail"),
    ],
)
def test_a_recipe_from_an_untrusted_file(tmp_path, numbers_backbone, change, words):
    """A checkpoint says how to make the features of a new video, and may contain anything."""
    header = replace(HEADER, **change)
    with pytest.raises(ExtractError, match=words):
        extract_like([header], [write_video(tmp_path / "a.mp4", 12)], tmp_path / "a.h5", weights=["random"])


def test_networks_of_libraries_are_extracted_again_by_their_recipe(tmp_path):
    """By their names as stores write them; `--backbone timm/NAME` of other commands finds them."""
    make_dataset(tmp_path, [12, 20])
    save("vit", tmp_path / "net")
    backbones = ("torchvision/squeezenet1_1", f"hf/{tmp_path / 'net'}")
    call = [word for name in backbones for word in ("--backbone", name)]
    call += ["--manifest", tmp_path / "small.csv", "--videos", tmp_path / "videos", "--fps", "2"]
    run("run", *call, "--weights", "random", "--out", tmp_path / "two.h5")
    store = open_store(tmp_path / "two.h5")
    assert {stream.header.backbone for stream in store.streams} == {"torchvision:squeezenet1_1", "hf:net"}
    first = store.stream("torchvision/squeezenet1_1")
    assert first.header.dim == 512 and first.header.weights == "random:0" and first.header.weights_random
    assert "configuration" in store.stream("hf:net").header.preprocessing
    extract_like([first.header], [tmp_path / "videos" / "v0.mp4"], tmp_path / "again.h5")
    assert open_store(tmp_path / "again.h5").stream().header.recipe_id == first.header.recipe_id
    run("run", *call[2:], "--out", tmp_path / "own.h5")
    header = open_store(tmp_path / "own.h5").stream("hf:net").header
    assert header.weights == "hf/net" and not header.weights_random
    assert header.weights_sha256 == file_sha256(tmp_path / "net" / "model.safetensors")


def test_rows_of_several_tokens_are_extracted_again(tmp_path):
    make_dataset(tmp_path, [12])
    save("vit", tmp_path / "net")
    call = [
        "--manifest",
        tmp_path / "small.csv",
        "--videos",
        tmp_path / "videos",
        "--backbone",
        f"hf/{tmp_path / 'net'}",
        "--weights",
        "random",
    ]
    run("run", *call, "--fps", "5", "--pool", "map:1x2x2", "--layers", "-1,last", "--out", tmp_path / "map.h5")
    header = open_store(tmp_path / "map.h5").stream().header
    assert header.dim == 2 * 4 * 32
    assert [header.preprocessing[name] for name in ("pool", "layers", "tokens")] == ["map:1x2x2", "-1,last", 4]
    estimates = [
        json.loads(run("plan", *call, *more, "--json"))["gigabytes"]
        for more in ((), ("--pool", "map:1x2x2", "--layers", "-1,last"))
    ]
    assert estimates[1] == pytest.approx(8 * estimates[0])
    run("run", *call, "--fps", "5", "--out", tmp_path / "plain.h5")
    plain = open_store(tmp_path / "plain.h5").stream().header
    assert plain.dim == 32 and not plain.preprocessing.keys() & {"pool", "layers", "tokens"}
    assert "--pool takes" in refused("run", *call, "--pool", "max", "--out", tmp_path / "no.h5")


@needs_bfloat16
def test_features_of_openvino_in_bfloat16_are_made_by_openvino(tmp_path, numbers_backbone, monkeypatch):
    """And those of torch by torch: the recipe says which, and `runtime` chooses only where the numbers are the same."""
    pytest.importorskip("openvino")
    monkeypatch.setenv("LONGTAKE_CACHE", str(tmp_path / "cache"))
    fake_backbone.install(openvino=True)
    video = write_video(tmp_path / "a.mp4", 12)
    (tmp_path / "m.csv").write_text("video_id\na\n")
    call = ["--manifest", tmp_path / "m.csv", "--videos", tmp_path, "--weights", "random", "--backbone", NAME]
    for runtime, other in (("torch", "openvino"), ("openvino", "torch")):
        out = tmp_path / f"{runtime}.h5"
        run("run", *call, "--precision", "bfloat16", "--runtime", runtime, "--out", out)
        header = open_store(out).stream().header
        extract_like([header], [video], tmp_path / "again.h5")
        again = open_store(tmp_path / "again.h5").stream()
        assert again.header.recipe_id == header.recipe_id
        assert (again.read("a").features == open_store(out).stream().read("a").features).all()
        with pytest.raises(
            ExtractError, match=f"--runtime {other}: the features of numbers were extracted in bfloat16"
        ):
            extract_like([header], [video], tmp_path / "again.h5", runtime=other)


def test_each_video_has_an_id_of_its_own():
    videos = [Path(name) for name in ("a/v.mp4", "b/v.mp4", "c/v.avi", "a<b.mp4", "x/v-2.mp4")]
    assert list(_ids(videos).values()) == ["v", "v-2", "v-3", "video", "v-2-2"]
