"""Networks run by OpenVINO give torch's numbers, the same bits from the cache, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from longtake.extract import backbones
from longtake.extract.backbones import TABLE, compiled_cache, get_spec
from longtake.extract.backbones.openvino import converted
from longtake.extract.backbones.runtime import FLOAT32_BOUND
from longtake.extract.backbones.spec import Network
from longtake.extract.cli import main as extract
from longtake.extract.errors import NotConverted
from longtake.extract.preprocessing import FrameRule
from longtake.features.store import open_store
from tests.calls import invoke
from tests.extract import small_network
from tests.extract.runs import ROOT, make_dataset
from tests.processor import needs_bfloat16

pytest.importorskip("openvino")
SPEC = replace(get_spec("i3d"), dim=4, frames=FrameRule(16, 16, 16, (127.5,) * 3, (127.5,) * 3))


def tiny(features=None, spec=SPEC):
    """A network of one convolution behind the machinery of the real ones."""
    from longtake.extract.backbones.frozen import Backbone

    def made():
        network = Network(
            lambda num_classes: torch.nn.Conv3d(3, 4, 3),
            features=features or (lambda network, pictures: network(pictures).relu().mean(dim=(2, 3, 4))),
        )
        backbone = Backbone(spec, network, precision="float32", device="cpu")
        backbone.init_random(0)
        return backbone

    return made


def convert(make, precision="float32", batch_size=3, notes=None, **facts):
    return converted(
        make().spec, make, precision=precision, batch_size=batch_size, length=4, facts={"weights_sha256": "a", **facts},
        on_note=(notes if notes is not None else []).append,
    )  # fmt: skip


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(((found - expected).norm(dim=1) / expected.norm(dim=1)).max())


def clips(seed: int, size: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (size, 4, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=needs_bfloat16)])
def test_the_cache_gives_the_same_bits(precision, monkeypatch):
    """A second start reads the network, makes none in torch, and gives what the first gave, at every place of a batch."""
    notes: list[str] = []
    first = convert(tiny(), precision, notes=notes)
    expected = first.forward(clips(1))
    apart = relative(expected, tiny()().forward(clips(1)))
    assert apart <= FLOAT32_BOUND if precision == "float32" else FLOAT32_BOUND < apart < 0.01
    assert len(notes) == 1 and "once" in notes[0]
    monkeypatch.setattr("longtake.extract.backbones.to_openvino.convert", None)
    again = converted(SPEC, lambda: pytest.fail("no network of torch is needed"), precision=precision, batch_size=3,
                      length=4, facts={"weights_sha256": "a"}, on_note=notes.append)  # fmt: skip
    assert torch.equal(again.forward(clips(1)), expected) and len(notes) == 1
    assert torch.equal(again.forward(clips(1).flip(0)), expected.flip(0)), "another place in the batch"
    mixed = torch.cat([clips(1)[:1], clips(2)[1:]])
    assert torch.equal(again.forward(mixed)[0], expected[0]), "other clips in the batch"


def test_other_facts_are_other_files_and_corrupt_ones_are_made_again():
    notes: list[str] = []
    for facts in ({"weights_sha256": "a"}, {"weights_sha256": "b"}, {"weights_sha256": "a"}):
        convert(tiny(), notes=notes, **facts)
    assert len(notes) == 2
    convert(tiny(), batch_size=2, notes=notes, weights_sha256="a")
    assert len(notes) == 3
    for path in compiled_cache.folder().iterdir():
        compiled_cache.write(path, b"no network, under a checksum that fits")
    found = convert(tiny(), notes=notes, weights_sha256="a")
    assert len(notes) == 4
    assert relative(found.forward(clips(1)), tiny()().forward(clips(1))) <= FLOAT32_BOUND


def test_a_network_made_by_other_code_is_converted_again(monkeypatch):
    notes: list[str] = []
    convert(tiny(), notes=notes)
    monkeypatch.setattr("longtake.extract.backbones.openvino._code", lambda: "changed since")
    convert(tiny(), notes=notes)
    assert len(notes) == 2


def test_weights_without_a_checksum_are_not_kept():
    convert(tiny(), weights_sha256=None)
    assert not compiled_cache.folder().exists()


def test_a_network_that_goes_by_the_values_is_refused():
    """Traced with one input it would take the same branch for all others."""

    def features(network, pictures):
        return network(pictures if float(pictures.mean()) > 0 else -pictures).mean(dim=(2, 3, 4))

    with pytest.raises(NotConverted, match="i3d cannot be run by OpenVINO: it cannot be converted"):
        convert(tiny(features))


def test_wrong_numbers_are_refused_and_not_kept(monkeypatch):
    make = tiny()
    backbone = make()
    monkeypatch.setattr(backbone, "forward", lambda clips: torch.ones(len(clips), 4))
    with pytest.raises(NotConverted, match="differs from torch by"):
        converted(SPEC, lambda: backbone, precision="float32", batch_size=3, length=4, facts={"weights_sha256": "a"})
    assert not compiled_cache.folder().exists()
    monkeypatch.setattr(backbone, "forward", lambda clips: torch.full((len(clips), 4), float("nan")))
    with pytest.raises(NotConverted, match="differs from torch by nan"):
        converted(SPEC, lambda: backbone, precision="float32", batch_size=3, length=4, facts={})


def test_a_network_that_does_not_see_its_input_is_refused():
    with pytest.raises(NotConverted, match="does not depend on its input"):
        convert(tiny(lambda network, pictures: torch.ones(3, 4)))


def test_a_run_with_a_network_of_the_cache_does_not_import_torch(tmp_path, monkeypatch):
    """Nor the libraries of networks; and its features have the bits of the run that converted the network."""
    monkeypatch.setattr(backbones, "TABLE", dict(TABLE))
    small_network.install()
    make_dataset(tmp_path, [9, 30])
    weights = tmp_path / "small.safetensors"
    torch.manual_seed(0)
    save_file({key: value.clone() for key, value in torch.nn.Conv3d(3, 4, 3).state_dict().items()}, weights)
    call = ["run", "--manifest", tmp_path / "small.csv", "--videos", tmp_path / "videos", "--weights", weights]
    call = [str(word) for word in (*call, "--backbone", small_network.NAME, "--out")]
    first = invoke(extract, *call, str(tmp_path / "first.h5"), status=0)
    assert "converting the network" in first.stderr
    done = subprocess.run(
        [sys.executable, "-m", small_network.__name__, *call, str(tmp_path / "second.h5")], capture_output=True, text=True, cwd=ROOT
    )  # fmt: skip
    assert done.returncode == 0 and "converting" not in done.stderr, done.stderr
    assert done.stdout.splitlines()[-1] == "imported openvino"
    with open_store(tmp_path / "first.h5") as one, open_store(tmp_path / "second.h5") as two:
        for name in ("v0", "v1"):
            expected = one.stream().read(name).features
            assert expected.any() and np.array_equal(two.stream().read(name).features, expected)
