"""Plug-ins before the heads that they are published with."""

import pytest
import torch

from longtake.train.engine.losses import total_loss
from longtake.train.engine.settings import TrainSettings
from tests.train.heads.kit import (
    AUDIO_DIM,
    DIM,
    check_that_padding_changes_nothing,
    make_batch,
    make_head,
    plugins,
    ready,
)

HOSTS = ["gdlt", "usdl", "musdl", "core", "tpt", "tsa", "i3d-mlp", "skating-mixer"]
HOSTS += ["t2cr"]
HOSTS += ["hgcn", "ms-lstm", "cofinal", "qtd"]


@pytest.mark.parametrize("plugin", plugins(), ids=lambda plugin: plugin.kind.__name__)
@pytest.mark.parametrize("name", HOSTS)
def test_plugins_before_the_hosts_of_mvla(name, plugin):
    """Both sides of a comparison are informed, padding stays hidden, and everything learns."""
    torch.manual_seed(0)
    texts = {group: torch.randn(4, 16) for group in plugin.groups}
    known = plugin.kind.Settings.__dataclass_fields__
    small = {key: value for key, value in {"width": 16, "heads": 2, "dropout": 0.0}.items() if key in known}
    head = plugin.kind(make_head(name), DIM, texts, AUDIO_DIM, plugin.kind.Settings(**small))
    check_that_padding_changes_nothing(ready(head))
    batch = make_batch([9, 7, 5, 8])
    loss, _ = total_loss(head.train()(batch), batch.target01, TrainSettings())
    loss.backward()
    silent = [n for n, p in head.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent, silent
    if head.batch_needs.exemplars:
        seen = []
        inner = head.host.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
        head.eval()(batch)
        inner.remove()
        assert not torch.equal(seen[0].exemplar.clips, batch.exemplar.clips)
