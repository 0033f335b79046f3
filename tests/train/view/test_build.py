"""All that folders hold, as data of a site."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from longtake.features.catalog.walk import Folders
from longtake.train.cli import main
from longtake.train.errors import DataError
from longtake.train.view.build import read
from tests.calls import invoke

ROOT = Path(__file__).resolve().parents[3]


def test_everything_is_there(made):
    steps = []
    with Folders.of([made]) as folders:
        found = read(folders, lambda *step: steps.append(step))
        data = {name: json.loads(found.site.json(name)) for name in found.site.data}
    assert found.counts == {"videos": 16, "stores": 3, "runs": 5, "sweeps": 2, "benches": 1}
    assert {name for name, _ in found.faults} == {"broken.h5", "runs/damaged", "empty-sweep"}
    assert [done for done, _, _ in steps] == list(range(1, 12)) and steps[0][1] == 11
    assert [run["part_of"] for run in data["runs"]] == ["", "", "", "", "sweep"]
    gym = [row["name"] for row in data["stores"]].index("gym.h5")
    assert data["index"]["scored"] == [gym]
    assert [run for run, _ in data[f"scored-{gym}"]] == [1, 2, 3, 4], "of all runs on its dataset that can be read"


def test_nothing_to_show(tmp_path):
    with Folders.of([tmp_path]) as folders, pytest.raises(DataError, match="holds no store, run, sweep or bench"):
        read(folders)


def test_the_command_exports(made, tmp_path):
    before = sorted(path for path in made.rglob("*"))
    done = invoke(main, "view", made, "--export", tmp_path / "site", "--json")
    facts = json.loads(done.stdout)
    assert facts["stores"] == 3 and len(facts["unreadable"]) == 3
    assert (tmp_path / "site" / "index.html").exists() and (tmp_path / "site" / "data" / "run-0.js").exists()
    assert sorted(path for path in made.rglob("*")) == before, "nothing is written into the folders"
    shown = invoke(main, "view", made, "--export", tmp_path / "lab.html", "-q").stdout
    assert "3 cannot be read" not in shown and (tmp_path / "lab.html").stat().st_size > 10_000


def test_mistakes_of_the_call(made, tmp_path):
    assert "no folder nowhere" in invoke(main, "view", "nowhere", status=2).output
    output = invoke(main, "view", made, "--export", tmp_path / "s.html", "--videos", made, status=2).output
    assert "is one page, which has no videos" in output
    assert "--allow-host" in invoke(main, "view", made, "--host", "0.0.0.0", status=2).output
    (tmp_path / "empty").mkdir()
    assert "holds no store" in invoke(main, "view", tmp_path / "empty", "--export", tmp_path / "s", status=2).output


def test_it_needs_no_torch(made, tmp_path):
    with_server = find_spec("starlette") is not None
    code = f"""import sys
class NoTorch:
    def find_spec(self, name, *more):
        if name.partition(".")[0] == "torch":
            raise ImportError(f"{{name}} is not installed")
sys.meta_path.insert(0, NoTorch())
from longtake.train.cli import main
main(["view", {str(made)!r}, "--export", {str(tmp_path / "site")!r}], standalone_mode=False)
from longtake.features.catalog.walk import Folders
from longtake.train.view.build import read
from longtake.train.view.server import make_app
if {with_server}:
    with Folders.of([{str(made)!r}]) as folders:
        make_app(read(folders))
print(sorted({{"torch", "av", "cv2", "matplotlib", "safetensors"}} & {{name for name, module in sys.modules.items() if module}}))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
