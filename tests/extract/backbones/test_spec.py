"""What a backbone cannot be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from longtake.extract.backbones import get_spec


def test_specs_that_are_refused() -> None:
    spec = get_spec("i3d")
    with pytest.raises(ValueError, match="i3d: modality 'smell' is not one of video, audio, image, text"):
        replace(spec, modality="smell")
    with pytest.raises(ValueError, match="i3d: dim must be 1 or more, got 0"):
        replace(spec, dim=0)
