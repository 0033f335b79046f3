"""Who may import whom. The rules are data; tests show that breaking one is noticed."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx
import pytest

from tests.features.fakes import make_store

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("longtake", "manifests", "features", "extract", "train")
API = "longtake"
"""The package's own module: it offers every part lazily, so it may import all, and no module of ours imports it."""

DECODERS_AND_BACKBONES = {
    "av", "cv2", "decord", "torchcodec", "torchvision", "open_clip", "openvino", "pytorchvideo", "transformers", "timm", "dask", "distributed",
}  # fmt: skip
OURS = {
    "longtake": set(),
    "manifests": {"longtake"},
    "features": {"longtake", "manifests"},
    "extract": {"longtake", "manifests", "features"},
    "train": {"longtake", "manifests", "features"},
}
"""Folder -> the folders that it may import, besides itself."""
FORBIDDEN_LIBRARIES = {
    "longtake": {"numpy", "h5py", "zarr", "torch"} | DECODERS_AND_BACKBONES,
    "manifests": {"numpy", "h5py", "zarr", "torch"} | DECODERS_AND_BACKBONES,
    "features": {"torch", "safetensors"} | DECODERS_AND_BACKBONES,
    "extract": set(),
    "train": {"h5py", "zarr"} | DECODERS_AND_BACKBONES,
}
LAYERS = {
    "features": (("formats",), ("imports",), ("remotes",), ("tools",), ("catalog",), ("share_cli",), ("cli",)),
    "extract": (("decode", "backbones"), ("plan",), ("pipeline",), ("executors",), ("views", "like", "estimate", "listing", "prompts", "run"), ("cli",)),
    "train": (("heads",), ("data",), ("engine",), ("protocol",), ("runs",), ("sweep", "bench"), ("view",), ("cli",)),
}  # fmt: skip
"""Folder -> its layers from the bottom up. A part imports its own layer's same part and the layers below; parts of one layer do
not import each other. What is not named here is the folder's base, which imports no layer."""
HEADS_MAY_IMPORT = {"numpy", "torch", "longtake", "sklearn"}
"""And `longtake.train.errors`, each other, and the standard library."""

KNOWN: set[str] = set()
"""Arrows against the direction that are still to be removed."""


def modules() -> dict[str, Path]:
    """Import name -> file, of every module that is installed."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            relative = path.relative_to(ROOT)
            if folder == "longtake" and len(relative.parts) > 2:
                continue  # The links to the other folders.
            parts = relative.with_suffix("").parts
            name = ".".join(parts if folder == "longtake" else ("longtake", *parts))
            found[name.removesuffix(".__init__")] = path
    return found


def imports(source: str, module: str) -> Iterator[str]:
    """Dotted names that a module imports anywhere: inside functions and for type checks too. Names of objects may be at their end."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def resolve(name: str, known: dict[str, Path] | set[str]) -> str:
    """The module of ours that an imported name is in, or its top-level package."""
    parts = name.split(".")
    if parts[0] != "longtake":
        return parts[0]
    while parts and ".".join(parts) not in known:
        parts.pop()
    return ".".join(parts)


def folder_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FOLDERS else "longtake"


def layer_of(folder: str, module: str) -> tuple[int, str]:
    """How high in its folder a module is, and in which part; -1 for the base."""
    parts = module.split(".")
    part = parts[2] if len(parts) > 2 else ""
    for height, names in enumerate(LAYERS.get(folder, ())):
        if part in names:
            return height, part
    return -1, ""


def fault(module: str, imported: str) -> str:
    """Why `module` may not import `imported`, a module of ours or a top-level package; empty where it may."""
    folder = folder_of(module)
    if imported in ("extract", "features", "train", "manifests"):
        return "the import name begins with longtake"
    if not imported.startswith("longtake"):
        if imported in FORBIDDEN_LIBRARIES[folder]:
            return "a library that this folder must not need"
        if module.startswith("longtake.train.heads") and imported not in HEADS_MAY_IMPORT | sys.stdlib_module_names:
            return "heads need torch and numpy only, and scikit-learn where it is installed"
        if imported in ("dask", "distributed") and not module.startswith("longtake.extract.executors"):
            return "only executors know dask"
        return ""
    if module == API:
        return ""
    if imported == API:
        return "the API is for users"
    other = folder_of(imported)
    if other != folder:
        if module.startswith("longtake.train.heads") and other != "longtake":
            return "heads know nothing of files and datasets"
        return "" if other in OURS[folder] else f"{folder} may not import {other}"
    if module.startswith("longtake.train.heads") and not imported.startswith(
        ("longtake.train.heads", "longtake.train.errors")
    ):
        return "heads import each other and longtake.train.errors only"
    (height, part), (other_height, other_part) = layer_of(folder, module), layer_of(folder, imported)
    if other_height > height or (other_height == height and other_part != part):
        return (
            f"{part or 'the base'} is below {other_part}"
            if other_height > height
            else f"{part} and {other_part} are apart"
        )
    return ""


