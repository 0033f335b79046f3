"""Find the width of a network's features without weights and, where the library allows it, without memory for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from longtake.extract.backbones.families import refused

if TYPE_CHECKING:
    import torch


def feature_dim(
    source: str, make: Callable[[], Any], features: Callable[[Any, torch.Tensor], torch.Tensor], shape: tuple[int, ...]
) -> int:
    """The last size of what `features` gives for one input of this shape. `ExtractError` if that is not one vector."""
    import torch

    reason = ""
    for device in ("meta", "cpu"):  # some networks read values while they are built, which the first does not have
        try:
            with torch.random.fork_rng(devices=[]), torch.device(device), torch.inference_mode():
                found = features(make().eval(), torch.zeros(shape))
        except Exception as error:  # a network of another project can raise anything; it cannot be used
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            continue
        if found.ndim != 2 or found.shape[0] != shape[0]:
            raise refused(source, f"its output has the shape {tuple(found.shape)} and not one vector for each picture")
        return int(found.shape[1])
    raise refused(source, f"it does not run on an input of shape {shape} ({reason})")
