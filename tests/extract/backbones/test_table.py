"""The table of backbones, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from longtake.extract.backbones import TABLE, build, get_spec, list_specs
from longtake.extract.errors import ExtractError


def test_tables_agree_and_unknown_names_get_a_hint() -> None:
    assert [spec.name for spec in list_specs()] == list(TABLE)
    with pytest.raises(ExtractError, match="did you mean i3d"):
        get_spec("i3")
    with pytest.raises(ExtractError, match="float32 or bfloat16"):
        build("i3d", precision="float16")


def test_specs_need_no_torch() -> None:
    code = (
        "import sys, longtake.extract.backbones as b, longtake.extract.backbones.weights, longtake.extract.backbones.text_encoders; b.list_specs(); "
        "sys.exit(bool({'torch', 'cv2', 'av', 'open_clip'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
