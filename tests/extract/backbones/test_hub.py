"""A stand-in for the hub on this machine: a name without a revision becomes a commit, which the recipe keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch

from longtake.extract.backbones import build, get_spec, hub
from longtake.extract.backbones.state_dict import load_state
from longtake.extract.backbones.weights import resolve
from longtake.extract.errors import WeightsError
from longtake.files import file_sha256
from tests.extract.backbones.hf_models import save

OLD, NEW = "1" * 40, "2" * 40


class Hub:
    """Commits of one repository, each a folder of files."""

    def __init__(self, commits: dict[str, Path]) -> None:
        self.commits, self.main, self.asked = commits, NEW, list[str]()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self, body: bool = True) -> None:
                hub.asked.append(self.path)
                parts = self.path.partition("?")[0].strip("/").split("/")
                if parts[:4] == ["api", "models", "lab", "net"]:
                    commit = hub.main if len(parts) < 6 or parts[5] == "main" else parts[5]
                    if commit not in hub.commits:
                        return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)
                    files = sorted(path.name for path in hub.commits[commit].iterdir())
                    about = {"id": "lab/net", "sha": commit, "siblings": [{"rfilename": name} for name in files]}
                    if len(parts) > 4 and parts[4] == "tree":
                        folder = hub.commits[commit]
                        about = [
                            {"type": "file", "path": n, "size": (folder / n).stat().st_size, "oid": "0" * 40}
                            for n in files
                        ]  # type: ignore[assignment]
                    return self.answer(200, json.dumps(about).encode(), {"Content-Type": "application/json"}, body)
                if parts[:3] == ["lab", "net", "resolve"]:
                    path = hub.commits[parts[3]] / parts[4]
                    if not path.is_file():
                        return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"}, body)
                    content = path.read_bytes()
                    heads = {"ETag": f'"{sha256(content).hexdigest()}"', "X-Repo-Commit": parts[3]}
                    return self.answer(200, content, heads, body)
                self.answer(404, b"", {"X-Error-Code": "RepoNotFound"}, body)

            def do_HEAD(self) -> None:
                self.do_GET(body=False)

            def answer(self, status: int, content: bytes, heads: dict[str, str], body: bool) -> None:
                self.send_response(status)
                for name, value in {**heads, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if body:
                    self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    save("vit", tmp_path / OLD)
    save("dinov2", tmp_path / NEW)
    found = Hub({OLD: tmp_path / OLD, NEW: tmp_path / NEW})
    monkeypatch.setattr(constants, "ENDPOINT", found.url)  # as HF_ENDPOINT sets them
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", found.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    yield found
    found.server.shutdown()


def test_a_name_without_a_revision_becomes_a_commit(
    stand_in: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = get_spec("hf/lab/net")
    assert (spec.name, spec.source) == ("hf:lab:net", f"hf/lab/net@{NEW}")
    weights = resolve(None, spec)
    assert weights.name == f"hf/lab/net@{NEW}", "the header of the features carries it"
    assert weights.sha256 == file_sha256(tmp_path / NEW / "model.safetensors")
    pinned = get_spec(f"hf/lab/net@{OLD}")
    assert pinned.source.endswith(OLD) and pinned.facts != spec.facts
    stand_in.main = OLD  # the repository moves on; what was settled stays
    assert weights.path is not None
    backbone = build(spec)
    backbone.load_weights(load_state(weights.path))
    assert backbone.forward(torch.zeros(1, 1, 32, 32, 3, dtype=torch.uint8)).shape == (1, 32)
    assert get_spec(weights.name).facts == spec.facts, "the recipe's name gives the same network again"
    assert get_spec("hf/lab/net").source.endswith(OLD)
    monkeypatch.setenv("LONGTAKE_OFFLINE", "1")
    before = len(stand_in.asked)
    assert get_spec(f"hf/lab/net@{NEW}").source.endswith(NEW), "from the cache"
    assert len(stand_in.asked) == before


def test_what_the_hub_lacks_is_one_message(stand_in: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="lab/net at revision v9 cannot be used"):
        get_spec("hf/lab/net@v9")
    with pytest.raises(WeightsError, match="hf/lab/other: the repository lab/other cannot be used"):
        get_spec("hf/lab/other")
    (tmp_path / NEW / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="none of model.safetensors"):
        resolve(None, get_spec("hf/lab/net"))
    monkeypatch.setenv("LONGTAKE_OFFLINE", "1")
    with pytest.raises(WeightsError, match="LONGTAKE_OFFLINE forbids"):
        get_spec("hf/lab/another")


def test_shards_are_one_state_with_one_hash(tmp_path: Path) -> None:
    import safetensors.torch

    halves = {
        "model-00001-of-00002.safetensors": {"a": torch.ones(2)},
        "model-00002-of-00002.safetensors": {"b": torch.zeros(3)},
    }
    for name, state in halves.items():
        safetensors.torch.save_file(state, tmp_path / name)
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (tmp_path / hub.INDEX).write_text(json.dumps(index))
    weights = hub.weights_in(tmp_path, "hf/net")
    assert weights.path is not None
    assert load_state(weights.path).keys() == {"a", "b"}
    safetensors.torch.save_file({"b": torch.ones(3)}, tmp_path / "model-00002-of-00002.safetensors")
    assert hub.weights_in(tmp_path, "hf/net").sha256 != weights.sha256
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(WeightsError, match="00002"):
        load_state(weights.path)
    (tmp_path / hub.INDEX).write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))
    with pytest.raises(WeightsError, match="outside its folder"):
        load_state(weights.path)
