"""`extract list` and `extract probe`."""

import json

import pytest

from longtake.extract.listing import search_backbones
from tests.extract.media import write_sound, write_video
from tests.extract.runs import refused, run


def test_list():
    found = json.loads(run("list", "--json"))
    assert set(found) == {"datasets", "backbones", "recipes", "decoders", "encoders", "weights"}
    assert {"demo", "rg", "fisv"} <= {entry["name"] for entry in found["datasets"]}
    assert next(entry for entry in found["backbones"] if entry["name"] == "i3d")["dim"] == 1024
    assert next(entry for entry in found["decoders"] if entry["name"] == "pyav")["installed"]
    assert run("list", "decoders").startswith("decoders:")
    assert "(vst, ast, i3d-flow)" in next(entry for entry in found["recipes"] if entry["name"] == "pamfn")["about"]
    for entry in found["backbones"]:
        if "repo" in entry:  # an alias, whose numbers are those of its repository
            continue
        assert entry["dim"] and entry["frames"] and entry["clips"]["length"] and entry["default_weights"]
        weights = next(w for w in entry["weights"] if w["name"] == entry["default_weights"])
        assert weights["url"] and weights["licence"] and weights["citation"]


def test_probe(tmp_path):
    write_video(tmp_path / "a.mp4", 10)
    facts = json.loads(run("probe", tmp_path / "a.mp4", "--json"))
    assert facts["num_frames"] == 10 and facts["fps"] == pytest.approx(25)
    assert "num frames" in run("probe", tmp_path / "a.mp4")


@pytest.mark.parametrize("what", ["missing", "folder", "text", "empty", "sound"])
def test_probe_of_a_file_that_is_not_a_video(tmp_path, what):
    path = tmp_path / "a.mp4"
    if what == "folder":
        path.mkdir()
    elif what == "sound":
        write_sound(path)
    elif what != "missing":
        path.write_bytes(b"hello" if what == "text" else b"")
    assert "a.mp4" in refused("probe", path)


def test_search_finds_networks_of_libraries():
    names = [row["name"] for row in search_backbones("r3d_18")]
    assert names == ["torchvision/r3d_18"]
    assert "timm/vit_small_patch14_dinov2.lvd142m" in [row["name"] for row in search_backbones("dinov2")]
    assert "i3d-flow" in [row["name"] for row in search_backbones("I3D")]
    assert "--search looks for backbones" in refused("list", "datasets", "--search", "rg")
