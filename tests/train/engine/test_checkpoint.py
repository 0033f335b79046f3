"""Checkpoints: every head is restored as it was, and an untrusted file is refused before memory is allocated."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from longtake.features.types import FeatureHeader
from longtake.train.cli import main
from longtake.train.data.dataset import ScoreScale
from longtake.train.engine.checkpoint import KIND, load_checkpoint, save_checkpoint, with_first_weights
from longtake.train.engine.head_config import HeadConfig
from longtake.train.engine.sealed import read_sealed, write_sealed
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import CheckpointError
from longtake.train.heads import TABLE
from longtake.train.heads.plugin import PLUGINS
from tests.calls import invoke
from tests.train.heads.kit import AUDIO_DIM, DIM, STREAM_DIMS, make_batch, make_head, plugins, ready
from tests.train.planted import planted_store


def header(dim: int) -> str:
    return FeatureHeader("planted", "video", dim, "planted", None, False, 16, 16, "pad", 25.0).to_json()


def config_of(name: str, head: torch.nn.Module, **others: object) -> HeadConfig:
    settings = asdict(getattr(head, "host", head).settings)
    return HeadConfig(
        **{
            "head": name, "dim": DIM, "head_settings": settings, "train_settings": TrainSettings(),
            "dataset": "planted", "category": "", "score": ScoreScale("total", 0.0, 10.0, True), "parts": (), "window": 9, "seed": 0, "fold": None,
            "feature_header": header(DIM), "recipe_id": "", "audio_header": header(AUDIO_DIM), "text_recipe_id": None,
            "plugin": None, "plugin_settings": {}, "terms": {}, "random_weights": True, "versions": {},
            "stream_headers": {stream: header(STREAM_DIMS[stream]) for stream in head.batch_needs.streams}, **others,
        }
    )  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_every_head_is_restored(tmp_path, name):
    head = ready(make_head(name))
    save_checkpoint(tmp_path / "h.safetensors", head, config_of(name, head))
    again, config = load_checkpoint(tmp_path / "h.safetensors")
    batch = make_batch([6, 9, 4])
    with torch.no_grad():
        assert torch.equal(again(batch).score01, head(batch).score01)
    assert config.head == name and all(tensor.device.type == "cpu" for tensor in again.state_dict().values())


@pytest.mark.parametrize("plugin", plugins(), ids=lambda plugin: plugin.kind.__name__)
def test_every_plugin_is_restored(tmp_path, plugin):
    texts = {group: torch.randn(4, 16) for group in plugin.groups}
    head = ready(plugin.kind(make_head("i3d-mlp"), DIM, texts, AUDIO_DIM, plugin.kind.Settings()))
    (name,) = [name for name, variants in PLUGINS.items() if plugin.kind in {one.kind for one in variants}]
    described = config_of("i3d-mlp", head, plugin=name, plugin_settings=asdict(head.settings))
    save_checkpoint(tmp_path / "h.safetensors", head, described)
    again, _ = load_checkpoint(tmp_path / "h.safetensors")
    batch = make_batch([6, 9, 4])
    with torch.no_grad():
        assert torch.equal(again(batch).score01, head(batch).score01)


@pytest.fixture
def file(tmp_path):
    head = ready(make_head("gdlt"))
    save_checkpoint(tmp_path / "h.safetensors", head, config_of("gdlt", head))
    return tmp_path / "h.safetensors"


def rewrite(file, change):
    tensors, metadata = read_sealed(file, KIND)
    config = change(json.loads(metadata["config"]))
    write_sealed(file, tensors, metadata | {"config": json.dumps(config)})


DAMAGED = {
    "a list": lambda config: [],
    "a setting of a later release": lambda config: config | {"train_settings": config["train_settings"] | {"new": 1}},
    "a score of a later release": lambda config: config | {"score": config["score"] | {"new": 1}},
    "a score in words": lambda config: config | {"score": "total"},
    "an unknown optimizer": lambda config: config | {"train_settings": {"optimizer": "lion"}},
    "parts without a score": lambda config: config | {"parts": [{"dataset": "a", "category": "b"}]},
    "parts in words": lambda config: config | {"parts": ["a"]},
    "heads that do not divide the width": lambda config: config | {"head_settings": config["head_settings"] | {"heads": 3}},
    "an unknown plug-in": lambda config: config | {"plugin": "mag3"},
    "a plug-in without texts": lambda config: config | {"plugin": "mag2"},
    "settings as a list": lambda config: config | {"head_settings": [1]},
    "a recipe in words": lambda config: config | {"feature_header": "[]"},
    "another width": lambda config: config | {"head_settings": config["head_settings"] | {"width": 32}},
    "another head": lambda config: config | {"head": "usdl", "head_settings": {}},
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_configuration_is_refused(file, what):
    rewrite(file, DAMAGED[what])
    with pytest.raises(
        CheckpointError, match=r"h.safetensors (is not valid|does not describe a head of this release):\s+\S"
    ):
        load_checkpoint(file)


def test_all_faults_are_reported_together(file):
    rewrite(
        file,
        lambda config: {
            **config,
            "dim": "8",
            "wndow": 9,
            "train_settings": {"optimizer": "lion"},
            "feature_header": "{",
        },
    )
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(file)
    first, *faults = str(raised.value).splitlines()
    assert first == f"the configuration in {file} is not valid:"
    assert [fault.split()[0] for fault in faults] == ["unknown", "dim", "train_settings:", "feature_header"]


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config | {"dim": 10**9},
        lambda config: config | {"head_settings": config["head_settings"] | {"width": 2**20}},
        lambda config: config | {"head_settings": config["head_settings"] | {"encoder_layers": 10**9}},
    ],
)
def test_memory_of_claimed_sizes_is_not_allocated(file, change):
    """The error is about the weights, not about memory."""
    rewrite(file, change)
    with pytest.raises(CheckpointError, match="weights and settings differ in|more layers than tensors"):
        load_checkpoint(file)


def test_equal_heads_give_equal_bytes(tmp_path):
    """safetensors writes the entries of its metadata in an order that differs from one time to the next."""
    head = ready(make_head("gdlt"))
    path = tmp_path / "h.safetensors"
    contents = set()
    for _ in range(10):
        save_checkpoint(path, head, config_of("gdlt", head))
        contents.add(path.read_bytes())
    (content,) = contents
    assert int.from_bytes(content[:8], "little") % 8 == 0, "tensors are aligned"
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["format"] == "longtake-head-2" and set(file.keys()) == set(head.state_dict())


def test_a_checkpoint_of_0_1_has_no_checksum_and_is_read(file):
    tensors, metadata = read_sealed(file, KIND)
    save_file(tensors, file, metadata | {"format": "longtake-head-1"})
    state = load_checkpoint(file)[0].state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in tensors.items())


def test_a_changed_weight_is_refused(file):
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged after it was written"):
        load_checkpoint(file)


def test_the_first_weights_are_those_with_which_training_began(tmp_path):
    """Trained at a learning rate that changes nothing."""
    store = planted_store(tmp_path / "s.h5", num_train=6, num_test=3)
    call = ("heads", "--features", store, "--head", "gdlt", "--epochs", 1, "--set", "lr=1e-30", "--seeds", 2)
    invoke(main, *call, "--no-intervals", "--out", tmp_path / "run")
    (path,) = (tmp_path / "run" / "checkpoints").glob("*seed1.safetensors")
    head, config = load_checkpoint(path)
    before = torch.random.get_rng_state()
    first = with_first_weights(head, config)
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, value in first.named_parameters():
        torch.testing.assert_close(value, head.get_parameter(name), rtol=0, atol=1e-20)
    assert not torch.equal(with_first_weights(head, replace(config, seed=0)).prototypes, head.prototypes)
