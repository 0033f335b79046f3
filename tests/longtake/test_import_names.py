"""Our import names never collide with a user's `train.py`, `features/`, `extract.py` or `manifests/`: from a checkout, a wheel, an
editable install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import longtake

ROOT = Path(__file__).resolve().parents[2]
USES_THE_API = """
import longtake, os, sys
assert "torch" not in sys.modules and not any(name.startswith("longtake.") for name in sys.modules)
for name in longtake.__all__:
    assert callable(getattr(longtake, name)), name
print(os.path.dirname(longtake.__file__))
"""
USES_THEIR_OWN = (
    "import train, features, extract, manifests; print(*{m.OWNER for m in (train, features, extract, manifests)})"
)


@pytest.fixture(scope="module")
def research(tmp_path_factory) -> Path:
    """A folder with the names that research code has."""
    folder = tmp_path_factory.mktemp("research")
    for path in ("train.py", "features/__init__.py", "extract.py", "manifests/__init__.py"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text("OWNER = 'the user'\n")
    return folder


def run(command: list[str | Path], folder: Path, *more: Path) -> str:
    path = os.pathsep.join(map(str, (folder, *more)))
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_checkout(research):
    for program, argument in (("train", "list"), ("features", "--help"), ("extract", "list")):
        assert run([sys.executable, "-m", f"longtake.{program}.cli", argument], research, ROOT)
    assert Path(run([sys.executable, "-c", USES_THE_API], research, ROOT).strip()) == ROOT / "longtake"
    assert run([sys.executable, "-c", USES_THEIR_OWN], research, ROOT) == "the user\n"


def copied_source(folder: Path) -> Path:
    """What an install needs of the checkout, so that a build leaves nothing in it."""
    for name in ("longtake", "manifests", "features", "extract", "train"):
        unwanted = shutil.ignore_patterns("__pycache__", "*.h5", "*.zarr", "*.parts")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=unwanted)
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("editable", [False, True], ids=["wheel", "editable"])
def test_an_install(research, tmp_path, editable):
    """In an environment of its own, which borrows our dependencies from the one that runs this test."""
    source = copied_source(tmp_path / "source")
    venv.create(tmp_path / "env")
    home = tmp_path / "env" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    dependencies = tmp_path / "dependencies"
    dependencies.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        # The environment that runs the tests may have longtake itself, which an editable install would not shadow.
        if not path.name.lower().startswith(("longtake", "__editable__")):
            (dependencies / path.name).symlink_to(path)
    (home / "dependencies.pth").write_text(f"{dependencies}\n")
    bin_folder = tmp_path / "env" / "bin"
    install = ["install", "-q", "--no-deps", "--no-build-isolation", *(["-e"] if editable else []), str(source)]
    run([sys.executable, "-m", "pip", "--python", bin_folder / "python", *install], tmp_path)
    for command in (["train", "list"], ["features", "--help"], ["extract", "list"]):
        assert run([bin_folder / command[0], *command[1:]], research)
    place = run([bin_folder / "python", "-c", USES_THE_API], research).strip()
    assert Path(place) == (source if editable else home) / "longtake"
    assert run([bin_folder / "python", "-c", USES_THEIR_OWN], research) == "the user\n"
    for name in (
        "features/FORMAT.md",
        "manifests/rg.csv",
        "train/protocol/presets.toml",
        "train/runs/papers.csv",
        "py.typed",
    ):
        assert (Path(place) / name).is_file(), f"{name} is missing"


def test_names_of_the_api():
    assert set(longtake.__all__) <= set(dir(longtake))
    assert list(longtake.__all__) == sorted(longtake.__all__) == sorted(longtake._HOMES)
    with pytest.raises(AttributeError, match="module 'longtake' has no attribute 'fitt'"):
        longtake.fitt  # noqa: B018
