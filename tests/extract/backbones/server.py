"""A server with one file of weights, and its entry in a table."""

from __future__ import annotations

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from longtake.manifests.pretrained import WeightsEntry

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves one file under any path. `cut_after` closes the connection after that many bytes."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.cut_after: int | None = None
        self.knows_ranges = True
        self.status, self.headers = 200, {}
        """Of every answer that is not part of a file; a header replaces the usual one, None leaves it out."""
        self.requests: list[tuple[str, str | None]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                owner.requests.append((self.path, asked))
                start = int(re.fullmatch(r"bytes=(\d+)-", asked).group(1)) if asked and owner.knows_ranges else 0
                if start and start >= len(owner.content):
                    self.send_error(416)
                    return
                self.send_response(206 if start else owner.status)
                headers = {"Content-Length": str(len(owner.content) - start), **owner.headers}
                if start:
                    headers["Content-Range"] = f"bytes {start}-{len(owner.content) - 1}/{len(owner.content)}"
                for name, value in headers.items():
                    if value is not None:
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(owner.content[start : owner.cut_after])

            def log_message(self, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/some/where/rgb.pt"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def entry_for(url: str, sha256: str | None = SHA256) -> WeightsEntry:
    return WeightsEntry("toy", "i3d", url, "CC0-1.0", "A. Author", "", sha256, len(CONTENT))
