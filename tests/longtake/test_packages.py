"""Packages that are not installed, and installed ones that do not load."""

import os
import subprocess
import sys

import click
import pytest

from longtake.errors import LongtakeError
from longtake.packages import needs, why_not_loaded
from longtake.terminal import Console
from tests.calls import ROOT, invoke

BROKEN = [
    "raise RuntimeError('operator torchvision::nms does not exist')",
    "raise ImportError('libcudnn.so.9: undefined symbol: x')",
    "raise OSError('libcudart.so.12: cannot open shared object file')",
    "raise ValueError('numpy.dtype size changed')",
    "import brokenpackage.machine_code",
    "from json import no_such_name",
    "def first():\n    raise AttributeError('numpy has no float')\nfirst()",
]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes the package brokenpackage, which can be imported then."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source):
        (tmp_path / "brokenpackage").mkdir()
        (tmp_path / "brokenpackage" / "__init__.py").write_text(source)

    yield write
    sys.modules.pop("brokenpackage", None)


@pytest.mark.parametrize("source", BROKEN)
def test_an_installed_package_that_does_not_load_is_one_message(package, source):
    package(source)

    @click.command()
    def works():
        with needs(lambda name: LongtakeError(f"install {name}")):
            import brokenpackage  # noqa: F401

    done = invoke(Console("group", commands=[works]), "works", status=2)
    assert done.stderr.startswith("error: the installed package brokenpackage does not load: ")
    assert "new environment" in done.stderr and done.stderr.count("\n") == 1


def test_a_name_that_the_installed_version_lacks():
    with pytest.raises(ImportError) as found:
        from json import no_such_name  # noqa: F401
    assert "the installed package json does not load" in why_not_loaded(found.value)


@pytest.mark.parametrize("name", ["nosuchpackage", "nosuchpackage.inside"])
def test_a_package_that_is_not_installed(name):
    with (
        pytest.raises(LongtakeError, match="^install nosuchpackage$"),
        needs(lambda name: LongtakeError(f"install {name}")),
    ):
        __import__(name)
    with pytest.raises(ImportError) as found:
        __import__(name)
    assert why_not_loaded(found.value).startswith("the package nosuchpackage is not installed")


def test_our_own_faults_are_not_hidden():
    for source in (
        "raise ValueError('ours')",
        "from longtake.errors import no_such_name",
        "import longtake.no_such_module",
    ):
        with pytest.raises(Exception) as found:
            exec(compile(source, "ours.py", "exec"), {"__name__": "longtake.new"})
        assert why_not_loaded(found.value) is None, source


def test_commands_where_torch_does_not_load(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libtorch_cuda.so: undefined symbol')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    call = [sys.executable, "-m", "longtake.train.cli", "heads", "--features", "none.h5", "--head", "usdl"]
    done = subprocess.run([*call, "--out", tmp_path / "run"], env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "the installed package torch does not load" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
