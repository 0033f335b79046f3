"""More than one vector a clip: which tokens are kept, in which order, and of what cannot be kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from longtake.extract.backbones import build, get_spec, network_of
from longtake.extract.backbones.pooling import keep, pool_rule, pooled_spec
from longtake.extract.errors import ExtractError
from tests.extract.backbones.hf_models import save
from tests.extract.backbones.parity import clip_of, frames


@pytest.mark.parametrize(
    ("pool", "layers", "message"),
    [("max", None, "--pool takes"), ("map:3x3", None, "--pool takes"), ("map:0x1x1", None, "--pool takes"), (None, "0", "--layers takes"),
     (None, "first", "--layers takes"), (None, "-1,,2", "--layers takes")],
)  # fmt: skip
def test_wrong_options(pool: str | None, layers: str | None, message: str) -> None:
    with pytest.raises(ExtractError, match=message):
        pool_rule(pool, layers)


def test_rules() -> None:
    assert pool_rule(None, None) is None, "recipes without these options stay as they are"
    rule = pool_rule(None, "last,-4, 2")
    assert rule is not None and rule.pool == "mean" and rule.layers == (None, -4, 2)
    assert dict(rule.facts(1)) == {"pool": "mean", "layers": "last,-4,2", "tokens": 1}


def test_what_is_kept_and_in_which_order() -> None:
    spec = get_spec("i3d")
    first = torch.arange(2.0).view(1, 1, 2) - 100
    places = torch.arange(2 * 2 * 4 * 2.0).view(1, 2, 2, 4, 2)  # times, rows, columns, values

    def kept(pool: str) -> torch.Tensor:
        rule = pool_rule(pool, None)
        assert rule is not None
        return keep(spec, rule, first, places)

    assert torch.equal(kept("mean")[:, 0], places.mean((1, 2, 3)))
    assert torch.equal(kept("cls"), first)
    assert torch.equal(kept("tokens"), torch.cat([first, places.view(1, 16, 2)], 1))
    by_hand = [places[0, t, r, c : c + 2].mean(0) for t in range(2) for r in range(2) for c in (0, 2)]
    torch.testing.assert_close(kept("map:2x2x2")[0], torch.stack(by_hand))
    with pytest.raises(ExtractError, match="its map of 2x2x4 places has not the 3x1x1"):
        kept("map:3x1x1")
    with pytest.raises(ExtractError, match="no class token"):
        keep(spec, pool_rule("cls", None), first[:, :0], places)  # type: ignore[arg-type]


def pooled(spec: Any, pool: str | None, layers: str | None) -> Any:
    rule = pool_rule(pool, layers)
    assert rule is not None
    wider = pooled_spec(spec, network_of(spec), rule, spec.clips.length)
    backbone = build(wider, pool=rule)
    backbone.init_random(0)
    return backbone


@pytest.mark.parametrize("kind", ["videomae", "vivit", "timesformer", "vjepa2", "vit"])
def test_tokens_have_their_places(tmp_path: Path, kind: str) -> None:
    """What changes at one time and place changes the token of that place most."""
    save(kind, tmp_path / kind)
    spec = get_spec(f"hf/{tmp_path / kind}")
    if kind == "vit":
        spec = replace(spec, clips=replace(spec.clips, length=4, stride=4))
    backbone = pooled(spec, "tokens", "1")
    clip = clip_of(spec, frames(4, 36, 36))
    changed = clip.clone()
    changed[:, 2:, 16:, :16] = 255 - changed[:, 2:, 16:, :16]  # the last frames, the lower left quarter
    width = 32
    rows = [backbone.forward(x).view(-1, width) for x in (clip, changed)]
    num_places = dict(backbone.spec.facts)["tokens"] // 4 * 4
    times = num_places // 4
    apart = (rows[0] - rows[1]).norm(dim=1)[-num_places:].view(times, 2, 2)
    assert apart.argmax() == apart[times // 2 :].argmax() + apart[: times // 2].numel()
    late = apart[times // 2 :].mean(0)
    assert late.argmax() == 2, "row 1, column 0"


def test_the_default_is_one_of_them(tmp_path: Path) -> None:
    for kind, pool in (("videomae", "mean"), ("vivit", "cls"), ("vit", "cls")):
        save(kind, tmp_path / kind)
        spec = get_spec(f"hf/{tmp_path / kind}")
        plain = build(spec)
        plain.init_random(0)
        clip = clip_of(spec, frames(spec.clips.length, 36, 36))
        wider = pooled(spec, pool, "last,-1,1")
        assert wider.spec.dim == 3 * spec.dim and dict(wider.spec.facts)["tokens"] == 1
        torch.testing.assert_close(wider.forward(clip)[:, : spec.dim], plain.forward(clip), rtol=1e-4, atol=1e-5)
        assert wider.classify(clip) is None


def test_networks_of_other_libraries() -> None:
    timm = get_spec("timm/vit_tiny_patch16_224")
    backbone = pooled(timm, "map:1x7x7", "-4,last")
    assert backbone.spec.dim == 2 * 49 * 192
    with pytest.raises(ExtractError, match="it gives one vector a clip"):
        pooled(get_spec("torchvision/squeezenet1_1"), "mean", None)
    with pytest.raises(ExtractError, match="only the last layer"):
        pooled(get_spec("i3d"), "mean", "-4")


def test_i3d_keeps_a_map() -> None:
    spec = get_spec("i3d")
    spec = replace(
        spec,
        frames=replace(spec.frames, short_side=64, crop_height=64, crop_width=64),
        clips=replace(spec.clips, length=8, stride=8),
    )
    wider, plain = pooled(spec, "map:1x2x2", None), build(spec)
    plain.init_random(0)
    clip = clip_of(spec, frames(8))
    assert wider.spec.dim == 4 * 1024
    torch.testing.assert_close(wider.forward(clip).view(1, 4, 1024).mean(1), plain.forward(clip), rtol=1e-4, atol=1e-5)


def test_rows_are_limited() -> None:
    with pytest.raises(ExtractError, match="values a clip, at most 1,048,576 are stored"):
        pooled(get_spec("timm/vit_tiny_patch16_224"), "tokens", ",".join(str(layer) for layer in [*range(1, 13)] * 3))


def test_the_mean_of_the_map_of_frames_is_the_vector() -> None:
    spec = get_spec("efficientnet-lite0")
    spec = replace(spec, frames=replace(spec.frames, crop_height=64, crop_width=64))
    wider, plain = pooled(spec, "map:1x2x2", None), build(spec)
    plain.init_random(0)
    clip = clip_of(spec, frames(2))
    assert wider.spec.dim == 4 * 1280
    torch.testing.assert_close(wider.forward(clip).view(1, 4, 1280).mean(1), plain.forward(clip), rtol=1e-4, atol=1e-5)
