"""Who may import whom. The rules are data; a test shows that breaking one is noticed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

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
    "features.cli": ("torch", "av", "zarr", "fsspec", "jinja2"),
    "train.cli": ("torch", "scipy", "zarr", "fsspec", "matplotlib", "jinja2"),
    "extract.cli": ("torch", "av", "cv2", "open_clip"),
    "extract.listing": ("torch", "av", "cv2", "open_clip"),
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
