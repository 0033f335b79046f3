"""Which library computes a network, and what of that the recipe states."""

import subprocess
import sys

import pytest

from longtake.extract.backbones import runtime
from longtake.extract.errors import ExtractError


@pytest.mark.parametrize(
    "precision, name, stated",
    [
        ("float32", "torch", "float32"),
        ("float32", "openvino", "float32"),
        ("bfloat16", "torch", "bfloat16"),
        ("bfloat16", "openvino", "bfloat16 by OpenVINO 2026.4"),
    ],
)
def test_the_recipe_names_openvino_where_its_numbers_differ(monkeypatch, precision, name, stated):
    monkeypatch.setattr(runtime, "openvino_version", lambda: "2026.4.1")
    assert runtime.stated_precision(precision, name) == stated
    made_by = None if precision == "float32" else name
    assert runtime.from_stated(stated) == (precision, made_by)


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(runtime, "openvino_version", lambda: "2026.4.1")
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert "openvino" in runtime.import_fault()
    with pytest.raises(ExtractError, match=r"pip install 'longtake\[openvino\]'"):
        runtime.import_openvino()


def test_a_package_that_is_too_old_or_broken_in_any_way(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "openvino_version", lambda: "2022.3.0")
    assert runtime.import_fault() == "version 2022.3.0 is older than 2026.2"
    monkeypatch.setattr(runtime, "openvino_version", lambda: "2026.4.1")
    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "openvino.py").write_text("raise AttributeError('numpy has no attribute bool')")
    assert runtime.import_fault() == "numpy has no attribute bool"


def test_importing_sends_no_reports():
    """The package sends one at its import, and one for each conversion, unless its module for that is missing."""
    pytest.importorskip("openvino")
    code = (
        "import sys; from longtake.extract.backbones.runtime import import_openvino; found = import_openvino();"
        "import openvino.tools.ovc.telemetry_utils as utils;"
        "print(found.__name__, utils.tm.__name__, 'openvino_telemetry' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["openvino", "openvino.tools.ovc.telemetry_stub", "False"]