def arrows() -> Iterator[tuple[str, str]]:
    known = modules()
    assert len(known) > 100
    for module, path in known.items():
        for imported in {resolve(name, known) for name in imports(path.read_text(encoding="utf-8"), module)} - {module}:
            yield module, imported


def test_every_import_points_down():
    wrong = {f"{module} -> {imported}" for module, imported in arrows() if fault(module, imported)}
    assert wrong == KNOWN


KNOWN_CIRCLES: list[list[str]] = []


def circles(graph: networkx.DiGraph) -> list[list[str]]:
    return sorted(sorted(group) for group in networkx.strongly_connected_components(graph) if len(group) > 1)


def test_no_import_circle_lazy_or_not():
    graph = networkx.DiGraph((module, imported) for module, imported in arrows() if module != API)
    assert circles(graph) == KNOWN_CIRCLES


def test_that_a_circle_is_found():
    assert circles(networkx.DiGraph([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")])) == [["a", "b", "c"]]


@pytest.mark.parametrize(
    "module, source",
    [
        ("longtake.train.engine.loop", "import longtake.extract.clips"),
        ("longtake.train.engine.loop", "def f():\n    from longtake.extract.clips import Clip"),
        ("longtake.train.engine.loop", "from longtake.train.protocol import units"),
        ("longtake.train.data.dataset", "if TYPE_CHECKING:\n    from longtake.train.engine.loop import fit"),
        ("longtake.train.heads.gdlt", "from longtake.train.data.dataset import Batch"),
        ("longtake.train.heads.gdlt", "from longtake.manifests.table import Manifest"),
        ("longtake.train.heads.gdlt", "import scipy"),
        ("longtake.train.metrics", "import h5py"),
        ("longtake.features.store", "import torch.nn as nn"),
        ("longtake.features.store", "from longtake.features.tools.convert import convert"),
        ("longtake.extract.decode.pyav", "from longtake.extract.backbones.spec import BackboneSpec"),
        ("longtake.extract.plan.plan", "if True:\n    from longtake.extract.executors import dask"),
        ("longtake.extract.cli", "import distributed"),
        ("longtake.extract.cli", "from longtake import open_store"),
        ("longtake.extract.cli", "from train import fit"),
        ("longtake.manifests.card", "import numpy"),
        ("longtake.errors", "from longtake.manifests.card import Card"),
    ],
)
def test_that_the_test_can_fail(module, source):
    known = modules() | {
        "longtake.train.protocol.units": ROOT,
        "longtake.features.tools.convert": ROOT,
        "longtake.train.engine.loop": ROOT,
    }
    assert any(fault(module, resolve(name, known)) for name in imports(source, module))


LIGHT = {
    "longtake": ("numpy", "torch", "click"),
    "longtake.manifests.table": ("numpy", "torch"),
    "longtake.features.cli": ("numpy", "torch", "av", "zarr", "fsspec", "jinja2"),
    "longtake.train.cli": ("numpy", "torch", "scipy", "zarr", "fsspec", "matplotlib", "jinja2"),
    "longtake.extract.cli": ("numpy", "torch", "av", "cv2", "open_clip"),
    "longtake.extract.listing": ("numpy", "torch", "av", "cv2", "open_clip", "http"),
}
"""Module -> what importing it must not load, so that --help and `list` start at once."""


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
from longtake.{program}.cli import main
main({arguments!r}, standalone_mode=False)
print(sorted({{*{HEAVY!r}, "numpy"}} & set(sys.modules)))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == str(sorted(allowed))


def test_every_folder_with_a_module_is_a_package():
    """`find:` in setup.cfg takes packages only: a folder without `__init__.py` would be missing in a wheel."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["options"]["packages"] == "find:"
    folders = {path.parent for path in modules().values()}
    assert len(folders) > 15 and all((folder / "__init__.py").is_file() for folder in folders)
