"""Who may import whom. The rules are data; a test shows that breaking one is noticed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.features.fakes import make_store

ROOT = Path(__file__).resolve().parents[1]
DECODERS_AND_BACKBONES = {
    "av", "cv2", "decord", "torchcodec", "torchvision", "open_clip", "pytorchvideo", "transformers", "timm", "dask",
}  # fmt: skip
FORBIDDEN = {
    "manifests": {"features", "extract", "train", "numpy", "h5py", "torch"} | DECODERS_AND_BACKBONES,
    "features": {"extract", "train", "torch", "safetensors"} | DECODERS_AND_BACKBONES,
    "train": {"extract", "h5py", "zarr"} | DECODERS_AND_BACKBONES,
    "extract": {"train"},
}
LIGHT = {
    "manifests.table": ("numpy", "torch"),
    "features.cli": ("numpy", "torch", "av", "zarr", "fsspec", "jinja2"),
    "train.cli": ("numpy", "torch", "scipy", "zarr", "fsspec", "matplotlib", "jinja2"),
    "extract.cli": ("numpy", "torch", "av", "cv2", "open_clip"),
    "extract.listing": ("numpy", "torch", "av", "cv2", "open_clip", "http"),
}
"""Module -> what importing it must not load, so that --help and `list` start at once."""


def imports(source: str) -> set[str]:
    """Top-level packages that a module names anywhere, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found


def violations(package: str, source: str) -> set[str]:
    return imports(source) & FORBIDDEN[package]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(path.relative_to(ROOT)): found for path in files if (found := violations(package, path.read_text()))}
    assert not wrong


@pytest.mark.parametrize(
    "package, source",
    [
        ("train", "import extract"),
        ("train", "def f():\n    from extract.clips import Clip"),
        ("features", "import torch.nn as nn"),
        ("extract", "if True:\n    from train import fit"),
        ("manifests", "import numpy"),
    ],
)
def test_that_the_test_can_fail(package, source):
    assert violations(package, source)


@pytest.mark.parametrize("module", LIGHT)
def test_start_up_is_light(module):
    heavy = LIGHT[module]
    code = f"import sys, {module}; print(sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


HEAVY = ("torch", "torchvision", "av", "cv2", "open_clip", "dask")


@pytest.mark.parametrize(
    "command, allowed",
    [
        *((f"extract{words} --help", ()) for words in ("", " run", " text", " list", " probe", " weights")),
        *((f"features{words} --help", ()) for words in ("", " info", " merge", " verify")),
        *((f"train{words} --help", ()) for words in ("", " heads", " predict", " sweep")),
        ("extract list", ()),
        ("extract list --json", ()),
        ("extract weights list", ()),
        ("features info STORE", ("numpy",)),
        ("features ls STORE", ("numpy",)),
    ],
)
def test_commands_load_only_what_they_need(tmp_path, command, allowed):
    program, *arguments = command.split()
    if "STORE" in arguments:
        make_store(tmp_path / "small.h5", {"v": 2})
        arguments = [str(tmp_path / "small.h5") if word == "STORE" else word for word in arguments]
    code = f"""import sys
from {program}.cli import main
main({arguments!r}, standalone_mode=False)
print(sorted({{*{HEAVY!r}, "numpy"}} & set(sys.modules)))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == str(sorted(allowed))


def test_every_package_is_in_setup_cfg():
    """They are listed one by one, so a new folder is easily forgotten and its wheel would lack it."""
    import configparser

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    there = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in FORBIDDEN
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert listed == there
