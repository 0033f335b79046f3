"""In which precision a head is trained where `auto` decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from longtake.train.engine.settings import AUTO, BFLOAT16, FLOAT32
from longtake.train.heads import get_head
from longtake.train.protocol.options import Options
from longtake.train.protocol.presets import preset_row
from longtake.train.protocol.units import Unit


def computes_in_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16. Without them it imitates it, which takes 15 to 50 times as long as float32."""
    return torch.cpu._is_avx512_bf16_supported()


def with_precision(
    units: Sequence[Unit], head: str, dataset: str, options: Options, device: torch.device
) -> tuple[Unit, ...]:
    """The units with the precision that `auto` takes on this machine, where neither the user nor the preset names one.

    `auto` is bfloat16 on a processor that computes in it, for a head of which that is known to be faster and equal (`Head.bfloat16`).
    A plug-in before the head and a GPU are not measured: float32. The settings of a run record what was taken, and a resumed run keeps it.
    """
    fast = get_head(head).bfloat16 and options.plugin is None and device.type == "cpu" and computes_in_bfloat16()
    dataset = "" if options.unified else dataset
    found = []
    for unit in units:
        train = unit.settings.train
        stated = {**preset_row(options.preset, head, dataset, unit.category), **dict(options.overrides)}
        if stated.get("precision", AUTO) == AUTO:
            train = replace(train, precision=BFLOAT16 if fast else FLOAT32)
        found.append(replace(unit, settings=replace(unit.settings, train=train)))
    return tuple(found)
