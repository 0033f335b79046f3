"""One vector a clip: sound of several lengths in one batch, and what models of transformers return in other versions."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from longtake.extract.backbones import build, get_spec
from longtake.extract.backbones.hf_outputs import as_tensor, body, clip_length
from longtake.extract.errors import ExtractError
from tests.extract.backbones.hf_models import save


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper", "clap"])
def test_clips_of_sound_do_not_depend_on_each_other(tmp_path: Path, kind: str) -> None:
    save(kind, tmp_path / kind)
    backbone = build(get_spec(f"hf/{tmp_path / kind}"))
    backbone.init_random(0)
    rule = backbone.spec.frames
    table = torch.full((3, rule.num_frames, 1), np.nan)
    for row, count in enumerate((rule.sample_rate, rule.sample_rate // 3, 7)):
        table[row, :count, 0] = torch.randn(count, generator=torch.Generator().manual_seed(row)) / 10
    together = backbone.forward(table)
    assert torch.isfinite(together).all()
    for row in range(3):
        torch.testing.assert_close(backbone.forward(table[row : row + 1])[0], together[row], rtol=1e-4, atol=1e-5)
    longer = table.clone()
    longer[1, rule.sample_rate // 3 : rule.sample_rate, 0] = 0  # zeros are sound too; NaN is none
    assert not torch.allclose(backbone.forward(longer)[1], together[1], atol=1e-4) or kind == "clap"


def test_small_differences_between_models() -> None:
    assert torch.equal(as_tensor(torch.ones(2)), as_tensor(SimpleNamespace(pooler_output=torch.ones(2))))
    assert clip_length(SimpleNamespace(model_type="x", vision_config=SimpleNamespace(num_frames=8))) == 8
    with pytest.raises(ExtractError, match="states no number of frames"):
        clip_length(SimpleNamespace(model_type="x"))
    whole = SimpleNamespace()
    assert body(whole) is whole
