"""Linear layers that modalities share in part, against plain numpy."""

import numpy as np
import torch
from scipy.linalg import expm

from longtake.train.heads.blocks.factored import FactoredLinear, Rotation, rotations


def test_a_rotation_is_the_exponential_of_the_upper_triangle():
    torch.manual_seed(0)
    rotation = Rotation(5)
    rotation.base.copy_(torch.linalg.qr(torch.randn(5, 5))[0])
    upper = np.triu(rotation.skew.detach().numpy().astype(float), 1)
    expected = rotation.base.numpy() @ expm(upper - upper.T)
    np.testing.assert_allclose(rotations([rotation])[0].detach(), expected, atol=1e-6)


def test_a_layer_of_two_modalities():
    torch.manual_seed(0)
    layer, tokens = FactoredLinear(6, 7, 4, 2), torch.randn(2, 3, 5, 6)
    turns, expected = rotations([*layer.rotations]), []
    for index in range(2):
        inner = tokens[index].numpy() @ layer.own[index].weight.detach().numpy().T
        inner = inner / np.linalg.norm(inner, axis=-1, keepdims=True) @ turns[index].detach().numpy()
        expected.append(inner @ layer.shared.weight.detach().numpy().T + layer.shared.bias.detach().numpy())
    with torch.no_grad():
        np.testing.assert_allclose(layer(tokens, layer.own_matrices(slice(0, 2)), turns), expected, atol=1e-5)
        np.testing.assert_allclose(
            layer(tokens[1:], layer.own_matrices(slice(1, 2)), turns[1:]), expected[1:], atol=1e-5
        )
