"""A stand-in of the hub: the part of its API by which huggingface_hub reads and writes one dataset repository, over HTTP, in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

REPO = "lab/stores"
LFS_BYTES = 2000
"""Files of this size and more are uploaded by themselves, as on the hub."""


class Hub:
    """The repository: its commits, each a table of all files, and what clients sent."""

    def __init__(self) -> None:
        self.commits: list[tuple[str, dict[str, bytes]]] = [("0" * 40, {})]
        self.objects: dict[str, bytes] = {}
        self.sent_bytes: list[int] = []
        self.read_bytes: list[int] = []
        self.conflicts = 0
        self.before_commit = lambda: None
        self.lock = threading.Lock()

    def files(self, revision: str) -> dict[str, bytes] | None:
        if revision == "main":
            return self.commits[-1][1]
        return next((files for commit, files in self.commits if commit == revision), None)

    def commit(self, lines: list[dict]) -> str | None:
        """The new commit; None if the parent is not the newest one."""
        with self.lock:
            parent = lines[0]["value"].get("parentCommit")
            if parent is not None and parent != self.commits[-1][0]:
                self.conflicts += 1
                return None
            files = dict(self.commits[-1][1])
            for line in lines[1:]:
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                    self.sent_bytes.append(len(files[value["path"]]))
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.objects[value["oid"]]
            commit = hashlib.sha1(
                json.dumps([self.commits[-1][0], len(self.commits), sorted(files)]).encode()
            ).hexdigest()
            self.commits.append((commit, files))
            return commit


def _entry(path: str, data: bytes) -> dict:
    return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}


@contextmanager
def hub_server(monkeypatch):
    """Yields the repository; the environment leads huggingface_hub to it."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.resolve()

        def do_GET(self):
            path = unquote(urlsplit(self.path).path)
            if found := re.fullmatch(rf"/api/datasets/{REPO}(?:/revision/(.+))?", path):
                commit = hub.commits[-1][0] if found[1] in (None, "main") else found[1]
                return self.json(
                    {
                        "id": REPO,
                        "sha": commit,
                        "siblings": [],
                        "private": False,
                        "tags": [],
                        "downloads": 0,
                        "likes": 0,
                    }
                )
            if found := re.fullmatch(rf"/api/datasets/{REPO}/tree/([^/]+)/?(.*)", path):
                files = hub.files(found[1]) or {}
                inside = [
                    _entry(name, data)
                    for name, data in sorted(files.items())
                    if name.startswith(f"{found[2]}/" if found[2] else "")
                ]
                return self.json(inside) if inside else self.missing("EntryNotFound")
            return self.resolve()

        def do_POST(self):
            path = unquote(urlsplit(self.path).path)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if path.startswith(f"/api/datasets/{REPO}/preupload/"):
                files = [{"path": one["path"], "uploadMode": "lfs" if one["size"] >= LFS_BYTES else "regular", "shouldIgnore": False}
                         for one in json.loads(body)["files"]]  # fmt: skip
                return self.json({"files": files})
            if path == f"/datasets/{REPO}.git/info/lfs/objects/batch":
                host = self.headers["Host"]
                objects = [
                    {**one}
                    if one["oid"] in hub.objects
                    else {**one, "actions": {"upload": {"href": f"http://{host}/lfs/{one['oid']}"}}}
                    for one in json.loads(body)["objects"]
                ]
                return self.json({"transfer": "basic", "objects": objects})
            if path.startswith(f"/api/datasets/{REPO}/commit/"):
                hub.before_commit()
                commit = hub.commit([json.loads(line) for line in body.splitlines() if line])
                if commit is None:
                    return self.json({"error": "A commit has happened since. Please refresh and try again."}, 412)
                return self.json(
                    {
                        "commitUrl": f"https://huggingface.co/datasets/{REPO}/commit/{commit}",
                        "commitOid": commit,
                        "success": True,
                    }
                )
            if found := re.fullmatch(rf"/api/datasets/{REPO}/paths-info/(.+)", path):
                files = hub.files(found[1]) or {}
                wanted = self.paths_of(body)
                folders = [
                    {"type": "directory", "path": one, "oid": "0"}
                    for one in wanted
                    if any(n.startswith(f"{one}/") for n in files)
                ]
                return self.json([_entry(one, files[one]) for one in wanted if one in files] + folders)
            return self.missing("RepoNotFound")

        def paths_of(self, body):
            if body.startswith(b"{"):
                found = json.loads(body)["paths"]
                return [found] if isinstance(found, str) else found
            from urllib.parse import parse_qs

            return parse_qs(body.decode())["paths"]

        def do_PUT(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert hashlib.sha256(body).hexdigest() == self.path.rpartition("/")[2]
            hub.objects[self.path.rpartition("/")[2]] = body
            hub.sent_bytes.append(len(body))
            self.json({})

        def resolve(self):
            found = re.fullmatch(rf"/datasets/{REPO}/resolve/([^/]+)/(.+)", unquote(urlsplit(self.path).path))
            if not found:
                return self.missing("RepoNotFound")
            files = hub.files(found[1]) or {}
            if found[2] not in files:
                return self.missing("EntryNotFound")
            data = files[found[2]]
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            part = data[int(wanted[1]) : int(wanted[2]) + 1] if wanted else data
            self.answer(
                206 if wanted else 200,
                part,
                {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": hub.commits[-1][0]},
            )
            hub.read_bytes.append(len(part))

        def json(self, value, status=200):
            self.answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def missing(self, code):
            self.answer(404, b"{}", {"X-Error-Code": code})

        def answer(self, status, body, headers):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
