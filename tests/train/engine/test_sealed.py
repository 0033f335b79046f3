"""Files of tensors with a checksum: any changed byte that counts is refused."""

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open

from longtake.train.engine.sealed import read_sealed, sum_of_json, write_sealed

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b/c": torch.tensor([1, 2]), "empty": torch.zeros(0, 4)}
FACTS = {"format": "kind-2", "config": "{}"}


@pytest.fixture
def file(tmp_path):
    write_sealed(tmp_path / "t.safetensors", TENSORS, FACTS)
    return tmp_path / "t.safetensors"


def test_what_is_written_is_read(file):
    tensors, facts = read_sealed(file, "kind")
    assert facts == FACTS and set(tensors) == set(TENSORS)
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    with safe_open(file, framework="pt") as plain:
        assert torch.equal(plain.get_tensor("a"), TENSORS["a"]), "any reader of safetensors reads it"


def test_every_changed_byte_is_refused_or_without_effect(file):
    whole = file.read_bytes()
    refused = 0
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 1 << np.random.default_rng(place).integers(8)
        file.write_bytes(content)
        try:
            tensors, facts = read_sealed(file, "kind")
        except (ValueError, SafetensorError, OSError):
            refused += 1
            continue
        assert facts == FACTS and all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS), place
    assert refused > len(whole) - 16


def test_other_formats_are_refused(file):
    with pytest.raises(ValueError, match="of format 'kind-2'; other-2 expected"):
        read_sealed(file, "other")


def test_the_order_of_keys_does_not_matter():
    assert sum_of_json({"a": 1, "b": [2.5, None]}) == sum_of_json({"b": [2.5, None], "a": 1}) != sum_of_json({"a": 1})
