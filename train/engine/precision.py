"""The precision in which heads compute."""

from __future__ import annotations

import torch

FLOAT32, BFLOAT16 = "float32", "bfloat16"
PRECISIONS = (FLOAT32, BFLOAT16)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Matrix products of the head in bfloat16, where the settings say so; losses and scores stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == BFLOAT16)
